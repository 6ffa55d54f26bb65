"""One deploy at a time over the in-process account: unclear creates, bad hosts, crash loops,
interrupts.
"""

from __future__ import annotations

import signal
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from podkit import ROOT
from podkit.commands.app import App
from podkit.commands.cli import cli
from podkit.interrupts import Interrupts
from podkit.pods.probes import Probes
from podkit_sandbox.account import PaperRunner, Pod
from tests.reliability.transport import GPUS, KEY, Plan, Stage

CREATE = {"call": "POST /pods"}
ONCE = {**CREATE, "times": 1}
STUCK = {**CREATE, "fault": "stuck"}


def placed(stage: Stage) -> list[str]:
    """The GPU type of every pod that the deploy made, in order."""
    return [pod.gpu for pod in stage.account.pods.values() if pod.id not in stage.others]


@pytest.mark.parametrize(
    "fault",
    [
        {"fault": "500", "effect": True},
        {"fault": "502", "effect": True},
        {"fault": "html502", "effect": True},
        {"fault": "reset-after"},
        {"fault": "truncate"},
        {"fault": "garbage"},
        {"fault": "delay", "seconds": 130.0},
    ],
    ids=lambda fault: fault["fault"],
)
@pytest.mark.parametrize("lag", [0.0, 20.0])
def test_the_pod_of_an_unclear_create_is_found_by_its_name_and_taken(
    fault: dict[str, Any], lag: float
) -> None:
    stage = Stage(Plan(({**ONCE, **fault}, {**CREATE, "fault": "list-lag", "seconds": lag})))
    outcome = stage.deploy()
    assert outcome.code == 0, outcome.report
    assert [*stage.own] == [outcome.report.split()[0]]
    assert len(stage.adapter.creates) == 1
    was_unclear = "looking for a pod named" in outcome.said
    assert ("found pod" in outcome.said) == was_unclear
    assert ("created pod" in outcome.said) != was_unclear


def test_a_pod_proven_absent_is_asked_for_again_under_new_names_then_the_next_gpu_type() -> None:
    stage = Stage(Plan(({**CREATE, "fault": "503", "times": 3},)))
    assert stage.deploy().code == 0
    assert placed(stage) == [GPUS[1]]
    assert len({name for name, *_ in stage.adapter.creates}) == 4


def test_a_look_up_that_fails_stops_the_deploy_and_names_what_may_exist() -> None:
    lost = {"call": "GET /pods", "fault": "503", "after": 1}
    stage = Stage(Plan(({**ONCE, "fault": "reset-after"}, lost)))
    outcome = stage.deploy()
    (pod,) = stage.own.values()
    assert outcome.code == 1
    assert f"A POD NAMED {pod.name} MAY EXIST AND BE BILLED" in outcome.report
    assert f"./stop_pod.sh {pod.name} ends it" in outcome.report
    assert len(stage.adapter.creates) == 1
    stage.heal()
    assert stage.stop(pod.name).code == 0
    assert not stage.own


def test_a_list_that_is_answered_late_does_not_prove_that_no_pod_came_meanwhile() -> None:
    lag = {**ONCE, "fault": "list-lag", "seconds": 1.0}
    slow = {"call": "GET /pods", "fault": "delay", "seconds": 45.0, "times": 2, "after": 1}
    stage = Stage(Plan((lag, {**ONCE, "fault": "500", "effect": True}, slow)))
    outcome = stage.deploy()
    assert outcome.code == 0, outcome.said
    assert "found pod" in outcome.said
    assert len(stage.adapter.creates) == 1


@pytest.mark.parametrize("wait", [True, False])
def test_a_twin_that_shows_up_late_is_ended_and_reported(wait: bool) -> None:
    twin = {**ONCE, "fault": "twin", "seconds": 20.0}
    stage = Stage(Plan((twin, {**ONCE, "fault": "500", "effect": True}), wait=wait))
    outcome = stage.deploy()
    assert outcome.code == 0
    assert [*stage.own] == [outcome.report.split()[0]]
    assert "which this deploy made and does not keep" in outcome.said


def test_a_twin_that_cannot_be_ended_is_named_and_does_not_cost_the_deploy() -> None:
    unclear = ({**ONCE, "fault": "twin"}, {**ONCE, "fault": "500", "effect": True})
    stage = Stage(Plan((*unclear, {"call": "DELETE /pods/{id}", "fault": "503"})))
    outcome = stage.deploy()
    assert outcome.code == 0
    (twin,) = stage.own.keys() - {outcome.report.split()[0]}
    assert f"end it now: ./stop_pod.sh {twin}" in outcome.said


@pytest.mark.parametrize("tick", [20, 21, 22, 23])
def test_a_twin_is_ended_even_if_a_signal_comes_while_that_happens(tick: int) -> None:
    unclear = ({**ONCE, "fault": "twin"}, {**ONCE, "fault": "500", "effect": True})
    stage = Stage(Plan(unclear, signal=(signal.SIGHUP, tick)))
    outcome = stage.deploy()
    assert outcome.code == 129
    assert "ending pod" in outcome.said
    (pod_id,) = stage.own
    assert f"pod {pod_id} " in outcome.report


def test_an_interrupt_that_leaves_no_time_for_a_late_twin_says_that_it_may_exist() -> None:
    twin = {**ONCE, "fault": "twin", "seconds": 20.0}
    stage = Stage(
        Plan((twin, {**ONCE, "fault": "500", "effect": True}), signal=(signal.SIGINT, 16))
    )
    outcome = stage.deploy()
    assert outcome.code == 130
    first, second = stage.own.values()
    assert (
        f"pod {first.id} ({first.name}) is there, $0.86/h; it ends itself after 30"
        in outcome.report
    )
    assert f"another pod named {second.name} may exist" in outcome.report
    stage.heal()
    assert stage.stop(first.name).code == 0
    assert not stage.own


@pytest.mark.parametrize("fault", ["429", "400", "503"])
def test_no_create_follows_a_signal(fault: str) -> None:
    stage = Stage(Plan(({**ONCE, "fault": fault},), signal=(signal.SIGTERM, 7)))
    outcome = stage.deploy()
    assert outcome.code == 143
    assert len(stage.adapter.creates) == 1


def test_a_host_that_never_starts_the_container_is_left_after_six_minutes_for_another() -> None:
    stage = Stage(Plan(({**STUCK, "times": 1},)))
    started = stage.clock()
    outcome = stage.deploy()
    assert outcome.code == 0
    assert placed(stage) == [GPUS[0]] * 2
    assert len(stage.own) == 1
    assert 360 < stage.clock() - started < 480


def test_after_three_bad_hosts_the_next_gpu_type_is_tried() -> None:
    stage = Stage(Plan(({**STUCK, "gpu": GPUS[0]},)))
    assert stage.deploy().code == 0
    assert placed(stage) == [GPUS[0]] * 3 + [GPUS[1]]
    assert [pod.gpu for pod in stage.own.values()] == [GPUS[1]]


DEAR = {**CREATE, "fault": "price", "factor": 3}


@pytest.mark.parametrize(
    "unclear", [(), ({**ONCE, "fault": "500", "effect": True},)], ids=["clear", "unclear"]
)
def test_a_pod_that_costs_more_than_was_quoted_is_ended_and_the_next_gpu_type_tried(
    unclear: tuple[Any, ...],
) -> None:
    stage = Stage(Plan(({**DEAR, "times": 1}, *unclear), wait=False))
    outcome = stage.deploy()
    assert outcome.code == 0
    assert placed(stage) == [GPUS[0], GPUS[1]]
    assert [pod.gpu for pod in stage.own.values()] == [GPUS[1]]
    assert f"{GPUS[0]}: its pod costs $2.58/h, $0.86/h was quoted; ending it" in outcome.said


def test_a_late_twin_of_a_pod_too_dear_is_waited_for_before_the_next_create() -> None:
    twin = {**ONCE, "fault": "twin", "seconds": 40.0}
    stage = Stage(Plan((twin, {**DEAR, "times": 1}, {**ONCE, "fault": "500", "effect": True})))
    assert stage.deploy().code == 0
    assert placed(stage) == [GPUS[0], GPUS[0], GPUS[1]]
    assert stage.adapter.creates[-1][1] == frozenset(stage.others)


def test_where_every_pod_is_too_dear_none_is_left_and_all_prices_are_said() -> None:
    stage = Stage(Plan((DEAR,)))
    outcome = stage.deploy()
    assert outcome.code == 1
    assert not stage.own
    for gpu, costs, quoted in zip(
        GPUS, ("2.58", "4.17", "2.07"), ("0.86", "1.39", "0.69"), strict=True
    ):
        assert f"{gpu} (its pod costs ${costs}/h, ${quoted}/h was quoted)" in outcome.report


def test_a_pod_too_dear_that_cannot_be_ended_is_named_and_no_other_is_made() -> None:
    stage = Stage(Plan((DEAR, {"call": "DELETE /pods/{id}", "fault": "503"})))
    outcome = stage.deploy()
    assert outcome.code == 1
    (pod,) = stage.own.values()
    assert f"POD {pod.id} ({pod.name}) MAY STILL BE RUNNING AND BILLED AT $2.58/h" in outcome.report
    assert f"end it now: ./stop_pod.sh {pod.id}" in outcome.report


@pytest.mark.parametrize("factor", [0.5, 1.0, 1.01])
def test_a_pod_that_costs_less_or_a_hundredth_more_is_kept(factor: float) -> None:
    stage = Stage(Plan(({**DEAR, "factor": factor},), wait=False))
    assert stage.deploy().code == 0
    assert placed(stage) == [GPUS[0]]


def test_without_a_quote_any_price_is_taken() -> None:
    stage = Stage(Plan((DEAR, {"call": "GET /catalog/gpus", "fault": "403"}), wait=False))
    assert stage.deploy().code == 0
    assert placed(stage) == [GPUS[0]]


def test_a_pod_that_an_interrupt_could_not_end_is_said_to_run_on() -> None:
    rules = ({"call": "DELETE /pods/{id}", "fault": "503"},)
    outcome = (
        stage := Stage(Plan(rules, rm_on_interrupt=True, signal=(signal.SIGINT, 40)))
    ).deploy()
    (pod,) = stage.own.values()
    assert outcome.code == 130
    assert f"POD {pod.id} ({pod.name}) MAY STILL BE RUNNING AND BILLED AT $0.86/h" in outcome.said


@pytest.mark.parametrize(("seconds", "made"), [(800.0, 1), (None, 2)])
def test_a_host_that_pulls_the_image_has_fifteen_minutes(seconds: float | None, made: int) -> None:
    stage = Stage(Plan(({**STUCK, "times": 1, "pulling": True, "seconds": seconds},)))
    started = stage.clock()
    assert stage.deploy().code == 0
    assert len(placed(stage)) == made
    assert stage.clock() - started > (800 if seconds else 900)


@pytest.mark.parametrize("seconds", [2.0, 30.0])
@pytest.mark.parametrize("keep_failed", [False, True])
def test_a_crash_loop_ends_the_wait_and_unless_kept_the_pod(
    seconds: float, keep_failed: bool
) -> None:
    loop = {**CREATE, "fault": "crash-loop", "seconds": seconds}
    stage = Stage(Plan((loop,), keep_failed=keep_failed))
    started = stage.clock()
    outcome = stage.deploy()
    assert outcome.code == 1
    assert "restart" in outcome.report or "the host repeats" in outcome.report
    assert len(placed(stage)) == 1
    assert len(stage.own) == keep_failed
    assert all(f"./stop_pod.sh {pod_id}" in outcome.report for pod_id in stage.own)
    assert stage.clock() - started < 240


def test_one_restart_is_no_loop() -> None:
    assert Stage(Plan(({**CREATE, "fault": "restart", "seconds": 20.0},))).deploy().code == 0


def test_a_fatal_line_ends_the_wait_with_its_reason() -> None:
    class Fatal(PaperRunner):
        def start(self, pod: Pod) -> None:
            super().start(pod)
            fatal = "podkit: fatal step=fetch reason=no space left fix=a larger volume"
            for line in ("OSError: [Errno 28]", fatal):
                pod.lines.append((pod.started, "container", line))

    stage = Stage(Plan(), runner_class=Fatal)
    outcome = stage.deploy()
    assert outcome.code == 1
    assert "its fetch failed: no space left" in outcome.report
    assert "a larger volume" in outcome.report
    assert "./deploy_olmocr.sh --keep-failed" in outcome.report  # `ocr` has no such option
    assert "its log: OSError: [Errno 28]" in outcome.said
    assert "its log: podkit: fatal" not in outcome.said
    assert not stage.own


def test_a_defect_of_podkits_own_names_the_pod_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    stage = Stage(Plan())
    (tmp_path / "startup").symlink_to(ROOT / "startup")

    def broken() -> Probes:
        raise ZeroDivisionError

    world = replace(stage.world([], Interrupts()), new_probes=broken)
    monkeypatch.setattr(App, "world", lambda app, settings: world)
    with pytest.raises(ZeroDivisionError):
        cli.main(
            ["deploy", "--model", "olmocr"],
            obj=App(tmp_path, {"RUNPOD_API_KEY": KEY}),
            standalone_mode=False,
        )
    (pod_id,) = stage.own
    assert f"end it now: ./stop_pod.sh {pod_id}" in capfd.readouterr().err


FULL = {**CREATE, "fault": "400"}


def test_a_deploy_waits_for_stock_until_a_gpu_is_free() -> None:
    stage = Stage(Plan(({**FULL, "times": 9},), wait=False))
    outcome = stage.deploy(stock_minutes=30.0)
    assert outcome.code == 0, outcome.report
    assert "no free GPU yet, 3 times asked; asking again in 60 s" in outcome.said
    assert len(stage.own) == 1


def test_waiting_for_stock_ends_at_its_deadline_and_leaves_nothing() -> None:
    stage = Stage(Plan((FULL,), wait=False))
    started = stage.clock()
    outcome = stage.deploy(stock_minutes=10.0)
    assert outcome.code == 75
    assert 600 <= stage.clock() - started < 700
    assert "times asked" in outcome.report
    assert not stage.own


def test_each_reason_of_a_refusal_is_said_once() -> None:
    outcome = Stage(Plan((FULL,), gpus=GPUS[:1])).deploy()
    assert outcome.said.count("no longer any instances") == 1


@pytest.mark.parametrize("fault", ["garbage", "html403", "500"])
def test_a_sweep_goes_on_through_lists_that_cannot_be_read(fault: str) -> None:
    unclear = {**ONCE, "fault": "500", "effect": True}
    twin = {**ONCE, "fault": "twin", "seconds": 40.0}
    unreadable = {"call": "GET /pods", "fault": fault, "after": 4, "times": 3}
    stage = Stage(Plan((twin, unclear, unreadable), wait=False))
    outcome = stage.deploy()
    assert outcome.code == 0, outcome.report
    assert [*stage.own] == [outcome.report.split()[0]]


def test_no_pod_is_said_to_be_possible_when_every_create_was_clear() -> None:
    gone = {"call": "GET /pods", "fault": "500", "after": 2}
    stage = Stage(Plan(({**CREATE, "fault": "402"}, gone), wait=False))
    outcome = stage.deploy()
    assert outcome.code == 1
    assert "may exist" not in f"{outcome.said}{outcome.report}"


def test_the_end_time_is_never_later_than_asked_for_by_either_clock() -> None:
    stage = Stage(Plan(({"call": "*", "fault": "clock-skew", "seconds": 400.0},), wait=False))
    began = stage.clock()
    assert stage.deploy().code == 0
    (pod,) = stage.own.values()
    ends = datetime.fromisoformat(pod.body["env"]["PODKIT_ENDS_AT"]).timestamp()
    assert ends <= began + 12 * 3600 + 60
