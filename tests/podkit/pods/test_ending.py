"""Finding the pod a person means, and ending it for certain."""

from __future__ import annotations

from typing import Any

import pytest
import requests_mock as mocking

from podkit.errors import Missing, PodkitError, PodUnclear, SeveralPods
from podkit.pods import ending as pods
from podkit.runpod.client import RunpodClient
from podkit.runpod.types import Pod
from tests.podkit.samples import API, FOREIGN, KEY, POD, Clock, pod, problem

OURS = pod(env={**POD["env"], "PODKIT_SERVED_NAME": "served"})
OTHER = pod(id="abd999", name="podkit-qwen3vl-ffffff")
THEIRS = Pod.from_api(FOREIGN)
ALL = [OURS, OTHER, THEIRS]
ONE = f"{API}/pods/{POD['id']}"
EXITED = {**POD, "status": "EXITED", "cost": 0.0}


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (OURS.id, OURS),
        ("abc1", OURS),
        (OTHER.name, OTHER),
        (THEIRS.id, THEIRS),
        ("qwen3vl", OTHER),
        ("served", OURS),
    ],
    ids=["full id", "start of an id", "name", "foreign pod's id", "model", "served model name"],
)
def test_a_pod_is_found_by(wanted: str, found: Pod) -> None:
    assert pods.find(ALL, wanted) is found


@pytest.mark.parametrize("wanted", ["zzz", THEIRS.name, "podkit-", "nothing", "", OURS.id + "x"])
def test_no_part_of_a_foreign_pod_and_no_part_of_a_name_finds_anything(wanted: str) -> None:
    with pytest.raises(
        PodkitError, match=rf"no pod .* there are: {OURS.id} \({OURS.name}\), "
    ) as caught:
        pods.find(ALL, wanted)
    assert caught.value.exit_code == 1


def test_what_fits_several_pods_is_refused_with_their_list() -> None:
    with pytest.raises(SeveralPods, match=f"fits several pods: {OURS.id}.*abc1999"):
        pods.find([*ALL, pod(id="abc1999")], "abc1")
    with pytest.raises(SeveralPods):
        pods.find([*ALL, pod(id="other", name="podkit-qwen3vl-eeeeee")], "qwen3vl")
    with pytest.raises(SeveralPods):
        pods.find([OURS, pod(id="twin")], OURS.name)


@pytest.mark.parametrize("start", ["a", "ab", "abc"])
def test_fewer_than_four_characters_of_an_id_mean_no_pod(start: str) -> None:
    with pytest.raises(Missing) as caught:
        pods.find([OURS], start)
    assert caught.value.hint == "give at least four characters of the id, or the name"


def test_a_full_id_wins_over_the_start_of_another() -> None:
    longer = pod(id=OURS.id + "9")
    assert pods.find([longer, OURS], OURS.id) is OURS


def test_an_empty_account_says_so() -> None:
    with pytest.raises(Missing):
        pods.find([], "abc")


def test_without_an_id_only_the_single_podkit_pod_is_meant() -> None:
    assert pods.only([THEIRS, OURS]) is OURS
    with pytest.raises(Missing):
        pods.only([THEIRS])
    with pytest.raises(SeveralPods):
        pods.only(ALL)


def end(
    client: RunpodClient, clock: Clock, which: Pod = OURS, keep: bool = False, delete: bool = False
) -> str:
    return pods.end(client, which, keep, delete)


def test_a_pod_of_ours_is_deleted_and_the_volume_that_stays_is_named(
    api: mocking.Mocker, client: RunpodClient, clock: Clock
) -> None:
    api.delete(ONE, status_code=204)
    api.get(ONE, **problem(404))
    api.get(f"{API}/pods", json={"pods": []})
    assert "is gone and no longer billed; network volume vol1 is kept" in end(client, clock)
    assert clock.naps == []


def test_stop_means_gone_through_faults_until_the_api_says_so(
    api: mocking.Mocker, client: RunpodClient, clock: Clock
) -> None:
    api.delete(ONE, [problem(500), problem(429), {"status_code": 204}])
    api.get(
        ONE, [{"json": POD}, problem(502), {"json": POD}, {"json": {**POD, "status": "TERMINATED"}}]
    )
    assert "is gone" in end(client, clock)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ({"json": POD}, "the API still shows it"),
        (problem(500, "oops"), "oops"),
        (problem(403, "no"), "no"),
    ],
)
def test_what_cannot_be_confirmed_is_said_in_capitals_within_minutes(
    api: mocking.Mocker, client: RunpodClient, clock: Clock, answer: dict[str, Any], why: str
) -> None:
    api.delete(ONE, status_code=204)
    api.get(ONE, **answer)
    started = clock()
    with pytest.raises(
        PodUnclear, match=rf"MAY STILL BE RUNNING AND BILLED AT \$0\.86/h: .*{why}"
    ) as caught:
        end(client, clock)
    assert "https://console.runpod.io/pods" in caught.value.hint
    assert POD["id"] in caught.value.message
    assert pods.CONFIRM_SECONDS <= clock() - started < pods.CONFIRM_SECONDS + 60


@pytest.mark.parametrize(
    ("which", "keep", "delete", "call"),
    [
        ({}, False, False, "DELETE"),
        ({}, True, False, "POST"),
        ({"mounts": {}}, False, False, "POST"),
        (
            {"mounts": {**POD["mounts"], "persistent": {"size": 20, "path": "/data"}}},
            False,
            False,
            "POST",
        ),
        ({"mounts": {}}, False, True, "DELETE"),
        ({"name": "their-pod"}, False, False, "POST"),
        ({"name": "their-pod"}, False, True, "DELETE"),
    ],
)
def test_a_pod_is_deleted_if_that_loses_nothing_and_it_is_ours_or_if_told_so(
    api: mocking.Mocker,
    client: RunpodClient,
    clock: Clock,
    which: dict[str, Any],
    keep: bool,
    delete: bool,
    call: str,
) -> None:
    api.delete(ONE, status_code=204)
    api.post(f"{ONE}/action", json=EXITED)
    api.get(ONE, json={**EXITED, "status": "TERMINATED"})
    said = end(client, clock, pod(**which), keep, delete)
    assert api.request_history[0].method == call
    assert ("--terminate" in said) is (call == "POST")
    assert ("is gone" in said) is (call == "DELETE")


def test_a_stop_that_was_carried_out_while_its_answer_was_lost_is_confirmed(
    api: mocking.Mocker, client: RunpodClient, clock: Clock
) -> None:
    api.post(f"{ONE}/action", [problem(500), problem(409, "stop is not allowed now")])
    api.get(ONE, [{"json": POD}, {"json": EXITED}])
    assert "is stopped at $0.00/h" in end(client, clock, keep=True)


def test_a_pod_that_is_stopped_already_is_not_stopped_again(
    api: mocking.Mocker, client: RunpodClient, clock: Clock
) -> None:
    assert "is stopped" in end(client, clock, Pod.from_api(EXITED), keep=True)
    assert api.call_count == 0


def test_no_failure_to_end_a_pod_shows_the_key(
    api: mocking.Mocker, client: RunpodClient, clock: Clock
) -> None:
    api.delete(ONE, **problem(401))
    with pytest.raises(PodkitError) as caught:
        end(client, clock)
    assert KEY not in caught.value.message + caught.value.hint
