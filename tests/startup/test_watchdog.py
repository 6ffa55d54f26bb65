"""The watchdog's decisions, with the moments handed to it."""

import pytest
from watchdog import Watch

ENV = {"PODKIT_IDLE_MINUTES": "30", "PODKIT_BOOT_MINUTES": "30"}


def watching(**env: str) -> Watch:
    return Watch(ENV | env, started=0)


def metrics(running: float, tokens: float) -> str:
    return (
        f'vllm:num_requests_running{{engine="0"}} {running}\n'
        f'vllm:prompt_tokens_total{{engine="0"}} {tokens}\n'
    )


def test_a_pod_that_is_never_ready_ends_at_its_boot_limit() -> None:
    watch = watching()
    assert watch.verdict(1799) is None
    assert watch.verdict(1800) == "it was not ready in time"


def test_the_boot_limit_is_over_once_the_pod_was_ready() -> None:
    watch = watching()
    watch.observe(1700, metrics(0, 0))
    assert watch.verdict(1900) is None


def test_idle_counts_from_ready() -> None:
    watch = watching()
    watch.observe(1000, metrics(0, 5))
    assert watch.verdict(2799) is None
    assert watch.verdict(2800) == "no inference"


@pytest.mark.parametrize(
    ("seen", "ends"),
    [
        (metrics(0, 6), None),  # tokens moved
        (metrics(1, 5), None),  # a request runs
        (metrics(0, 5), "no inference"),  # page loads and health checks move nothing
        (metrics(0, 2), "no inference"),  # a counter that went down: vLLM was restarted
        ("", "no inference"),  # vLLM does not answer
    ],
)
def test_only_inference_is_activity(seen: str, ends: str | None) -> None:
    watch = watching()
    watch.observe(1000, metrics(0, 5))
    watch.observe(2000, seen)
    assert watch.verdict(2800) == ends


def test_work_after_a_restart_of_vllm_counts_although_its_counters_are_lower() -> None:
    watch = watching()
    for now, work in ((1000, 500.0), (1100, 0.0), (1200, 7.0)):
        watch.observe(now, metrics(0, work))
    assert watch.verdict(1200 + 1799) is None
    assert watch.verdict(1200 + 1800) == "no inference"


def test_an_answer_after_a_silence_is_no_activity() -> None:
    watch = watching()
    for now, seen in ((1000, metrics(0, 5)), (1100, ""), (1200, metrics(0, 5))):
        watch.observe(now, seen)
    assert watch.verdict(2800) == "no inference"


def test_silence_while_requests_were_in_flight_is_not_taken_for_idle() -> None:
    watch = watching(PODKIT_ENDS_AT="1970-01-01T02:00:00Z")
    watch.observe(1000, metrics(2, 5))
    for now in range(1100, 7100, 100):
        watch.observe(now, "")
        assert watch.verdict(now) is None
    assert watch.verdict(7200) == "its end time has come"


def test_idle_counts_from_the_first_metrics_after_such_a_silence() -> None:
    watch = watching(PODKIT_ENDS_AT="1970-01-01T12:00:00Z")
    for now, seen in ((1000, metrics(2, 5)), (2000, ""), (3000, metrics(0, 0))):
        watch.observe(now, seen)
    assert watch.verdict(2000 + 1799) is None
    assert watch.verdict(2000 + 1800) == "no inference"


def test_silence_is_idle_in_a_pod_without_an_end_time_which_nothing_else_would_end() -> None:
    watch = watching()
    watch.observe(1000, metrics(2, 5))
    watch.observe(2000, "")
    assert watch.verdict(2800) == "no inference"


def test_the_end_time_ends_a_busy_pod_and_one_that_still_boots() -> None:
    watch = watching(PODKIT_ENDS_AT="1970-01-01T00:08:20Z")
    assert watch.verdict(500) == "its end time has come"
    watch.observe(499, metrics(3, 5))
    assert watch.verdict(500) == "its end time has come"


def test_idle_0_is_off(capsys: pytest.CaptureFixture[str]) -> None:
    watch = watching(PODKIT_IDLE_MINUTES="0")
    watch.observe(1000, metrics(0, 5))
    assert watch.verdict(10**9) is None
    assert capsys.readouterr().out == "podkit: watchdog armed idle=off ends=off boot=30\n"


def test_it_warns_once_5_minutes_ahead_and_again_after_new_activity(
    capsys: pytest.CaptureFixture[str],
) -> None:
    watch = watching()
    watch.observe(0, metrics(0, 5))
    for now in (1499, 1500, 1501):
        watch.verdict(now)
    assert capsys.readouterr().out.count("warning: the pod ends in 5.0 minutes: no inference") == 1
    watch.observe(1600, metrics(0, 6))
    for now in (1600, 3100, 3200):
        watch.verdict(now)
    assert capsys.readouterr().out.count("warning") == 1


def test_a_limit_that_is_below_5_minutes_from_the_start_is_not_warned_of(
    capsys: pytest.CaptureFixture[str],
) -> None:
    watch = watching(PODKIT_BOOT_MINUTES="4")
    for now in (0, 1, 100):
        watch.verdict(now)
    assert "warning" not in capsys.readouterr().out


def test_limits_are_read_in_decimals_and_utc() -> None:
    watch = watching(
        PODKIT_ENDS_AT="2026-11-21T12:00:00Z", PODKIT_IDLE_MINUTES="0.1", PODKIT_BOOT_MINUTES="2.5"
    )
    assert (watch.ends, watch.idle, watch.limit[1]) == (1795262400, 6, 150)


@pytest.mark.parametrize(
    "env",
    [
        {"PODKIT_ENDS_AT": "tomorrow"},
        {"PODKIT_ENDS_AT": "2026-11-21T12:00:00+01:00"},
        {"PODKIT_IDLE_MINUTES": "nan"},
        {"PODKIT_IDLE_MINUTES": "-1"},
        {"PODKIT_IDLE_MINUTES": ""},
        {"PODKIT_BOOT_MINUTES": "inf"},
        {"PODKIT_BOOT_MINUTES": "0"},
    ],
)
def test_a_limit_that_cannot_be_read_is_refused_not_ignored(env: dict[str, str]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - strptime's and float's own texts too
        watching(**env)


def test_metrics_are_summed_over_labels_and_nothing_else_is_counted() -> None:
    text = """# HELP vllm:prompt_tokens_total Number of prefill tokens.
vllm:num_requests_running{engine="0",model_name="olmocr"} 0.0
vllm:num_requests_waiting{engine="0",model_name="olmocr"} 0.0
vllm:request_success_total{engine="0",finished_reason="stop",model_name="a} b"} 3.0
vllm:request_success_total{engine="0",finished_reason="length",model_name="olmocr"} 1.0
vllm:request_success_created{engine="0",finished_reason="stop",model_name="olmocr"} 1.7e+09
vllm:prompt_tokens_total{engine="0",model_name="olmocr"} 1e+02
vllm:generation_tokens_total 50
vllm:prompt_tokens_cached_total{engine="0"} 999
http_requests_total{handler="/v1/models"} 999
"""
    watch = watching()
    watch.observe(0, text)
    assert watch.work == 154
    watch.observe(100, text.replace('waiting{engine="0",model_name="olmocr"} 0.0', "waiting 2.0"))
    assert watch.limit == ("no inference", 1900)
