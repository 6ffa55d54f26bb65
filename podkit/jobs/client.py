"""Jobs and AsyncJobs: the one place of this library that speaks to a network."""

from __future__ import annotations

import asyncio
import os
import random as randomness
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any, Self
from urllib.parse import quote

import requests
import urllib3

from podkit.errors import KEYS_URL, UsageError
from podkit.jobs.states import JobState
from podkit.jobs.steps import FIRST_POLL, Answer, Call, Operations, Result, Steps, ignore_state

JOBS_URL = "https://api.runpod.ai/v2"
CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 60.0
CONNECTIONS = 64


class _Client:
    """One endpoint, its key, and the way to it."""

    @classmethod
    def from_env(
        cls,
        prefix: str,
        environ: Mapping[str, str] = os.environ,
        **options: Any,
    ) -> Self:
        """The client of the endpoint whose id is in PREFIX_ENDPOINT_ID, with the key in
        RUNPOD_API_KEY; RUNPOD_JOBS_URL is another address than the provider's.

        `options` are the constructor's. Raises UsageError for a variable that is not set.
        """
        wanted = {
            f"{prefix}_ENDPOINT_ID": "./podkit.sh serverless env prints it",
            "RUNPOD_API_KEY": f"make a key for this endpoint alone: {KEYS_URL}",
        }
        found = {}
        for name, how_to_set in wanted.items():
            if not environ.get(name):
                raise UsageError(f"{name} is not set", how_to_set)
            found[name] = environ[name]
        url = environ.get("RUNPOD_JOBS_URL") or JOBS_URL
        return cls(*found.values(), **{"url": url, **options})

    def __init__(
        self,
        endpoint_id: str,
        key: str,
        *,
        timeout: float = 120.0,
        url: str = JOBS_URL,
        session: requests.Session | None = None,
        clock: Callable[[], float] = time.monotonic,
        random: Callable[[], float] = randomness.random,
    ) -> None:
        """`timeout` is how many seconds a wait lasts unless it says otherwise."""
        self._url = f"{url.rstrip('/')}/{quote(endpoint_id, safe='')}"
        self._key = key
        self._session = session or _new_session()
        self._operations = Operations(clock, random, timeout)

    def _sign(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """The request with the key. Given as `auth`, so that a ~/.netrc cannot replace it."""
        request.headers["Authorization"] = f"Bearer {self._key}"
        return request

    def _send(self, call: Call) -> Answer:
        try:
            response = self._session.request(
                call.method,
                self._url + call.path,
                data=call.body,
                headers={"Content-Type": "application/json", "User-Agent": "podkit-jobs"},
                auth=self._sign,
                timeout=(CONNECT_SECONDS, ANSWER_SECONDS),
                allow_redirects=False,
            )
        except requests.RequestException as error:
            return Answer(0, sent=not _never_left(error))
        asked = response.headers.get("Retry-After", "")
        retry_after = float(asked) if asked.isdecimal() else None
        return Answer(response.status_code, response.text, retry_after)


class Jobs(_Client):
    """The jobs of one endpoint. `sleep` waits seconds."""

    def __init__(
        self,
        endpoint_id: str,
        key: str,
        *,
        sleep: Callable[[float], None] = time.sleep,
        **options: Any,
    ) -> None:
        super().__init__(endpoint_id, key, **options)
        self._sleep = sleep

    def submit(
        self,
        content: Mapping[str, Any],
        *,
        execution_timeout: float | None = None,
        ttl: float | None = None,
        repeat_unclear: bool = False,
    ) -> str:
        """The id of the new job, whose input is `content`. The limits are seconds: of its run, and
        of its whole life. Raises SubmitUnclear, unless `repeat_unclear` submits it again."""
        steps = self._operations.submit(content, execution_timeout, ttl, repeat_unclear)
        return self._drive(steps)

    def status(self, job_id: str) -> JobState:
        """The job as it is now. Raises JobGone, also for one that was submitted just now."""
        return self._drive(self._operations.status(job_id))

    def wait(
        self,
        job_id: str,
        *,
        timeout: float | None = None,
        cancel_on_timeout: bool = False,
        look: Callable[[JobState], None] = ignore_state,
    ) -> Any:
        """The job's output, waited for `timeout` seconds. Raises a JobProblem where there is none.

        `look` is called with each state that is seen, the last one too. After another error the job
        may still be on its way; its id is the error's field `job`.
        """
        return self._drive(self._operations.wait(job_id, timeout, cancel_on_timeout, look))

    def run(self, content: Mapping[str, Any], **options: Any) -> Any:
        """The output of a new job: submit with its options, and wait."""
        job_id = self.submit(content, **options)
        self._sleep(FIRST_POLL)  # no job is done sooner
        return self.wait(job_id)

    def stream(self, job_id: str, *, timeout: float | None = None) -> Iterator[Any]:
        """What the job gives, part by part, for `timeout` seconds at most. Raises a JobProblem if
        it does not complete."""
        started = self._operations.clock()
        done = False
        while not done:
            parts, done = self._drive(self._operations.stream(job_id, started, timeout))
            yield from parts

    def cancel(self, job_id: str) -> None:
        """End the job, queued or running."""
        self._drive(self._operations.act("cancel", job_id))

    def retry(self, job_id: str) -> None:
        """Queue a job that failed or timed out again, under its id."""
        self._drive(self._operations.act("retry", job_id))

    def purge_queue(self) -> int:
        """Remove all jobs that wait; returns how many."""
        return self._drive(self._operations.purge_queue())

    def health(self) -> dict[str, Any]:
        """How many `jobs` and `workers` are in which state; any number may be missing."""
        return self._drive(self._operations.health())

    def _drive(self, steps: Steps[Result]) -> Result:
        answer: Answer | None = None
        while True:
            try:
                step = steps.send(answer)
            except StopIteration as end:
                result: Result = end.value
                return result
            answer = None
            if isinstance(step, Call):
                answer = self._send(step)
            else:
                self._sleep(step)


class AsyncJobs(_Client):
    """As Jobs, to be awaited: requests are sent in threads, waits hold nobody up."""

    def __init__(
        self,
        endpoint_id: str,
        key: str,
        *,
        sleep: Callable[[float], Any] = asyncio.sleep,
        **options: Any,
    ) -> None:
        super().__init__(endpoint_id, key, **options)
        self._sleep = sleep

    async def submit(
        self,
        content: Mapping[str, Any],
        *,
        execution_timeout: float | None = None,
        ttl: float | None = None,
        repeat_unclear: bool = False,
    ) -> str:
        """As Jobs.submit."""
        steps = self._operations.submit(content, execution_timeout, ttl, repeat_unclear)
        return await self._drive(steps)

    async def status(self, job_id: str) -> JobState:
        """As Jobs.status."""
        return await self._drive(self._operations.status(job_id))

    async def wait(
        self,
        job_id: str,
        *,
        timeout: float | None = None,
        cancel_on_timeout: bool = False,
        look: Callable[[JobState], None] = ignore_state,
    ) -> Any:
        """As Jobs.wait."""
        steps = self._operations.wait(job_id, timeout, cancel_on_timeout, look)
        return await self._drive(steps)

    async def run(self, content: Mapping[str, Any], **options: Any) -> Any:
        """As Jobs.run."""
        job_id = await self.submit(content, **options)
        await self._sleep(FIRST_POLL)
        return await self.wait(job_id)

    async def stream(self, job_id: str, *, timeout: float | None = None) -> AsyncIterator[Any]:
        """As Jobs.stream."""
        started = self._operations.clock()
        done = False
        while not done:
            parts, done = await self._drive(self._operations.stream(job_id, started, timeout))
            for part in parts:
                yield part

    async def cancel(self, job_id: str) -> None:
        """As Jobs.cancel."""
        await self._drive(self._operations.act("cancel", job_id))

    async def retry(self, job_id: str) -> None:
        """As Jobs.retry."""
        await self._drive(self._operations.act("retry", job_id))

    async def purge_queue(self) -> int:
        """As Jobs.purge_queue."""
        return await self._drive(self._operations.purge_queue())

    async def health(self) -> dict[str, Any]:
        """As Jobs.health."""
        return await self._drive(self._operations.health())

    async def _drive(self, steps: Steps[Result]) -> Result:
        answer: Answer | None = None
        while True:
            try:
                step = steps.send(answer)
            except StopIteration as end:
                result: Result = end.value
                return result
            answer = None
            if isinstance(step, Call):
                answer = await asyncio.to_thread(self._send, step)
            else:
                await self._sleep(step)


def _new_session() -> requests.Session:
    """One that many threads may use at once without making a connection for each request."""
    session = requests.Session()
    session.mount("https://", requests.adapters.HTTPAdapter(pool_maxsize=CONNECTIONS))
    session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=CONNECTIONS))
    return session


def _never_left(error: requests.RequestException) -> bool:
    """Whether no connection was made, so that nobody has seen the request."""
    reason = getattr(error.args[0], "reason", None) if error.args else None
    return isinstance(error, requests.ConnectTimeout) or isinstance(
        reason, urllib3.exceptions.NewConnectionError
    )
