"""stop means gone: confirmed through faults and lagging lists, or said in capitals."""

from __future__ import annotations

from typing import Any

import pytest

from tests.reliability.transport import Outcome, Plan, Stage

DELETE = {"call": "DELETE /pods/{id}"}
LOOK = {"call": "GET /pods/{id}"}


def staged(*rules: dict[str, Any], pods: int = 1, **create: Any) -> Stage:
    """Pods just made, and the faults that the stop is to meet."""
    stage = Stage(Plan(({"call": "POST /pods", **create},) if create else (), wait=False, new=True))
    for _ in range(pods):
        assert stage.deploy().code == 0
    stage.obey(*rules)
    return stage


def unsure(outcome: Outcome) -> bool:
    capitals = "MAY STILL BE RUNNING AND BILLED" in outcome.report
    return outcome.code == 1 and capitals and "https://console.runpod.io/pods" in outcome.report


@pytest.mark.parametrize(
    "fault",
    [
        {"fault": "500"},
        {"fault": "503", "effect": True},
        {"fault": "429", "retry_after": 20},
        {"fault": "html502"},
        {"fault": "reset-before"},
        {"fault": "reset-after"},
        {"fault": "delay", "seconds": 40.0},
        {"fault": "404"},
    ],
    ids=lambda fault: fault["fault"],
)
@pytest.mark.parametrize("call", [DELETE, LOOK], ids=["asking", "looking"])
def test_stop_goes_on_through_faults_until_the_pod_is_gone(
    call: dict[str, str], fault: dict[str, Any]
) -> None:
    stage = staged({**call, **fault, "times": 3})
    (pod_id,) = stage.own
    outcome = stage.stop(pod_id)
    assert outcome.code == 0, outcome.report
    assert "is gone and no longer billed" in outcome.said
    assert not stage.own


@pytest.mark.parametrize("call", ["DELETE /pods/{id}", "GET /pods", "*"])
@pytest.mark.parametrize("fault", ["500", "429", "403", "html403", "reset-before"])
def test_what_cannot_be_confirmed_is_said_in_capitals_with_the_consoles_url(
    call: str, fault: str
) -> None:
    stage = staged({"call": call, "fault": fault})
    (pod_id,) = stage.own
    started = stage.clock()
    assert unsure(stage.stop(pod_id))
    assert stage.clock() - started < 600


def test_a_404_for_a_new_pod_is_no_proof_that_it_is_gone() -> None:
    stage = staged({**DELETE, "fault": "404", "times": 4}, {**LOOK, "fault": "404", "times": 4})
    (pod_id,) = stage.own
    assert stage.stop(pod_id).code == 0
    assert not stage.own


@pytest.mark.parametrize("waited", [0, 31])
def test_one_404_to_a_delete_is_no_proof_that_an_older_pod_is_gone(waited: int) -> None:
    slow = {**DELETE, "fault": "429", "retry_after": waited, "times": 1}
    stage = staged(*([slow] if waited else []), {**DELETE, "fault": "404", "times": 3})
    stage.clock.now += 600.0
    (pod_id,) = stage.own
    outcome = stage.stop(pod_id)
    assert outcome.code == 0
    assert not stage.own


def test_the_list_decides_over_a_404() -> None:
    stage = staged({**DELETE, "fault": "404"}, {**LOOK, "fault": "404"})
    stage.clock.now += 600.0
    (pod_id,) = stage.own
    assert unsure(stage.stop(pod_id))
    assert [*stage.own] == [pod_id]


def test_a_pod_that_someone_else_ended_is_gone_after_two_looks() -> None:
    stage = staged({**DELETE, "fault": "404"})
    stage.clock.now += 600.0
    (pod_id,) = stage.own
    stage.account.pods[pod_id].status = "TERMINATED"
    outcome = stage.stop(pod_id)
    assert outcome.code in (0, 1)


def test_a_pod_that_is_not_in_the_list_yet_is_ended_by_the_id_that_deploy_printed() -> None:
    stage = staged(fault="list-lag", seconds=20.0)
    (pod_id,) = stage.own
    assert stage.stop(pod_id).code == 0
    assert not stage.own


def test_one_name_ends_both_twins() -> None:
    stage = staged()
    (pod,) = stage.own.values()
    stage.made_by_others(pod.name)
    assert stage.stop(pod.name).code == 0
    assert pod.name not in [
        other.name for other in stage.account.pods.values() if other.status != "TERMINATED"
    ]


def test_a_pod_that_cannot_be_ended_does_not_keep_the_others() -> None:
    stage = staged(pods=2)
    first, second = stage.own
    stage.obey({"call": f"DELETE /pods/{first}", "fault": "500"})
    outcome = stage.stop("nosuchpod", first, second)
    assert unsure(outcome)
    assert "no pod 'nosuchpod'" in outcome.report
    assert [*stage.own] == [first]


def test_an_empty_id_means_no_pod_at_all() -> None:
    stage = staged(pods=2)
    assert stage.stop("").code == 1
    assert len(stage.own) == 2


def test_all_means_podkits_pods_and_nobody_elses() -> None:
    stage = staged(pods=2)
    assert stage.stop().code == 0
    assert not stage.own
    assert [pod.name for pod in stage.account.pods.values() if pod.status == "RUNNING"] == [
        "someone-elses-pod"
    ]
