"""What a pod's appearances, log lines and probes add up to, and when it is given up."""

from __future__ import annotations

import pytest

from podkit.errors import BadHost, PodFailed
from podkit.pods.watch import PHASES, BootWatch, Progress
from podkit.runpod.logs import LogLine
from podkit.runpod.types import Pod
from tests.podkit.pods.lines import told
from tests.podkit.samples import pod


@pytest.fixture
def watch() -> BootWatch:
    return BootWatch(0.0, boot_minutes=30)


def running(uptime: int | None) -> Pod:
    return pod(runtime=None if uptime is None else {"uptime": uptime})


def seen(watch: BootWatch, now: float) -> Progress:
    return watch.progress(pod(), now, 0.0)


def phases(watch: BootWatch, now: float = 0.0) -> dict[str, tuple[float, float | None]]:
    return {step.phase: (step.started, step.ended) for step in seen(watch, now).steps}


def failure(watch: BootWatch, now: float = 0.0) -> PodFailed:
    with pytest.raises(PodFailed) as failed:
        watch.check(pod(), now)
    return failed.value


def test_the_phases_follow_the_container_and_its_log(watch: BootWatch) -> None:
    watch.see_pod(running(None), 0)
    assert (phases(watch), watch.has_container) == ({"placed": (0, None)}, False)
    watch.see_pod(running(1), 40)
    assert (phases(watch), watch.has_container) == (
        {"placed": (0, 40), "container": (40, None)},
        True,
    )
    watch.see_container_log(told("noise", "podkit: phase=check event=start t=0.5"), 42)
    watch.see_container_log(
        told("podkit: phase=check event=done t=1.5", "podkit: phase=fetch event=start t=1.6"), 44
    )
    assert phases(watch) == {
        "placed": (0, 40),
        "container": (40, 42),
        "check": (42, pytest.approx(43.0)),
        "fetch": (pytest.approx(43.1), None),
    }
    assert [step.phase for step in seen(watch, 44).running] == ["fetch"]


def test_lines_that_come_late_are_put_where_their_own_time_says(watch: BootWatch) -> None:
    watch.see_pod(running(1), 10)
    watch.see_container_log(
        told("podkit: phase=check event=start t=1", "podkit: phase=check event=done t=8"), 18
    )
    assert phases(watch)["check"] == (11.0, 18.0)


def test_a_fetch_has_the_rate_of_its_last_minute(watch: BootWatch) -> None:
    line = "podkit: phase=fetch event=progress t={} bytes={} total=9000"
    watch.see_container_log(told(line.format(10, 0)), 10)
    assert seen(watch, 10).rate == 0
    for at, fetched in ((20, 100), (70, 600), (90, 2600)):
        watch.see_container_log(told(line.format(at, fetched)), at)
    assert seen(watch, 90).rate == (2600 - 600) / 20
    assert seen(watch, 151).rate == 0
    watch.see_container_log(told("podkit: phase=fetch event=done t=99"), 99)
    assert seen(watch, 99).rate == 0


def test_the_bytes_of_the_model_are_counted_while_it_is_fetched(watch: BootWatch) -> None:
    watch.see_container_log(told("podkit: phase=fetch event=start t=1"), 1)
    assert (seen(watch, 2).fetched, seen(watch, 2).total) == (0, 0)
    watch.see_container_log(told("podkit: phase=fetch event=progress t=9 bytes=5 total=20"), 9)
    assert (seen(watch, 9).fetched, seen(watch, 9).total) == (5, 20)
    watch.see_container_log(told("podkit: phase=fetch event=done t=12"), 12)
    assert seen(watch, 12).total == 0


def test_ready_lasts_until_the_public_urls_work(watch: BootWatch) -> None:
    watch.see_container_log(
        told("podkit: phase=ready event=start t=9", "podkit: phase=ready event=done t=9"), 9
    )
    assert [step.phase for step in seen(watch, 20).running] == ["ready"]
    watch.see_serving(21)
    assert seen(watch, 21).running == ()
    assert seen(watch, 21).steps[-1].phase == "ready"


def test_a_fatal_line_ends_the_wait_with_its_reason_and_its_fix(watch: BootWatch) -> None:
    watch.see_container_log(
        told("podkit: fatal step=check reason=no CUDA 13 fix=use another host"), 0
    )
    failed = failure(watch)
    assert (failed.message, failed.hint) == (
        f"pod {pod().id}: its check failed: no CUDA 13",
        "use another host",
    )


def test_the_first_reason_counts(watch: BootWatch) -> None:
    watch.see_container_log(told("podkit: fatal step=load reason=no memory fix=a larger GPU"), 0)
    watch.see_pod(pod(status="EXITED"), 1)
    assert failure(watch).message.endswith("its load failed: no memory")


def test_one_restart_is_forgiven_and_two_are_a_loop(watch: BootWatch) -> None:
    for uptime in (5, 100, 2, 90):
        watch.see_pod(running(uptime), 0)
    watch.check(pod(), 0)
    watch.see_pod(running(1), 0)
    assert "its container was restarted 2 times" in failure(watch).message


def test_small_falls_of_the_uptime_are_noise(watch: BootWatch) -> None:
    for uptime in (100, 71, 101, 72, 102, 73, 103, 90):
        watch.see_pod(running(uptime), 0)
    watch.check(pod(), 0)


def test_a_new_first_phase_is_a_restart_even_where_the_uptime_does_not_show_it(
    watch: BootWatch,
) -> None:
    for number in range(2):
        watch.see_container_log(told("podkit: phase=check event=start t=1"), 60 * number)
        watch.check(pod(), 60 * number)
    watch.see_container_log(told("podkit: phase=check event=start t=1"), 120)
    assert "its container was restarted 2 times" in failure(watch).message


def test_a_restart_that_shows_in_the_uptime_and_in_the_log_is_one(watch: BootWatch) -> None:
    watch.see_pod(running(300), 0)
    watch.see_container_log(told("podkit: phase=check event=start t=1"), 0)
    watch.see_container_log(told("podkit: phase=check event=start t=1"), 10)
    watch.see_pod(running(1), 11)
    watch.check(pod(), 11)


def test_boots_of_the_past_that_come_in_one_piece_are_no_loop(watch: BootWatch) -> None:
    watch.see_container_log(told(*["podkit: phase=check event=start t=1"] * 5), 0)
    watch.check(pod(), 0)


def test_after_a_restart_the_phases_begin_again_whichever_is_seen_first(watch: BootWatch) -> None:
    watch.see_pod(running(600), 600)
    lines = [
        "podkit: phase=load event=start t=40",
        "podkit: phase=fetch event=progress t=41 bytes=5 total=9",
    ]
    watch.see_container_log(told(*lines), 600)
    watch.see_container_log(told("podkit: phase=check event=start t=1"), 661)
    watch.see_pod(running(2), 662)
    assert set(phases(watch)) == {"placed", "container", "check"}
    assert phases(watch)["check"] == (661, None)
    assert seen(watch, 662).total == 0
    watch.check(pod(), 662)


def test_a_gap_in_which_nobody_looked_is_not_held_against_a_phase(watch: BootWatch) -> None:
    watch.see_pod(running(1), 0)
    watch.see_container_log(told("podkit: phase=check event=start t=0"), 0)
    watch.check(pod(), 900)  # the laptop slept
    watch.see_container_log(told("podkit: phase=check event=done t=2"), 904)
    watch.check(pod(), 1000)


def test_a_phase_whose_end_was_lost_has_ended_when_a_later_one_begins(watch: BootWatch) -> None:
    watch.see_pod(running(1), 0)
    watch.see_container_log(
        told("podkit: phase=install event=start t=1", "podkit: phase=fetch event=start t=1"), 1
    )
    watch.see_container_log(told("podkit: phase=load event=start t=600"), 600)
    assert [step.phase for step in seen(watch, 600).running] == ["load"]
    watch.see_container_log(told("podkit: phase=ready event=start t=700"), 700)
    assert [step.phase for step in seen(watch, 700).running] == ["ready"]


def test_a_system_line_that_keeps_coming_is_a_loop_but_a_pull_is_not(watch: BootWatch) -> None:
    watch.see_pod(running(60), 0)
    lines = ["pulling image"] * 9 + ["start container"] * 3
    watch.see_system_log(told(*lines), 0)
    watch.check(pod(), 0)
    watch.see_system_log(told("start container"), 1)
    assert "the host repeats: start container" in failure(watch).message


def test_a_line_that_is_replayed_is_not_repeated_by_the_host(watch: BootWatch) -> None:
    watch.see_pod(running(60), 0)
    for now in range(9):
        watch.see_system_log([LogLine("2026-11-21T12:00:01Z", "system", "start", "")], now)
    watch.check(pod(), 9)


@pytest.mark.parametrize(
    ("text", "is_bad_host"),
    [("error pulling image: timeout", True), ("start container", False)],
)
def test_a_host_that_cannot_pull_is_bad_but_a_container_that_dies_would_die_anywhere(
    watch: BootWatch, text: str, is_bad_host: bool
) -> None:
    watch.see_pod(running(0), 0)
    watch.see_system_log(told(*[text] * 4), 0)
    with pytest.raises(PodFailed, match=f"the host repeats: {text}") as failed:
        watch.check(pod(), 0)
    assert isinstance(failed.value, BadHost) == is_bad_host


@pytest.mark.parametrize(
    ("said", "bad_after"),
    [
        ([], 900),
        ([(300, "Downloading layer 3/9")], 900),
        ([(200, "pulling image"), (250, "create container")], 250 + 360),
        ([(200, "create container"), (250, "pulling image")], 900),
        ([(200, "pulling image"), (250, "error pulling image: denied")], 250 + 360),
        ([(10, "failed to download: not found")], 10 + 360),
        ([(800, "create container")], 900),
    ],
)
def test_a_host_has_fifteen_minutes_for_a_container_but_six_after_the_pull(
    watch: BootWatch, said: list[tuple[float, str]], bad_after: float
) -> None:
    watch.see_pod(running(None), 0)
    for at, text in said:
        watch.see_system_log(told(text), at)
    watch.check(pod(), bad_after)
    with pytest.raises(BadHost):
        watch.check(pod(), bad_after + 1)
    watch.see_pod(running(1), bad_after + 1)
    watch.check(pod(), bad_after + 1800)


def test_a_runtime_without_uptime_is_no_container(watch: BootWatch) -> None:
    for now in range(0, 900, 100):
        watch.see_pod(running(0), now)
        watch.check(pod(), now)
    assert not watch.has_container
    with pytest.raises(BadHost):
        watch.check(pod(), 901)


@pytest.mark.parametrize("sign", ["a line of its log", "an answer to a probe"])
def test_a_container_is_there_once_anything_comes_from_it(watch: BootWatch, sign: str) -> None:
    watch.see_pod(running(0), 0)
    if sign == "a line of its log":
        watch.see_container_log(told("noise"), 100)
    else:
        watch.see_container(100)
    assert phases(watch) == {"placed": (0, 100), "container": (100, None)}
    watch.check(pod(), 901)


@pytest.mark.parametrize("phase", PHASES)
def test_each_phase_has_its_own_time_out_with_a_next_step(watch: BootWatch, phase: str) -> None:
    share, fix = PHASES[phase]
    watch.see_pod(running(1), 0)
    watch.see_container_log(told(f"podkit: phase={phase} event=start t=0"), 0)
    limit = share * 30 * 60
    for late in (0, 1, 61):
        watch.see_container_log(told("noise"), limit + late)
        watch.check(pod(), limit + late)
    failed = failure(watch, limit + 62)
    assert (
        failed.message
        == f"pod {pod().id}: its phase {phase} has taken {limit / 60 + 1:.0f} minutes"
    )
    assert failed.hint == fix
    assert fix


def test_a_phase_that_ended_in_time_does_not_count_any_more(watch: BootWatch) -> None:
    watch.see_pod(running(1), 0)
    watch.see_container_log(
        told("podkit: phase=check event=start t=0", "podkit: phase=check event=done t=9"), 9
    )
    watch.check(pod(), 1799)


def test_a_host_is_not_bad_while_the_api_does_not_say_what_the_pod_is_like(
    watch: BootWatch,
) -> None:
    watch.see_pod(running(None), 0)
    watch.see_no_answer()  # the laptop slept, and has no network yet
    watch.check(pod(), 1900)
    watch.see_pod(running(1500), 1902)
    watch.check(pod(), 1902)


def test_an_api_that_never_answers_again_ends_the_wait(watch: BootWatch) -> None:
    watch.see_no_answer()
    watch.check(pod(), 1921)
    with pytest.raises(PodFailed):
        watch.check(pod(), 1982)


def test_a_pod_is_looked_at_for_a_minute_after_a_laptop_slept_through_its_boot_time(
    watch: BootWatch,
) -> None:
    watch.see_pod(running(1), 0)
    watch.check(pod(), 10)
    watch.see_no_answer()
    watch.check(pod(), 4000)  # the network is not back yet
    watch.see_pod(running(3990), 4030)
    watch.check(pod(), 4030)
    watch.see_serving(4031)


def test_without_a_fresh_line_only_the_boot_time_as_a_whole_counts(watch: BootWatch) -> None:
    watch.see_pod(running(1), 0)
    watch.see_container_log(told("podkit: phase=check event=start t=0"), 0)
    for now in range(0, 1920, 60):
        watch.check(pod(), now)
    watch.check(pod(), 1921)
    with pytest.raises(PodFailed, match="was not ready 33 minutes after its container started"):
        watch.check(pod(), 1982)


def test_a_longer_boot_time_gives_each_phase_more(watch: BootWatch) -> None:
    patient = BootWatch(0.0, boot_minutes=120)
    for one in (watch, patient):
        one.see_pod(running(1), 0)
        one.see_container_log(told("podkit: phase=fetch event=start t=0"), 0)
    for one in (watch, patient):
        one.see_container_log(told("noise"), 1510)
        one.check(pod(), 1500)
    assert "fetch has taken 26 minutes" in failure(watch, 1561).message
    patient.check(pod(), 1561)
