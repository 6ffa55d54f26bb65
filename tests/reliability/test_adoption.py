"""Which pod a deploy takes instead of making one, and what is said of limits that differ."""

from __future__ import annotations

import re
from typing import Any

import pytest

from podkit_sandbox.account import PaperRunner
from tests.reliability.transport import Plan, Stage

CREATE = {"call": "POST /pods"}


def test_only_a_pod_of_this_very_model_is_adopted() -> None:
    stage = Stage(Plan())
    stage.made_by_others("podkit-olmocr-mini-cccccc")
    assert stage.deploy().code == 0
    assert len(stage.own) == 1


def test_another_laptops_older_pod_wins_even_if_the_list_shows_it_late() -> None:
    stage = Stage(Plan(other_laptop=15.0))
    outcome = stage.deploy()
    assert outcome.code == 0
    assert stage.others[outcome.report.split()[0]] == "podkit-olmocr-bbbbbb"
    assert not stage.own


@pytest.mark.parametrize("lag", [15.0, 40.0, 100.0])
def test_a_second_deploy_of_this_checkout_waits_for_a_list_that_lags(lag: float) -> None:
    stage = Stage(Plan(({**CREATE, "fault": "list-lag", "seconds": lag},), wait=False))
    first = stage.deploy()
    second = stage.deploy()
    assert (first.code, second.code) == (0, 0)
    assert first.report == second.report
    assert len(stage.own) == 1
    assert len(stage.adapter.creates) == 1


def test_a_pod_that_has_surely_ended_is_not_waited_for() -> None:
    stage = Stage(Plan(wait=False))
    (pod_id,) = stage.deploy().report.split()[:1]
    assert stage.stop(pod_id).code == 0
    stage.clock.now += 200.0
    started = stage.clock()
    assert stage.deploy().code == 0
    assert stage.clock() - started < 10.0
    assert len(stage.own) == 1


def test_a_create_that_was_cut_off_by_a_kill_is_looked_for_by_the_next_deploy() -> None:
    stage = Stage(Plan(({**CREATE, "fault": "list-lag", "seconds": 60.0},), wait=False))
    stage.made_by_others("podkit-olmocr-dddddd", lag=60.0)
    stage.made.note("podkit-olmocr-dddddd", "", stage.clock())
    outcome = stage.deploy()
    assert stage.others[outcome.report.split()[0]] == "podkit-olmocr-dddddd"
    assert not stage.own


GIVEN = {"PODKIT_MAX_HOURS": "--max-hours", "PODKIT_IDLE_MINUTES": "--idle-minutes"}


@pytest.mark.parametrize("adopt", [False, True])
def test_a_pod_that_lives_longer_than_asked_is_taken_only_if_that_is_said(adopt: bool) -> None:
    stage = Stage(Plan(wait=False))
    assert stage.deploy().code == 0
    stage.limits = {"max_hours": 2.0, "idle_minutes": 10.0, "given": GIVEN}
    outcome = stage.deploy(adopt=adopt)
    assert outcome.code == (0 if adopt else 2)
    text = outcome.said + outcome.report
    assert "it ends itself in 12.0 hours, and 2 were asked for" in text
    assert "it ends itself after 30 idle minutes, and 10 were asked for" in text
    if not adopt:
        assert "./deploy_olmocr.sh --adopt" in outcome.report
        assert "./deploy_olmocr.sh --new" in outcome.report


def test_a_pod_with_stricter_limits_than_asked_is_taken_and_they_are_said() -> None:
    stage = Stage(Plan(wait=False))
    assert stage.deploy().code == 0
    stage.limits = {"max_hours": 24.0, "idle_minutes": 60.0, "given": GIVEN}
    outcome = stage.deploy()
    assert outcome.code == 0
    assert "it ends itself after 30 idle minutes, and 60 were asked for" in outcome.said


def test_limits_that_are_defaults_differ_from_nothing() -> None:
    stage = Stage(Plan(wait=False))
    stage.limits = {"max_hours": 24.0}
    assert stage.deploy().code == 0
    stage.limits = {}
    outcome = stage.deploy()
    assert outcome.code == 0
    assert "were asked for" not in outcome.said


def test_a_pod_that_was_there_and_ends_meanwhile_is_told_as_gone_and_not_as_running() -> None:
    class Ending(PaperRunner):
        """Its pod ends itself after a while, as one that is idle does."""

        def runtime(self, pod: Any) -> Any:
            if pod.name == "podkit-olmocr-eeeeee" and stage.clock() > began + 20.0:
                pod.status = "TERMINATED"
                pod.ended = stage.clock()
            return super().runtime(pod)

    stage = Stage(Plan(), runner_class=Ending)
    stage.made_by_others("podkit-olmocr-eeeeee")
    began = stage.clock()
    outcome = stage.deploy()
    assert outcome.code == 1
    assert re.search("it is (gone|TERMINATED)", outcome.report)
    assert "no longer billed; ./deploy_olmocr.sh makes another" in outcome.report
    assert "is there" not in outcome.report
    assert "./stop_pod.sh" not in outcome.report
