"""What a pod's appearances, log lines and probes add up to, and when it is given up."""

from __future__ import annotations

from contextlib import nullcontext

import pytest

from podkit.errors import BadHost, PodFailed
from podkit.pods.watch import PHASES, Progress, Watch
from podkit.runpod.types import Pod
from tests.podkit.samples import pod


@pytest.fixture
def watch() -> Watch:
    return Watch(0.0, boot_minutes=30)


def running(uptime: int | None) -> Pod:
    return pod(runtime=None if uptime is None else {"uptime": uptime})


def seen(watch: Watch, now: float) -> Progress:
    return watch.progress(pod(), now, 0.0)


def phases(watch: Watch, now: float = 0.0) -> dict[str, tuple[float, float | None]]:
    return {step.phase: (step.started, step.ended) for step in seen(watch, now).steps}


def failure(watch: Watch, now: float = 0.0) -> PodFailed:
    with pytest.raises(PodFailed) as failed:
        watch.check(pod(), now, log_follows=True)
    return failed.value


def test_the_phases_follow_the_container_and_its_log(watch: Watch) -> None:
    watch.see_pod(running(None), 0)
    assert (phases(watch), watch.has_container) == ({"placed": (0, None)}, False)
    watch.see_pod(running(0), 40)
    assert (phases(watch), watch.has_container) == (
        {"placed": (0, 40), "container": (40, None)},
        True,
    )
    watch.see_container_log(["noise", "podkit: phase=check event=start t=0.5"], 42)
    watch.see_container_log(
        ["podkit: phase=check event=done t=1.5", "podkit: phase=fetch event=start t=1.6"], 44
    )
    assert phases(watch) == {
        "placed": (0, 40),
        "container": (40, 42),
        "check": (42, pytest.approx(43.0)),
        "fetch": (pytest.approx(43.1), None),
    }
    assert [step.phase for step in seen(watch, 44).running] == ["fetch"]


def test_lines_that_come_late_are_put_where_their_own_time_says(watch: Watch) -> None:
    watch.see_pod(running(0), 10)
    watch.see_container_log(
        ["podkit: phase=check event=start t=1", "podkit: phase=check event=done t=8"], 18
    )
    assert phases(watch)["check"] == (11.0, 18.0)


def test_the_bytes_of_the_model_are_counted_while_it_is_fetched(watch: Watch) -> None:
    watch.see_container_log(["podkit: phase=fetch event=start t=1"], 1)
    assert (seen(watch, 2).fetched, seen(watch, 2).total) == (0, 0)
    watch.see_container_log(["podkit: phase=fetch event=progress t=9 bytes=5 total=20"], 9)
    assert (seen(watch, 9).fetched, seen(watch, 9).total) == (5, 20)
    watch.see_container_log(["podkit: phase=fetch event=done t=12"], 12)
    assert seen(watch, 12).total == 0


def test_ready_lasts_until_the_public_urls_work(watch: Watch) -> None:
    watch.see_container_log(
        ["podkit: phase=ready event=start t=9", "podkit: phase=ready event=done t=9"], 9
    )
    assert [step.phase for step in seen(watch, 20).running] == ["placed", "ready"]
    watch.see_serving(21)
    assert seen(watch, 21).running == ()
    assert seen(watch, 21).steps[-1].phase == "ready"


def test_a_fatal_line_ends_the_wait_with_its_reason_and_its_fix(watch: Watch) -> None:
    watch.see_container_log(["podkit: fatal step=check reason=no CUDA 13 fix=use another host"], 0)
    failed = failure(watch)
    assert (failed.message, failed.hint) == (
        f"pod {pod().id}: its check failed: no CUDA 13",
        "use another host",
    )


def test_the_first_reason_counts(watch: Watch) -> None:
    watch.see_container_log(["podkit: fatal step=load reason=no memory fix=a larger GPU"], 0)
    watch.see_pod(pod(status="EXITED"), 1)
    assert failure(watch).message.endswith("its load failed: no memory")


def test_one_restart_is_forgiven_and_two_are_a_loop(watch: Watch) -> None:
    for uptime in (5, 10, 2):
        watch.see_pod(running(uptime), 0)
    watch.check(pod(), 0, log_follows=True)
    watch.see_pod(running(1), 0)
    assert "its container was restarted 2 times" in failure(watch).message


def test_after_a_restart_the_phases_begin_anew_whichever_is_seen_first(watch: Watch) -> None:
    watch.see_pod(running(600), 600)
    lines = [
        "podkit: phase=load event=start t=40",
        "podkit: phase=fetch event=progress t=41 bytes=5 total=9",
    ]
    watch.see_container_log(lines, 600)
    watch.see_container_log(["podkit: phase=check event=start t=1"], 661)
    watch.see_pod(running(2), 662)
    assert set(phases(watch)) == {"placed", "container", "check"}
    assert phases(watch)["check"] == (661, None)
    assert seen(watch, 662).total == 0
    watch.check(pod(), 662, log_follows=True)


def test_a_gap_in_which_nobody_looked_is_not_held_against_a_phase(watch: Watch) -> None:
    watch.see_pod(running(0), 0)
    watch.see_container_log(["podkit: phase=check event=start t=0"], 0)
    watch.check(pod(), 900, log_follows=True)  # the laptop slept
    watch.see_container_log(["podkit: phase=check event=done t=2"], 904)
    watch.check(pod(), 1000, log_follows=True)


def test_a_phase_whose_end_was_lost_has_ended_when_a_later_one_begins(watch: Watch) -> None:
    watch.see_pod(running(0), 0)
    watch.see_container_log(
        ["podkit: phase=install event=start t=1", "podkit: phase=fetch event=start t=1"], 1
    )
    watch.see_container_log(["podkit: phase=load event=start t=600"], 600)
    assert [step.phase for step in seen(watch, 600).running] == ["load"]
    watch.see_container_log(["podkit: phase=ready event=start t=700"], 700)
    assert [step.phase for step in seen(watch, 700).running] == ["ready"]


def test_a_system_line_that_keeps_coming_is_a_loop_but_a_pull_is_not(watch: Watch) -> None:
    watch.see_system_log(["pulling image"] * 9 + ["start container"] * 3, 0)
    watch.check(pod(), 0, log_follows=True)
    watch.see_system_log(["start container"], 1)
    assert "the host repeats: start container" in failure(watch).message


@pytest.mark.parametrize(
    ("pull_at", "now", "bad"),
    [
        (None, 360, False),
        (None, 361, True),
        (300, 361, False),
        (300, 419, False),
        (300, 421, True),
        (895, 899, False),
        (895, 901, True),
    ],
)
def test_a_host_without_a_container_is_bad_after_six_minutes_or_fifteen_while_it_pulls(
    watch: Watch, pull_at: float | None, now: float, bad: bool
) -> None:
    watch.see_pod(running(None), 0)
    if pull_at is not None:
        watch.see_system_log(["Downloading layer 3/9"], pull_at)
    with pytest.raises(BadHost) if bad else nullcontext():
        watch.check(pod(), now, log_follows=True)
    watch.see_pod(running(0), now)
    watch.check(pod(), now + 1800, log_follows=True)


@pytest.mark.parametrize("phase", PHASES)
def test_each_phase_has_its_own_time_out_with_a_next_step(watch: Watch, phase: str) -> None:
    share, fix = PHASES[phase]
    watch.see_pod(running(0), 0)
    watch.see_container_log([f"podkit: phase={phase} event=start t=0"], 0)
    limit = share * 30 * 60
    for late in (0, 1, 61):
        watch.check(pod(), limit + late, log_follows=True)
    failed = failure(watch, limit + 62)
    assert (
        failed.message
        == f"pod {pod().id}: its phase {phase} has taken {limit / 60 + 1:.0f} minutes"
    )
    assert failed.hint == fix
    assert fix


def test_a_phase_that_ended_in_time_does_not_count_any_more(watch: Watch) -> None:
    watch.see_pod(running(0), 0)
    watch.see_container_log(
        ["podkit: phase=check event=start t=0", "podkit: phase=check event=done t=9"], 9
    )
    watch.check(pod(), 1799, log_follows=True)


def test_a_host_is_not_bad_while_the_api_does_not_say_what_the_pod_is_like(watch: Watch) -> None:
    watch.see_pod(running(None), 0)
    watch.see_no_answer()  # the laptop slept, and has no network yet
    watch.check(pod(), 1900, log_follows=False)
    watch.see_pod(running(1500), 1902)
    watch.check(pod(), 1902, log_follows=False)


def test_an_api_that_never_answers_again_ends_the_wait(watch: Watch) -> None:
    watch.see_no_answer()
    with pytest.raises(PodFailed):
        watch.check(pod(), 1921, log_follows=False)


def test_without_a_log_only_the_boot_time_as_a_whole_counts(watch: Watch) -> None:
    watch.see_pod(running(0), 0)
    watch.see_container_log(["podkit: phase=check event=start t=0"], 0)
    watch.check(pod(), 1800, log_follows=False)
    with pytest.raises(PodFailed, match="was not ready 32 minutes after its container started"):
        watch.check(pod(), 1921, log_follows=False)


def test_a_longer_boot_time_gives_each_phase_more(watch: Watch) -> None:
    patient = Watch(0.0, boot_minutes=120)
    for one in (watch, patient):
        one.see_pod(running(0), 0)
        one.see_container_log(["podkit: phase=fetch event=start t=0"], 0)
    for one in (watch, patient):
        one.check(pod(), 1500, log_follows=True)
    assert "fetch has taken 26 minutes" in failure(watch, 1561).message
    patient.check(pod(), 1561, log_follows=True)
