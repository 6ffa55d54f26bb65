"""Which GPU types are tried, in which order and for how long, which volume is mounted,
and what refusals mean.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podkit.errors import BadRequest, NoCapacity, NotPlaced, UsageError
from podkit.models.fit import Needs, fit
from podkit.models.learned import Boot, Learned
from podkit.pods.placement import (
    Candidate,
    Placement,
    choose_volume,
    lifetime,
    plan_placement,
    suggestion,
)
from podkit.pods.refusals import Refusal, verdict
from podkit.pods.request import ends_at
from podkit.runpod.types import GpuType, NetworkVolume, parse_time
from podkit.secret import Secret
from podkit.settings import Settings
from tests.podkit.samples import API, CREATED, GPU, KEY, NO_CAPACITY, VOLUME


def gpu(name: str, price: float, stock: str = "", **changes: Any) -> GpuType:
    """A GPU type of the catalogue, in stock at this level in EU-RO-1 alone."""
    there = [{"id": "EU-RO-1", "availability": stock}] if stock else []
    return GpuType.from_api(
        {**GPU, "id": name, "price": {"secure": price}, "dataCenters": there, **changes}
    )


L40S = GpuType.from_api(GPU)
A100 = gpu("NVIDIA A100 80GB PCIe", 1.64, memory=80)
UNSOLD = GpuType.from_api({**GPU, "id": "NVIDIA GeForce RTX 4090", "secure": False, "memory": 24})
CATALOG = [UNSOLD, A100, L40S]
CUDA = "12.8, 13.0 (full)"
NAMES = (L40S.id, A100.id, UNSOLD.id)
NEEDS = Needs(weights_gib=30.0, kv_bytes_per_token=147_456, max_len=16_384, utilization=0.9)
"""On 48 GB it fits, on 40 GB it does not."""


def wanting(*gpus: str, **changes: Any) -> Settings:
    return Settings(API, "", Secret(KEY), Path(".env"), gpus=gpus, **changes)


def tried(placement: Placement) -> list[tuple[str, str]]:
    return [(candidate.gpu_type, candidate.reason) for candidate in placement.candidates]


def test_the_order_is_the_users_and_stock_only_stands_beside_it() -> None:
    placement = plan_placement(wanting(A100.id, L40S.id), None, CATALOG)
    assert placement.candidates == [
        Candidate(A100.id, 1.64, "NONE", 80, None, CUDA, 12, "your choice 1"),
        Candidate(L40S.id, 0.86, "LOW", 48, None, CUDA, 12, "your choice 2"),
    ]
    assert placement.skipped == []


ORDERS = [
    gpu("dear", 3.0, "HIGH"),
    gpu("none", 0.2),
    gpu("odd", 0.3, "SOME"),
    gpu("cheap", 0.4, "HIGH"),
    UNSOLD,
]


@pytest.mark.parametrize(
    ("wishes", "order"),
    [
        (
            {"in_stock": True},
            [
                ("dear", "stock HIGH, your choice 1"),
                ("cheap", "stock HIGH, your choice 4"),
                (UNSOLD.id, "stock LOW, your choice 5"),
                ("none", "stock NONE, your choice 2"),
                ("odd", "stock SOME, your choice 3"),
            ],
        ),
        (
            {"cheapest": True},
            [
                ("none", "$0.20/h, your choice 2"),
                ("odd", "$0.30/h, your choice 3"),
                ("cheap", "$0.40/h, your choice 4"),
                ("dear", "$3.00/h, your choice 1"),
                (UNSOLD.id, "price unknown, your choice 5"),
            ],
        ),
        (
            {"in_stock": True, "cheapest": True},
            [
                ("cheap", "stock HIGH, $0.40/h, your choice 4"),
                ("dear", "stock HIGH, $3.00/h, your choice 1"),
                (UNSOLD.id, "stock LOW, price unknown, your choice 5"),
                ("none", "stock NONE, $0.20/h, your choice 2"),
                ("odd", "stock SOME, $0.30/h, your choice 3"),
            ],
        ),
    ],
    ids=["by stock", "by price", "by stock, then price"],
)
def test_another_order_is_taken_on_request_and_gives_its_reasons(
    wishes: dict[str, bool], order: list[tuple[str, str]]
) -> None:
    assert (
        tried(plan_placement(wanting(*(one.id for one in ORDERS), **wishes), None, ORDERS)) == order
    )


def test_without_a_catalogue_every_wanted_type_is_tried_in_the_users_order() -> None:
    placement = plan_placement(
        wanting("Anything", L40S.id, in_stock=True, cheapest=True), NEEDS, None
    )
    assert [candidate.gpu_type for candidate in placement.candidates] == ["Anything", L40S.id]
    assert {candidate.hours for candidate in placement.candidates} == {12}


@pytest.mark.parametrize(
    ("limit", "name"),
    [({"max_price": 0.86}, "PODKIT_MAX_PRICE"), ({"budget": 2.0}, "PODKIT_BUDGET")],
)
def test_a_limit_is_not_passed_over_where_prices_could_not_be_read(
    limit: dict[str, float], name: str
) -> None:
    with pytest.raises(NotPlaced, match="prices could not be read, and there is a limit") as caught:
        plan_placement(wanting(*NAMES, **limit), None, None)
    assert caught.value.exit_code == 1
    assert caught.value.hint == f"try again, or leave out {name} to take any price"


def test_more_expensive_types_are_left_out_with_the_reason() -> None:
    placement = plan_placement(wanting(*NAMES, max_price=0.86), None, CATALOG)
    assert tried(placement) == [(L40S.id, "your choice 1")]
    assert placement.skipped == [
        (A100.id, "$1.64/h is above the limit of $0.86/h"),
        (UNSOLD.id, "its price is unknown, and there is a limit"),
    ]


def test_a_type_without_a_price_is_tried_if_there_is_no_limit() -> None:
    placement = plan_placement(wanting(UNSOLD.id), None, CATALOG)
    assert placement.candidates == [
        Candidate(UNSOLD.id, None, "LOW", 24, None, CUDA, 12, "your choice 1")
    ]


def test_a_budget_ends_each_type_after_the_hours_it_buys_and_skips_what_could_not_boot() -> None:
    placement = plan_placement(wanting(*NAMES, budget=0.60), None, CATALOG)
    (candidate,) = placement.candidates
    assert candidate.hours == pytest.approx(0.60 / (0.86 * 1.01 + 0.01) - 1 / 60)
    assert candidate.most is not None
    assert 0.57 < candidate.most < 0.60
    assert placement.skipped == [
        (A100.id, "at $1.64/h the budget of $0.60 buys 21 minutes, and a boot may take 30"),
        (UNSOLD.id, "its price is unknown, and there is a limit"),
    ]


def test_a_budget_of_which_nothing_is_left_buys_no_pod() -> None:
    placement = plan_placement(wanting(L40S.id, budget=0.0), None, CATALOG)
    assert placement.candidates == []
    [(_, why)] = placement.skipped
    assert "the budget of $0.00 buys 0 minutes" in why
    with pytest.raises(NotPlaced, match="there is a limit"):
        plan_placement(wanting(L40S.id, budget=0.0), None, None)


@pytest.mark.parametrize(
    ("max_hours", "hours"), [(2, 2), (12, 5 / 1.02 - 1 / 60), (0, 5 / 1.02 - 1 / 60)]
)
def test_the_end_is_the_earlier_of_lifetime_and_budget_and_a_budget_sets_one_where_there_was_none(
    max_hours: float, hours: float
) -> None:
    assert lifetime(wanting(max_hours=max_hours, budget=5.0), 1.0) == pytest.approx(hours)


def test_without_a_budget_the_lifetime_is_the_users() -> None:
    assert [lifetime(wanting(max_hours=hours), 0.86) for hours in (0, 3)] == [0, 3]
    assert Candidate("G", 0.86, hours=0).most is None


@given(st.floats(0.01, 30), st.floats(0.01, 500), st.floats(0, 0.01), st.floats(0, 1))
def test_no_pod_that_is_kept_costs_more_than_its_budget_by_the_end_of_its_last_minute(
    price: float, budget: float, tolerated: float, fraction: float
) -> None:
    settings = wanting("G", budget=budget, max_hours=0, boot_minutes=0.001)
    now = CREATED.replace(microsecond=int(fraction * 999_999))
    for candidate in plan_placement(settings, None, [gpu("G", price)]).candidates:
        end = parse_time(ends_at(now, candidate.hours))
        assert end is not None
        seconds = (end - now).total_seconds() + 58
        assert price * (1 + tolerated) <= candidate.ceiling * (1 + 1e-9)
        assert seconds / 3600 * price * (1 + tolerated) <= budget


def test_a_pod_may_cost_a_hundredth_and_a_cent_more_than_quoted() -> None:
    assert Candidate("G", 2.0).ceiling == pytest.approx(2.03)
    assert Candidate("G").ceiling == math.inf


CARDS = [
    gpu("small", 0.2, "HIGH", memory=40),
    gpu("mid", 0.9, "LOW", memory=48),
    gpu("big", 1.6, "NONE", memory=80),
    *(gpu(f"big {n}", 2.0 - n / 10, "LOW", memory=80) for n in range(6)),
]


def test_a_type_on_which_the_model_does_not_load_is_skipped_with_the_numbers() -> None:
    placement = plan_placement(wanting("small", "mid"), NEEDS, CARDS)
    assert tried(placement) == [("mid", "your choice 2")]
    assert placement.skipped == [("small", f"the model's fit on its 40 GB: {fit(NEEDS, 40)}")]
    assert str(fit(NEEDS, 40)).startswith("no (")


def test_force_tries_it_all_the_same() -> None:
    placement = plan_placement(wanting("small", force=True), NEEDS, CARDS)
    assert tried(placement) == [("small", "your choice 1")]
    assert not placement.candidates[0].loads
    assert placement.skipped == []


def test_if_nothing_is_left_the_four_cheapest_in_stock_on_which_it_loads_are_named() -> None:
    error = verdict([], plan_placement(wanting("small"), NEEDS, CARDS), "olmocr")
    names = "mid ($0.90/h), big 5 ($1.50/h), big 4 ($1.60/h), big 3 ($1.70/h)"
    assert (
        error.hint
        == f"it would load on {names}; name one with --gpu, or --force tries all the same"
    )
    limited = verdict([], plan_placement(wanting("small", max_price=0.95), NEEDS, CARDS), "olmocr")
    assert limited.hint.startswith("it would load on mid ($0.90/h); name one")
    assert (
        "./podkit.sh gpus --all shows where"
        in verdict([], plan_placement(wanting("small"), NEEDS, CARDS[:1]), "olmocr").hint
    )


def test_an_unknown_type_stops_with_the_nearest_name() -> None:
    with pytest.raises(UsageError, match="unknown GPU type 'NVIDIA L40'") as caught:
        plan_placement(wanting("NVIDIA L40"), None, CATALOG)
    assert caught.value.hint == "did you mean 'NVIDIA L40S'?"


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("eu-ro-1", "EU-RO-1"),
        ("EU-RO-2", "EU-RO-1"),
        ("4090", "NVIDIA GeForce RTX 4090"),
        ("zzz", ""),
    ],
)
def test_the_nearest_name_is_found_in_any_case(name: str, nearest: str) -> None:
    assert suggestion(name, ["EU-RO-1", "US-KS-2", *NAMES]) == (
        f"did you mean {nearest!r}?" if nearest else ""
    )


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
        ([], "", "no network volume in EU-RO-1", "volume create --size 100 --data-center EU-RO-1"),
        ([AWAY], "", "no network volume in EU-RO-1", "volume create"),
        ([HERE], "vol9", "no network volume 'vol9'", "volume list"),
        ([AWAY], "vol3", "lies in US-KS-2, the pod is to run in EU-RO-1", "--data-center US-KS-2"),
        (
            [OTHER, NetworkVolume("vol4", "x", 10, "EU-RO-1")],
            "",
            "several .*vol2, vol4",
            "RUNPOD_NETWORK_VOLUME_ID",
        ),
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


def test_when_all_were_too_dear_the_reasons_are_given() -> None:
    error = verdict([], plan_placement(wanting(A100.id, max_price=0.5), None, CATALOG), "olmocr")
    assert f"({A100.id}: $1.64/h is above the limit of $0.50/h)" in error.message
    assert error.hint == "raise PODKIT_MAX_PRICE, or name others with --gpu"


@pytest.mark.parametrize(
    ("limits", "told"),
    [
        ({"max_price": 0.1}, "raise --max-price, or "),
        ({"budget": 0.1}, "raise PODKIT_BUDGET in .env, or "),
        ({"max_price": 0.1, "budget": 0.1}, "raise --max-price or PODKIT_BUDGET in .env, or "),
    ],
)
def test_the_hint_names_a_limit_as_it_was_given(limits: dict[str, float], told: str) -> None:
    given = {"PODKIT_MAX_PRICE": "--max-price", "PODKIT_BUDGET": "PODKIT_BUDGET in .env"}
    placement = plan_placement(wanting(A100.id, given=given, **limits), None, CATALOG)
    assert placement.hint == f"{told}name others with --gpu"


BLACKWELL = gpu("NVIDIA RTX PRO 4500 Blackwell", 0.72, "HIGH", memory=32)
SEPTEMBER = [gpu(L40S.id, 0.86), gpu(UNSOLD.id, 0.69), BLACKWELL, gpu("big", 2.5, "LOW", memory=80)]
"""What EU-RO-1 had for days in September 2026: neither of the user's own GPU types."""
FULL = BadRequest("POST /pods: 400", status=400, detail=NO_CAPACITY)


def test_no_capacity_names_what_is_in_stock_as_commands_to_paste_cheapest_first() -> None:
    placement = plan_placement(wanting(L40S.id), None, SEPTEMBER)
    error = verdict([Refusal(placement.candidates[0], FULL)], placement, "olmocr")
    assert isinstance(error, NoCapacity)
    first, second, third = error.hint.splitlines()[1:]
    assert first.split("#")[0].strip() == f'./deploy_olmocr.sh --gpu "{BLACKWELL.id}"'
    assert second.split("#")[0].strip() == './deploy_olmocr.sh --gpu "big"'
    assert "--any-gpu" in third


def test_what_is_over_a_limit_or_too_small_is_not_named_as_in_stock() -> None:
    placement = plan_placement(wanting(L40S.id, max_price=0.9), NEEDS, SEPTEMBER)
    assert [one.gpu_type for one in placement.in_stock] == []
    cheap = plan_placement(wanting(L40S.id, max_price=0.9), None, SEPTEMBER)
    assert [one.gpu_type for one in cheap.in_stock] == [BLACKWELL.id]


def test_any_gpu_tries_all_that_is_in_stock_after_the_users_own_by_price() -> None:
    placement = plan_placement(wanting(UNSOLD.id, L40S.id, any_gpu=True), None, SEPTEMBER)
    assert tried(placement) == [
        (UNSOLD.id, "your choice 1"),
        (L40S.id, "your choice 2"),
        (BLACKWELL.id, "in stock, $0.72/h"),
        ("big", "in stock, $2.50/h"),
    ]


def test_what_boots_taught_decides_where_a_model_loads() -> None:
    """`mid` loads it by what is assumed; a boot there showed that it does not."""
    assert tried(plan_placement(wanting("mid"), NEEDS, CARDS)) == [("mid", "your choice 1")]
    boot = Boot("2026-11-20T00:00:00Z", "p", "m", "mid", "0.32.0", "f", 40.0, is_least=True)
    refused = plan_placement(wanting("mid"), NEEDS, CARDS, Learned([boot], "m", "f", "0.32.0"))
    assert tried(refused) == []
    assert "too small on 2026-11-20" in refused.skipped[0][1]
