"""Which GPU types are tried, which volume is mounted, and what a round of refusals means."""

from __future__ import annotations

import pytest
from samples import GPU, VOLUME

from podkit.errors import BadRequest, Forbidden, NoCapacity, NotPlaced, PodkitError, ServerFault, UsageError
from podkit.models import GpuType, NetworkVolume
from podkit.placement import Candidate, Refusal, choose_volume, offered_cuda, plan, suggestion, verdict

L40S = GpuType.from_api(GPU)
A100 = GpuType.from_api({**GPU, "id": "NVIDIA A100 80GB PCIe", "price": {"secure": 1.64}, "dataCenters": []})
UNSOLD = GpuType.from_api({**GPU, "id": "NVIDIA GeForce RTX 4090", "secure": False})
CATALOG = [UNSOLD, A100, L40S]
NAMES = [L40S.id, A100.id, UNSOLD.id]
NO_CAPACITY = "There are no longer any instances available with the requested specifications. Please refresh"


def test_the_order_is_the_users_and_stock_only_stands_beside_it() -> None:
    candidates = [Candidate(A100.id, 1.64, "NONE"), Candidate(L40S.id, 0.86, "LOW")]
    assert plan([A100.id, L40S.id], CATALOG, "EU-RO-1", None) == (candidates, [])


def test_without_a_catalogue_every_wanted_type_is_tried() -> None:
    candidates = [Candidate("Anything"), Candidate(L40S.id)]
    assert plan(["Anything", L40S.id], None, "EU-RO-1", None) == (candidates, [])


def test_a_limit_is_not_passed_over_where_prices_could_not_be_read() -> None:
    with pytest.raises(NotPlaced, match=r"prices could not be read, and the limit is \$0\.86/h") as caught:
        plan(NAMES, None, "EU-RO-1", 0.86)
    assert caught.value.exit_code == 1
    assert "try again, or unset PODKIT_MAX_PRICE" in caught.value.hint


def test_dearer_types_are_left_out_with_the_reason() -> None:
    candidates, skipped = plan(NAMES, CATALOG, "EU-RO-1", 0.86)
    assert [candidate.gpu_type for candidate in candidates] == [L40S.id]
    assert skipped == [
        (A100.id, "$1.64/h is above the limit of $0.86/h"),
        (UNSOLD.id, "its price is unknown, and the limit is $0.86/h"),
    ]


def test_a_type_without_a_price_is_tried_if_there_is_no_limit() -> None:
    assert plan([UNSOLD.id], CATALOG, "EU-RO-1", None) == ([Candidate(UNSOLD.id, None, "LOW")], [])


def test_an_unknown_type_stops_with_the_nearest_name() -> None:
    with pytest.raises(UsageError, match="unknown GPU type 'NVIDIA L40'") as caught:
        plan(["NVIDIA L40"], CATALOG, "EU-RO-1", None)
    assert caught.value.hint == "did you mean 'NVIDIA L40S'?"


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("eu-ro-1", "EU-RO-1"), ("EU-RO-2", "EU-RO-1"), ("4090", "NVIDIA GeForce RTX 4090"), ("zzz", "")],
)
def test_the_nearest_name_is_found_in_any_case(name: str, nearest: str) -> None:
    assert suggestion(name, ["EU-RO-1", "US-KS-2", *NAMES]) == (f"did you mean {nearest!r}?" if nearest else "")


def test_a_candidate_says_what_it_costs_and_what_is_unknown() -> None:
    assert str(Candidate("G", 0.864, "LOW")) == "G, $0.86/h, stock LOW"
    assert str(Candidate("G")) == "G, price unknown, stock unknown"


HERE = NetworkVolume.from_api(VOLUME)
OTHER = NetworkVolume.from_api({**VOLUME, "id": "vol2", "name": "mine"})
AWAY = NetworkVolume.from_api({**VOLUME, "id": "vol3", "dataCenter": "US-KS-2"})


@pytest.mark.parametrize(
    ("volumes", "wanted", "chosen"),
    [([OTHER, HERE, AWAY], "", HERE), ([OTHER, AWAY], "", OTHER), ([OTHER, HERE], "vol2", OTHER)],
    ids=["the one named podkit", "the only one there", "the one asked for"],
)
def test_the_volume_is(volumes: list[NetworkVolume], wanted: str, chosen: NetworkVolume) -> None:
    assert choose_volume(volumes, "EU-RO-1", wanted) is chosen


@pytest.mark.parametrize(
    ("volumes", "wanted", "what", "hint"),
    [
        ([], "", "no network volume in EU-RO-1", "volume create --size 100   (about $7.00 a month)"),
        ([AWAY], "", "no network volume in EU-RO-1", "volume create"),
        ([HERE], "vol9", "no network volume 'vol9'", "volume list"),
        ([AWAY], "vol3", "lies in US-KS-2, the pod is to run in EU-RO-1", "--data-center US-KS-2"),
        ([OTHER, NetworkVolume("vol4", "x", 10, "EU-RO-1")], "", "several .*vol2, vol4", "RUNPOD_NETWORK_VOLUME_ID"),
        (
            [HERE, NetworkVolume("vol4", "podkit", 10, "EU-RO-1")],
            "",
            "several .*vol1, vol4",
            "RUNPOD_NETWORK_VOLUME_ID",
        ),
    ],
)
def test_without_one_clear_volume_it_says_what_to_do(
    volumes: list[NetworkVolume], wanted: str, what: str, hint: str
) -> None:
    with pytest.raises(UsageError, match=what) as caught:
        choose_volume(volumes, "EU-RO-1", wanted)
    assert hint in caught.value.hint


def refused(detail: str) -> Refusal:
    return Refusal(Candidate("A"), BadRequest("400", status=400, detail=detail))


@pytest.mark.parametrize(
    "detail",
    [
        NO_CAPACITY,
        "There are no instances currently available",
        "This machine does not have the resources to deploy your pod. Please try a different machine",
        "Something went wrong. Please try again later or contact support.",
    ],
)
def test_the_known_texts_mean_no_stock(detail: str) -> None:
    assert refused(detail).no_capacity
    assert refused(detail.upper()).no_capacity


@pytest.mark.parametrize("detail", ["", "volume is in another data center", "Something went wrong"])
def test_any_other_text_does_not(detail: str) -> None:
    assert not refused(detail).no_capacity


FULL = BadRequest("400", status=400, detail=NO_CAPACITY)
BROKEN = BadRequest("400", status=400, detail="mounts are not allowed")
BARRED = Forbidden("403", status=403, detail="no access")
BUSY = ServerFault("500", status=500)


@pytest.mark.parametrize(
    ("answers", "kind", "code", "hint"),
    [
        ([FULL, FULL], NoCapacity, 75, "later"),
        ([FULL, BROKEN], NoCapacity, 75, "later"),
        ([FULL, BUSY], NoCapacity, 75, "later"),
        ([FULL, BARRED], NotPlaced, 1, "no access to B"),
        ([BARRED], NotPlaced, 1, "no access to A"),
        ([BROKEN, BROKEN], NotPlaced, 1, "the request itself may be at fault"),
        ([BROKEN, BUSY], NotPlaced, 1, "read the reasons above"),
        ([], NotPlaced, 1, "PODKIT_MAX_PRICE"),
    ],
)
def test_a_round_of_refusals_ends_with(
    answers: list[PodkitError], kind: type[PodkitError], code: int, hint: str
) -> None:
    refusals = [Refusal(Candidate(name), answer) for name, answer in zip("ABC", answers, strict=False)]
    error = verdict(refusals, [("D", "too dear")])
    assert type(error) is kind
    assert error.exit_code == code
    assert hint in error.hint
    assert all(refusal.candidate.gpu_type in error.message for refusal in refusals)


def test_when_all_were_too_dear_the_reasons_are_given() -> None:
    assert "D: too dear" in verdict([], [("D", "too dear")]).message


def test_the_cuda_versions_on_offer_are_named() -> None:
    assert offered_cuda(L40S.id, CATALOG) == "12.8, 13.0 (full)"
    assert offered_cuda("other", CATALOG) == offered_cuda(L40S.id, None) == ""
