"""The watchdog's decisions, with the moments handed to it."""

from collections.abc import Callable

import pytest
import watchdog
from watchdog import Activity, Limits, Watch

LIMITS = Limits(ends_at=None, idle=1800, boot=1800)


def watching(limits: Limits = LIMITS) -> Watch:
    return Watch(limits, started=0)


def test_a_pod_that_is_never_ready_ends_at_its_boot_limit() -> None:
    watch = watching()
    watch.observe(1799, ready=False, activity=None)
    assert watch.verdict(1799) is None
    assert watch.verdict(1800) == "it was not ready in time"


def test_the_boot_limit_is_over_once_the_pod_was_ready() -> None:
    watch = watching()
    watch.observe(1700, ready=True, activity=Activity(0, 0))
    assert watch.verdict(1900) is None


def test_idle_counts_from_ready() -> None:
    watch = watching()
    watch.observe(1000, ready=True, activity=Activity(0, 5))
    assert watch.verdict(2799) is None
    assert watch.verdict(2800) == "no inference"


@pytest.mark.parametrize(
    ("activity", "ends"),
    [
        (Activity(0, 6), None),  # tokens moved
        (Activity(1, 5), None),  # a request runs
        (Activity(0, 5), "no inference"),  # page loads and health checks move nothing
        (Activity(0, 2), "no inference"),  # a counter that went down: vLLM was restarted
        (None, "no inference"),  # vLLM does not answer
    ],
)
def test_only_inference_is_activity(activity: Activity | None, ends: str | None) -> None:
    watch = watching()
    watch.observe(1000, ready=True, activity=Activity(0, 5))
    watch.observe(2000, ready=True, activity=activity)
    assert watch.verdict(2800) == ends


def test_work_after_a_restart_of_vllm_counts_although_its_counters_are_lower() -> None:
    watch = watching()
    for now, work in ((1000, 500.0), (1100, 0.0), (1200, 7.0)):
        watch.observe(now, ready=True, activity=Activity(0, work))
    assert watch.idle_since == 1200


def test_the_end_time_ends_a_busy_pod_and_one_that_still_boots() -> None:
    watch = watching(Limits(ends_at=500, idle=1800, boot=1800))
    assert watch.verdict(500) == "its end time has come"
    watch.observe(499, ready=True, activity=Activity(3, 5))
    assert watch.verdict(500) == "its end time has come"


def test_idle_0_is_off() -> None:
    watch = watching(Limits.from_env({"PODKIT_IDLE_MINUTES": "0"}))
    watch.observe(1000, ready=True, activity=Activity(0, 5))
    assert watch.verdict(10**9) is None


def test_it_warns_once_5_minutes_ahead_and_again_after_new_activity(capsys: pytest.CaptureFixture[str]) -> None:
    watch = watching()
    watch.observe(0, ready=True, activity=Activity(0, 5))
    for now in (1499, 1500, 1501):
        watch.verdict(now)
    assert capsys.readouterr().out.count("warning: the pod ends in 5.0 minutes: no inference") == 1
    watch.observe(1600, ready=True, activity=Activity(0, 6))
    for now in (1600, 3100, 3200):
        watch.verdict(now)
    assert capsys.readouterr().out.count("warning") == 1


def test_limits_are_read_in_decimals_and_utc() -> None:
    limits = Limits.from_env(
        {"PODKIT_ENDS_AT": "2026-11-21T12:00:00Z", "PODKIT_IDLE_MINUTES": "0.1", "PODKIT_BOOT_MINUTES": "2.5"}
    )
    assert limits == Limits(ends_at=1795262400, idle=6, boot=150)
    assert Limits.from_env({}) == LIMITS


@pytest.mark.parametrize(
    "env",
    [
        {"PODKIT_ENDS_AT": "tomorrow"},
        {"PODKIT_ENDS_AT": "2026-11-21T12:00:00+01:00"},
        {"PODKIT_IDLE_MINUTES": "nan"},
        {"PODKIT_IDLE_MINUTES": "-1"},
        {"PODKIT_BOOT_MINUTES": "inf"},
        {"PODKIT_BOOT_MINUTES": "0"},
    ],
)
def test_a_limit_that_cannot_be_read_is_refused_not_ignored(env: dict[str, str]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - strptime's and float's own texts too
        Limits.from_env(env)


def test_metrics_are_summed_over_labels_and_nothing_else_is_counted() -> None:
    text = """# HELP vllm:prompt_tokens_total Number of prefill tokens.
vllm:num_requests_running{engine="0",model_name="olmocr"} 1.0
vllm:num_requests_waiting{engine="0",model_name="olmocr"} 2.0
vllm:request_success_total{engine="0",finished_reason="stop",model_name="a} b"} 3.0
vllm:request_success_total{engine="0",finished_reason="length",model_name="olmocr"} 1.0
vllm:request_success_created{engine="0",finished_reason="stop",model_name="olmocr"} 1.7e+09
vllm:prompt_tokens_total{engine="0",model_name="olmocr"} 1e+02
vllm:generation_tokens_total 50
vllm:prompt_tokens_cached_total{engine="0"} 999
http_requests_total{handler="/v1/models"} 999
"""
    assert watchdog.parse_metrics(text) == Activity(in_flight=3, work=154)


def answering(*statuses: int) -> tuple[list[str], Callable[[str], int]]:
    asked: list[str] = []
    left = iter(statuses)

    def send(action: str) -> int:
        asked.append(action)
        return 200 if action == "stop" else next(left)

    return asked, send


@pytest.mark.parametrize("last", [204, 200, 404])
def test_terminate_backs_off_until_the_pod_is_gone(last: int) -> None:
    asked, send = answering(0, 500, 429, 409, last)
    slept: list[float] = []
    watchdog.terminate(send, slept.append)
    assert asked == ["terminate"] * 5
    assert slept == [5, 10, 20, 40]


def test_terminate_asks_for_a_stop_after_five_failures_and_goes_on() -> None:
    asked, send = answering(*[500] * 7, 204)
    slept: list[float] = []
    watchdog.terminate(send, slept.append)
    assert asked == [*["terminate"] * 5, "stop", *["terminate", "stop"] * 2, "terminate"]
    assert slept[-1] == 60


def test_an_unreachable_api_is_status_0() -> None:
    assert watchdog.act("terminate", {"RUNPOD_API_URL": "http://127.0.0.1:9"}) == 0
    assert watchdog.read_activity("9", "key") is None
