"""Jobs and AsyncJobs against a scripted endpoint: one table for both, on a clock of the tests."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
import requests
import requests_mock as mocking
import urllib3

from podkit import errors, jobs
from podkit.jobs import AsyncJobs, Jobs, JobState
from tests.podkit.samples import Clock

URL = f"{jobs.JOBS_URL}/ep1"
RUN = f"{URL}/run"
STATUS = f"{URL}/status/j1"
KEY = "rpa_the-job-key"
INPUT = {"text": "the-input"}
RAISED = {"error_type": "<class 'ValueError'>", "error_message": "no such language"}
HTML = {"text": "<html>", "status_code": 200}
CUT = requests.ConnectionError("reset")
REFUSED = requests.ConnectionError(
    urllib3.exceptions.MaxRetryError(
        None,  # type: ignore[arg-type]
        "/",
        urllib3.exceptions.NewConnectionError(None, "refused"),  # type: ignore[arg-type]
    )
)
Do = Callable[..., Any]


def job(status: str = "COMPLETED", **more: Any) -> dict[str, Any]:
    return {"json": {"id": "j1", "status": status, **more}}


def refused(status: int, **headers: str) -> dict[str, Any]:
    return {"status_code": status, "text": "{}", "headers": headers}


DONE = job(output={"text": "the-output"})


@pytest.fixture(params=["sync", "async"])
def do(request: pytest.FixtureRequest, clock: Clock) -> Do:
    """Calls an operation of one of both clients by its name."""

    async def nap(seconds: float) -> None:
        clock.sleep(seconds)

    async def collected(parts: Any) -> list[Any]:
        return [part async for part in parts]

    def call(name: str, *args: Any, **options: Any) -> Any:
        common: dict[str, Any] = {"clock": clock, "random": lambda: 0.5, "timeout": 120}
        if request.param == "sync":
            done = getattr(Jobs("ep1", KEY, sleep=clock.sleep, **common), name)(*args, **options)
            return list(done) if name == "stream" else done
        started = getattr(AsyncJobs("ep1", KEY, sleep=nap, **common), name)(*args, **options)
        return asyncio.run(collected(started) if name == "stream" else started)

    return call


def count(api: mocking.Mocker, method: str) -> int:
    return sum(sent.method == method for sent in api.request_history)


def test_a_job_is_submitted_with_its_limits_and_waited_for(api: mocking.Mocker, do: Do) -> None:
    api.post(RUN, **job("IN_QUEUE"))
    api.get(STATUS, [refused(404), job("IN_QUEUE"), job("SOMETHING_NEW"), DONE])
    assert do("run", INPUT, execution_timeout=30, ttl=3600) == {"text": "the-output"}
    first = api.request_history[0]
    policy = {"executionTimeout": 30_000, "ttl": 3_600_000}
    assert first.json() == {"input": INPUT, "policy": policy}
    assert first.headers["Authorization"] == f"Bearer {KEY}"
    assert KEY not in first.url


ENDS: list[tuple[dict[str, Any], type[jobs.JobProblem]]] = [
    (job("FAILED", error=json.dumps(RAISED)), jobs.JobFailed),
    (job("TIMED_OUT"), jobs.JobTimedOut),
    (job("CANCELLED"), jobs.JobCancelled),
    (job(), jobs.NoOutput),
]


@pytest.mark.parametrize(("answer", "kind"), ENDS)
def test_each_end_without_an_output_is_its_own_error_with_the_jobs_id(
    api: mocking.Mocker, do: Do, answer: dict[str, Any], kind: type[jobs.JobProblem]
) -> None:
    api.get(STATUS, **answer)
    with pytest.raises(kind) as caught:
        do("wait", "j1")
    assert caught.value.job_id == "j1"
    assert "j1" in caught.value.message
    api.get(f"{URL}/stream/j1", json={"status": answer["json"]["status"], "stream": []})
    if kind is not jobs.NoOutput:
        with pytest.raises(kind):
            do("stream", "j1")


@pytest.mark.parametrize(
    ("error", "type", "message"),
    [
        (json.dumps(RAISED), "ValueError", "no such language"),
        ("job timed out after 1 retries", "", "job timed out after 1 retries"),
        ({"code": "bad-input"}, "", '{"code": "bad-input"}'),
        (None, "", "no reason given"),
    ],
)
def test_a_failed_job_tells_the_handlers_type_and_words(
    api: mocking.Mocker, do: Do, error: Any, type: str, message: str
) -> None:
    api.get(STATUS, **job("FAILED", error=error, workerId="w1", retries=1))
    with pytest.raises(jobs.JobFailed) as caught:
        do("wait", "j1")
    failed = caught.value
    assert (failed.type, failed.error, failed.worker_id, failed.retries) == (type, message, "w1", 1)


def test_a_job_that_stays_unknown_is_gone(api: mocking.Mocker, do: Do, clock: Clock) -> None:
    api.get(STATUS, **refused(404))
    with pytest.raises(jobs.JobGone):
        do("wait", "j1")
    assert 30 <= sum(clock.naps) < 36
    with pytest.raises(jobs.JobGone):
        do("status", "j1")


@pytest.mark.parametrize("cancel", [False, True])
def test_a_wait_ends_in_time_with_the_id(
    api: mocking.Mocker, do: Do, clock: Clock, cancel: bool
) -> None:
    api.get(STATUS, **job("IN_PROGRESS"))
    api.post(f"{URL}/cancel/j1", **job("CANCELLED"))
    with pytest.raises(jobs.WaitTimeout) as caught:
        do("wait", "j1", timeout=60, cancel_on_timeout=cancel)
    assert (caught.value.job_id, sum(clock.naps)) == ("j1", 60)
    assert count(api, "POST") == cancel
    assert clock.naps[0] == 0.1
    assert max(clock.naps) == 5


def test_a_young_queued_job_is_looked_at_more_often(
    api: mocking.Mocker, do: Do, clock: Clock
) -> None:
    api.get(STATUS, **job("IN_QUEUE"))
    with pytest.raises(jobs.WaitTimeout):
        do("wait", "j1", timeout=29)
    assert max(clock.naps) == 2


@pytest.mark.parametrize(
    "fault", [refused(429), refused(500), refused(524), HTML, {"exc": CUT}, {"exc": REFUSED}]
)
def test_a_look_at_a_job_is_repeated_after_what_may_pass(
    api: mocking.Mocker, do: Do, fault: dict[str, Any]
) -> None:
    api.get(STATUS, [fault, fault, DONE])
    assert do("wait", "j1") == {"text": "the-output"}


def test_the_wait_that_an_answer_asks_for_is_kept_unless_it_is_long(
    api: mocking.Mocker, do: Do, clock: Clock
) -> None:
    api.get(STATUS, [refused(429, **{"Retry-After": "7"}), DONE])
    do("wait", "j1")
    assert clock.naps == [7]
    api.get(STATUS, **refused(429, **{"Retry-After": "3600"}))
    with pytest.raises(errors.RateLimited) as caught:
        do("wait", "j1")
    assert (caught.value.retry_after, caught.value.fields["job"]) == (3600, "j1")


@pytest.mark.parametrize(
    "fault", [refused(500), refused(524), HTML, {"exc": CUT}, {"json": {"status": "IN_QUEUE"}}]
)
def test_a_job_that_may_have_been_submitted_is_not_submitted_again(
    api: mocking.Mocker, do: Do, fault: dict[str, Any]
) -> None:
    api.post(RUN, [fault, job("IN_QUEUE")])
    with pytest.raises(jobs.SubmitUnclear) as caught:
        do("submit", INPUT)
    assert api.call_count == 1
    assert "the-input" not in caught.value.message


def test_it_is_submitted_again_if_that_is_asked_for(api: mocking.Mocker, do: Do) -> None:
    api.post(RUN, [refused(500), {"exc": CUT}, job("IN_QUEUE")])
    assert do("submit", INPUT, repeat_unclear=True) == "j1"


@pytest.mark.parametrize("fault", [refused(429), {"exc": REFUSED}])
def test_a_submit_that_was_surely_not_carried_out_is_repeated(
    api: mocking.Mocker, do: Do, fault: dict[str, Any]
) -> None:
    api.post(RUN, [fault, job("IN_QUEUE")])
    assert do("submit", INPUT) == "j1"


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, errors.BadRequest), (401, errors.Unauthorized), (403, errors.Forbidden)],
)
def test_a_submit_that_is_refused_is_an_error_at_once(
    api: mocking.Mocker, do: Do, status: int, kind: type[errors.ApiError]
) -> None:
    api.post(RUN, **refused(status))
    with pytest.raises(kind) as caught:
        do("submit", INPUT)
    assert api.call_count == 1
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "options"),
    [
        ({}, {}),
        (["text"], {}),
        ({"x": float("nan")}, {}),
        ({"x": {1, 2}}, {}),
        ({"x": "x" * 10_000_000}, {}),
        (INPUT, {"execution_timeout": 4}),
        (INPUT, {"ttl": 604_801}),
    ],
)
def test_what_the_platform_would_lose_or_refuse_is_not_sent(
    api: mocking.Mocker, do: Do, content: Any, options: dict[str, Any]
) -> None:
    with pytest.raises(errors.UsageError):
        do("submit", content, **options)
    assert api.call_count == 0


def test_a_stream_gives_every_part_and_ends(api: mocking.Mocker, do: Do) -> None:
    def parts(status: str, *outputs: int) -> dict[str, Any]:
        return {"json": {"status": status, "stream": [{"output": one} for one in outputs]}}

    answers = [refused(404), parts("IN_QUEUE"), parts("IN_PROGRESS", 1, 2), parts("COMPLETED", 3)]
    api.get(f"{URL}/stream/j1", [*answers, parts("COMPLETED")])
    assert do("stream", "j1") == [1, 2, 3]
    api.get(f"{URL}/stream/j1", **parts("IN_QUEUE"))
    with pytest.raises(jobs.WaitTimeout):
        do("stream", "j1", timeout=5)


def test_the_other_calls(api: mocking.Mocker, do: Do) -> None:
    api.post(f"{URL}/cancel/a%2Fb", [refused(500), job("CANCELLED")])
    api.post(f"{URL}/retry/j1", **job("IN_QUEUE"))
    api.post(f"{URL}/purge-queue", json={"removed": 2, "status": "completed"})
    api.get(f"{URL}/health", json={"jobs": {"inQueue": 1}})
    do("cancel", "a/b")
    do("retry", "j1")
    assert do("purge_queue") == 2
    assert do("health") == {"jobs": {"inQueue": 1}}
    api.post(f"{URL}/retry/j1", **refused(404))
    with pytest.raises(jobs.JobGone):
        do("retry", "j1")


def test_a_state_shows_neither_output_nor_error(api: mocking.Mocker, do: Do) -> None:
    api.get(STATUS, **job("FAILED", output="the-output", error="the-error", delayTime=3))
    state: JobState = do("status", "j1")
    assert (state.final, state.delay, state.output) == (True, 3, "the-output")
    assert "the-" not in repr(state)
