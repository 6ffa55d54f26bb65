"""What each operation on a job sends, waits for, and makes of the answers. Pure.

An operation is a generator: it yields calls and seconds to wait, and whoever drives it does these.
So the same steps serve those who wait and those who await. A job that may have been submitted is
never submitted again unless that is asked for.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import quote

from podkit.errors import (
    ApiError,
    BadAnswer,
    BadRequest,
    Forbidden,
    NotFound,
    RateLimited,
    ServerFault,
    Unauthorized,
    Unreachable,
    UsageError,
)
from podkit.jobs.states import JobGone, JobState, SubmitUnclear, WaitTimeout, output_of, state_of

MOST_BYTES = 10_000_000
"""Of a submitted job: the smaller reading of the documented 10 MB."""
WEEK = 604_800
TRIES = 5
FIRST_POLL = 0.1
"""Seconds between the first looks at a job; they grow."""
MOST_POLL = 5.0
MOST_QUEUED_POLL = 2.0
"""At most so many seconds between two looks at a job that is young and queued."""
YOUNG_SECONDS = 30.0
"""So long after its submit a job may not be known yet (official client 2.0 repeats for 31.5 s)."""
BY_STATUS: dict[int, type[ApiError]] = {
    400: BadRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    429: RateLimited,
}
GONE = "is not known: it expired, or is another endpoint's"
MOST_RETRY_SECONDS = 60.0
"""Who is asked to wait for longer before a repeat is told so, and does not wait."""
Result = TypeVar("Result")


def ignore_state(_state: JobState) -> None:
    """For a wait of which nobody wants to see the states."""


@dataclass(frozen=True)
class Call:
    """A request to be sent."""

    method: str
    path: str
    body: bytes | None


@dataclass(frozen=True)
class Answer:
    """What came back; `status` is 0 without an answer, and then `sent` tells whether it may have
    arrived."""

    status: int
    text: str = ""
    retry_after: float | None = None
    sent: bool = True


Steps = Generator[Call | float, Any, Result]
"""What an operation does: it yields calls, for which it wants an Answer, and seconds to wait."""


class Operations:
    """The operations as steps, which Jobs and AsyncJobs drive."""

    def __init__(
        self,
        clock: Callable[[], float],
        random: Callable[[], float],
        timeout: float,
    ) -> None:
        self.clock = clock
        self._random = random
        self._timeout = timeout

    def submit(
        self,
        content: Mapping[str, Any],
        execution_timeout: float | None,
        ttl: float | None,
        repeat_unclear: bool,
    ) -> Steps[str]:
        body = _job_body(content, execution_timeout, ttl)
        try:
            data = yield from self._ask("POST", "/run", body, repeat_unclear=repeat_unclear)
            return str(data["id"])
        except (KeyError, TypeError):
            raise SubmitUnclear("the answer to the submit names no job") from None
        except ApiError as error:
            if not error.unclear:
                raise
            why = f"the job may have been submitted: {error}"
            raise SubmitUnclear(why, "repeat_unclear=True submits again") from None

    def status(self, job_id: str) -> Steps[JobState]:
        try:
            return state_of((yield from self._ask("GET", _of("status", job_id))))
        except NotFound:
            raise JobGone(job_id, GONE) from None

    def wait(
        self,
        job_id: str,
        timeout: float | None,
        cancel: bool,
        look: Callable[[JobState], None],
    ) -> Steps[Any]:
        started = self.clock()
        pause = FIRST_POLL
        while True:
            status = "IN_QUEUE"
            try:
                state = yield from self.status(job_id)
                status = state.status
                look(state)
                if state.final:
                    return output_of(state)
            except JobGone:
                if not self._young(started):
                    raise
            except ApiError as error:
                error.fields["job"] = job_id
                raise
            left = self._seconds_left(started, timeout)
            if left <= 0:
                break
            yield min(left, pause * (0.8 + 0.4 * self._random()))
            most = MOST_POLL
            if status == "IN_QUEUE" and self._young(started):
                most = MOST_QUEUED_POLL
            pause = min(pause * 1.5, most)
        if cancel:
            yield from self.act("cancel", job_id)
        raise WaitTimeout(job_id, "was not done in time")

    def act(self, action: str, job_id: str) -> Steps[None]:
        try:
            yield from self._ask("POST", _of(action, job_id), repeat_unclear=True)
        except NotFound:
            raise JobGone(job_id, GONE) from None

    def purge_queue(self) -> Steps[int]:
        data = yield from self._ask("POST", "/purge-queue", repeat_unclear=True)
        return int(_table(data).get("removed") or 0)

    def health(self) -> Steps[dict[str, Any]]:
        return _table((yield from self._ask("GET", "/health")))

    def stream(
        self,
        job_id: str,
        started: float,
        timeout: float | None,
    ) -> Steps[tuple[list[Any], bool]]:
        """What has accumulated, and whether that is all. It waits where there is nothing yet."""
        data: dict[str, Any] = {"status": "IN_QUEUE"}
        try:
            data = _table((yield from self._ask("GET", _of("stream", job_id))))
        except NotFound:
            if not self._young(started):
                raise JobGone(job_id, GONE) from None
        parts = [_table(part).get("output") for part in data.get("stream") or []]
        if parts:
            return parts, False
        state = state_of({"id": job_id, **data})
        if state.status == "COMPLETED":
            return [], True
        if state.final:
            # the stream does not tell why
            output_of((yield from self.status(job_id)))
        if self._seconds_left(started, timeout) <= 0:
            raise WaitTimeout(job_id, "was not done in time")
        yield FIRST_POLL
        return [], False

    def _young(self, started: float) -> bool:
        return self.clock() - started < YOUNG_SECONDS

    def _seconds_left(self, started: float, timeout: float | None) -> float:
        allowed = self._timeout if timeout is None else timeout
        return started + allowed - self.clock()

    def _ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        repeat_unclear: bool = False,
    ) -> Steps[Any]:
        """The JSON of the answer; asked again where that may help, and cannot do a thing twice."""
        for tries in range(1, TRIES + 1):
            answer = yield Call(method, path, body)
            try:
                return _understood(method, path, answer)
            except ApiError as error:
                may_pass = isinstance(error, RateLimited | ServerFault | Unreachable | BadAnswer)
                unsafe = error.unclear and not repeat_unclear
                if tries == TRIES or unsafe or not may_pass:
                    raise
                wait = error.retry_after
                if wait is None:
                    wait = 2.0 ** (tries - 1) * (0.5 + self._random() / 2)
                if wait > MOST_RETRY_SECONDS:
                    raise
            yield wait
        raise AssertionError("the last try returns or raises")


def _job_body(
    content: Mapping[str, Any],
    execution_timeout: float | None,
    ttl: float | None,
) -> bytes:
    """The body of a submit. Raises UsageError for what the platform drops, refuses or misreads.

    It drops an empty input on the way; the job then dies minutes later (seen by other clients,
    2026).
    """
    if not isinstance(content, Mapping) or not content:
        raise UsageError("a job's input is an object with at least one field")
    policy = {}
    limits = (("executionTimeout", execution_timeout, 5), ("ttl", ttl, 10))
    for name, seconds, least in limits:
        if seconds is None:
            continue
        if not least <= seconds <= WEEK:
            raise UsageError(f"{name} must be {least} to {WEEK} seconds")
        policy[name] = round(seconds * 1000)
    body: dict[str, Any] = {"input": dict(content)}
    if policy:
        body["policy"] = policy
    try:
        encoded = json.dumps(body, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError):
        raise UsageError("a job's input must be JSON, without NaN and infinity") from None
    if len(encoded) > MOST_BYTES:
        raise UsageError(f"the job is over {MOST_BYTES:,} bytes: {len(encoded):,}")
    return encoded


def _of(action: str, job_id: str) -> str:
    return f"/{action}/{quote(job_id, safe='')}"


def _table(data: Any) -> dict[str, Any]:
    return data if isinstance(data, dict) else {}


def _understood(method: str, path: str, answer: Answer) -> Any:
    """The JSON of a success. Raises ApiError for all else, `unclear` if it may have been done."""
    what = f"{method} {path}"
    changes = method != "GET"
    if not answer.status:
        raise Unreachable(f"{what}: no answer", unclear=changes and answer.sent)
    status = answer.status
    if 200 <= status < 300:
        try:
            return json.loads(answer.text)
        except ValueError:
            why = f"{what}: the answer is not JSON"
            raise BadAnswer(why, status=status, unclear=changes) from None
    kind = ServerFault if status >= 500 else BY_STATUS.get(status, BadRequest)
    raise kind(
        f"{what}: status {status}",
        status=status,
        unclear=changes and status >= 500,
        retry_after=answer.retry_after,
    )
