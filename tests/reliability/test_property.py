"""Over a thousand deploys through random faults, each followed by a stop: no pod is lost,
none is one too many.
"""

from __future__ import annotations

import signal
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from podkit.pods.creator import Creator
from podkit.pods.launcher import Launcher
from podkit.pods.ledger import Ledger
from podkit.pods.placement import Candidate
from podkit.runpod.types import Pod
from tests.reliability.checker import broken_after_deploy, broken_after_stop, commands
from tests.reliability.schedules import plans
from tests.reliability.transport import Plan, Stage

DEPLOYS = 1200
A_FEW = 20


def play(plan: Plan, **parts: Any) -> tuple[int, list[str]]:
    """(exit code, broken guarantees) of one deploy and of the stops that it told of."""
    stage = Stage(plan)
    started = stage.clock()
    outcome = stage.deploy(**parts)
    broken = broken_after_deploy(stage, outcome, started)
    for wanted in commands(outcome):
        broken += broken_after_stop(stage, stage.stop(wanted), wanted)
    stage.heal()
    for wanted in commands(outcome):
        broken += broken_after_stop(stage, stage.stop(wanted), wanted)
    lost = [pod_id for pod_id in stage.own if pod_id in outcome.report]
    broken += [f"{pod_id} outlived its stop command" for pod_id in lost]
    return outcome.code, [f"{reason}\n{outcome.said}\n--\n{outcome.report}" for reason in broken]


def exit_codes(deploys: int) -> Counter[int]:
    """How often each was seen, after that many deploys through random faults lost no pod."""
    codes: Counter[int] = Counter()

    @settings(
        max_examples=deploys,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(plans)
    def deploy_and_stop(plan: Plan) -> None:
        code, broken = play(plan)
        codes[code] += 1
        assert not broken, "\n\n".join(broken)

    deploy_and_stop()
    return codes


def test_a_few_deploys_lose_no_pod_and_make_none_too_many() -> None:
    assert exit_codes(A_FEW).total() >= A_FEW


@pytest.mark.slow
def test_a_thousand_deploys_lose_no_pod_and_make_none_too_many() -> None:
    codes = exit_codes(DEPLOYS)
    assert codes.total() >= DEPLOYS
    assert codes.keys() == {0, 1, 2, 75, 129, 130, 143}


class Blind(Ledger):
    """Breaks rule 4: sends the next create without having looked for the pod of an unclear one."""

    def look_up(self, name: str) -> Pod | None:
        return None


class Careless(Ledger):
    """Does not sweep up."""

    def try_sweep(self, *, patient: bool) -> None:
        self._may_exist.clear()


class Silent(Ledger):
    """Leaves without a word."""

    def left_running(self, but: str = "") -> list[str]:
        return []


class Spendthrift(Launcher):
    """Takes every pod for one that costs nothing."""

    def place(self) -> Pod:
        made = Creator._create

        def free(creator: Creator, candidate: Candidate) -> Pod | None:
            pod = made(creator, candidate)
            return pod and replace(pod, cost_per_hour=0.0)

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(Creator, "_create", free)
            return super().place()


UNCLEAR = {"call": "POST /pods", "fault": "503", "effect": True, "times": 1}
DEAR = {"call": "POST /pods", "fault": "price", "factor": 1.1, "times": 1}
LATE_TWIN = {"call": "POST /pods", "fault": "twin", "seconds": 20.0, "times": 1}


@pytest.mark.parametrize(
    ("parts", "plan", "found"),
    [
        ({"ledger_class": Blind}, Plan((UNCLEAR,)), "was created while"),
        (
            {"ledger_class": Careless},
            Plan((UNCLEAR, LATE_TWIN), wait=False),
            "lives and is not mentioned",
        ),
        ({"launcher_class": Spendthrift}, Plan((DEAR,)), "costs more than quoted, and is kept"),
        ({"ledger_class": Silent}, Plan(signal=(signal.SIGINT, 40)), "lives and is not mentioned"),
    ],
)
def test_the_property_is_not_held_by_a_launcher_that_breaks_the_rules(
    parts: dict[str, Any], plan: Plan, found: str
) -> None:
    assert play(plan)[1] == []
    assert found in "".join(play(plan, **parts)[1])
