"""Jobs of people: submitted, followed, remembered. Only their owners see them.

The provider keeps a result for 30 minutes; it is fetched from there. It is written to the database
only if the operator has given a key to encrypt it with.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy.engine import RowMapping
from sqlalchemy.exc import SQLAlchemyError

from podkit_gateway.config import BackendConfig, ModelConfig
from podkit_gateway.domain import Caller, UsageEvent
from podkit_gateway.errors import Refusal
from podkit_gateway.job_client import JobClient, JobError
from podkit_gateway.job_store import OVER, JobStore
from podkit_gateway.runtime import Runtime
from podkit_gateway.uploads import Uploads

RESULT_SECONDS = 1800.0
SWEEP_EVERY = 3600.0
DAY = 86_400.0
FIRST_POLL = 0.2
LONGEST_POLL = 5.0
LONGEST_AUDIO = 7 * DAY
"""Seconds; a number beyond it, or NaN, is no duration."""
STATES = {
    "IN_QUEUE": "queued",
    "IN_PROGRESS": "running",
    "RUNNING": "running",
    "COMPLETED": "completed",
    "FAILED": "failed",
    "CANCELLED": "cancelled",
    "TIMED_OUT": "expired",
}
REFUSALS = {
    "bad-audio",
    "bad-input",
    "bad-url",
    "not-speakable",
    "same-language",
    "too-long",
    "unsupported-language",
}
"""The codes with which the workers of services/ refuse an input."""


@dataclass(frozen=True)
class Work:
    """What one job shall do; `upload` is the name of the file that its worker fetches."""

    kind: str
    model: ModelConfig
    input: dict[str, Any]
    upload: str = ""
    person: str = ""
    """For whom a key with `on_behalf` asks."""


class Jobs:
    """All jobs that this process follows; others are asked for when somebody wants to know."""

    def __init__(self, runtime: Runtime, client: JobClient) -> None:
        self._runtime = runtime
        self._client = client
        settings = runtime.settings
        self._store = JobStore(runtime.engine, settings.results_key)
        self._outputs: dict[str, tuple[float, Any]] = {}
        self._following: dict[str, asyncio.Task[None]] = {}
        self._news: dict[str, asyncio.Event] = {}
        self.uploads: Uploads | None = None
        if settings.uploads is not None:
            self.uploads = Uploads(settings.uploads, settings.public_url, runtime.random_bytes)

    async def run(self) -> None:
        """Follows the jobs that a process before this one has submitted, and forgets old ones;
        never returns.
        """
        settings = self._runtime.settings
        resumed = False
        while True:
            try:
                if not resumed:
                    for row in await self._store.list_running():
                        self._begin_to_follow(row["id"])
                    resumed = True
                await self._store.sweep(
                    self._runtime.clock(),
                    results=settings.keep_results_days * DAY,
                    rows=settings.keep_usage_days * DAY,
                )
            except (SQLAlchemyError, OSError):
                await asyncio.sleep(LONGEST_POLL)
                continue
            await asyncio.sleep(SWEEP_EVERY)

    async def start(self, caller: Caller, work: Work) -> str:
        """Submits; the job's id with us. Raises Refusal."""
        backend = self._find_backend(caller, work.model)
        job_id = f"job_{uuid.uuid4().hex}"
        hook = self._runtime.random_bytes(32).hex()
        row = {"id": job_id, "backend": backend.name, "hook": hook}
        await self._store.add(row | describe_work(caller, work, self._runtime.clock()))
        url = self._runtime.settings.public_url
        webhook = f"{url}/hooks/runpod/{hook}" if url.startswith("https://") else None
        try:
            remote_id = await self._client.submit(backend, work.input, webhook)
        except JobError as problem:
            status = "unknown" if problem.sent else "failed"
            now = self._runtime.clock()
            await self._store.change(job_id, status=status, error=str(problem), finished=now)
            raise refuse_job(job_id, problem) from None
        await self._store.change(job_id, status="queued", remote_id=remote_id)
        self._begin_to_follow(job_id)
        return job_id

    async def wait(self, job_id: str, seconds: float) -> None:
        """Returns when the job is over, or after `seconds`."""
        task = self._following.get(job_id)
        if task is not None:
            await asyncio.wait({task}, timeout=seconds)

    async def find(self, caller: Caller, job_id: str) -> RowMapping:
        """The caller's own job. Raises Refusal (404) for anybody else's."""
        row = await self._store.find(job_id)
        if row is None or row["owner_id"] != caller.owner_id:
            raise Refusal(404, "invalid_request_error", "There is no such job.")
        return row

    async def refresh(self, caller: Caller, job_id: str) -> RowMapping:
        """The caller's job as it is now, asked for if nobody here follows it."""
        row = await self.find(caller, job_id)
        if row["status"] in OVER or row["remote_id"] is None or job_id in self._following:
            return row
        with contextlib.suppress(JobError):
            await self._poll(job_id)
        return await self.find(caller, job_id)

    async def take_news(self, hook: str) -> None:
        """The provider says that a job has changed. Its word is not trusted: the job is asked
        for.
        """
        row = await self._store.find_by_hook(hook)
        if row is None or row["status"] in OVER:
            return
        news = self._news.get(row["id"])
        if news is not None:
            news.set()
        else:
            self._begin_to_follow(row["id"])

    async def cancel(self, caller: Caller, job_id: str) -> None:
        row = await self.find(caller, job_id)
        backend = self._runtime.backends.config.backends.get(row["backend"])
        if row["status"] in OVER or backend is None or row["remote_id"] is None:
            return
        try:
            await self._client.cancel(backend, row["remote_id"])
        except JobError as problem:
            raise refuse_job(job_id, problem) from None
        await self._end(row, "cancelled", None, None)

    async def output(self, row: RowMapping) -> Any:
        """What a completed job has made; None if nobody has it any more."""
        until, output = self._outputs.get(row["id"], (0.0, None))
        if until > self._runtime.clock():
            return output
        kept = self._store.read_result(row)
        backend = self._runtime.backends.config.backends.get(row["backend"])
        too_old = self._runtime.clock() - row["created"] > RESULT_SECONDS
        if kept is not None or backend is None or too_old:
            return kept
        with contextlib.suppress(JobError):
            answer = await self._client.ask(backend, row["remote_id"])
            self._remember(row["id"], answer.get("output"))
            return answer.get("output")
        return None

    def forget_upload(self, name: str) -> None:
        """Deletes the file that was kept for a job; `name` is empty if none was."""
        if self.uploads is not None:
            self.uploads.remove(name)

    def _find_backend(self, caller: Caller, model: ModelConfig) -> BackendConfig:
        route = self._runtime.backends.choose(model, caller)
        if route is None:
            raise Refusal(
                503,
                "service_unavailable",
                f"Nothing serves {model.name} at the moment.",
                headers=(("retry-after", "10"),),
            )
        return route.backend.config

    def _begin_to_follow(self, job_id: str) -> None:
        if job_id in self._following:
            return
        self._news[job_id] = asyncio.Event()
        self._following[job_id] = asyncio.create_task(self._follow(job_id, self._news[job_id]))

    async def _follow(self, job_id: str, news: asyncio.Event) -> None:
        """Asks until the job is over: after 0.2 s, 0.4 s and so on, at most every 5 s, and when
        there is news of it.
        """
        pause = FIRST_POLL
        status = ""
        try:
            while status not in OVER:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(news.wait(), pause)
                news.clear()
                pause = min(pause * 2, LONGEST_POLL)
                with contextlib.suppress(JobError, SQLAlchemyError, OSError):
                    status = await self._poll(job_id)
        finally:
            self._following.pop(job_id, None)
            self._news.pop(job_id, None)

    async def _poll(self, job_id: str) -> str:
        """Asks once and notes what is new; the job's status. Raises JobError."""
        row = await self._store.find(job_id)
        if row is None:
            return "expired"
        backend = self._runtime.backends.config.backends.get(row["backend"])
        if backend is None:
            await self._end(row, "failed", "its endpoint is gone", None)
            return "failed"
        try:
            answer = await self._client.ask(backend, row["remote_id"])
        except JobError as problem:
            if problem.status != 404:
                raise
            answer = {"status": "TIMED_OUT"}
        status = STATES.get(str(answer.get("status")), "queued")
        if status in OVER:
            self._remember(job_id, answer.get("output"))
            await self._end(row, status, error_code(answer.get("error")), answer.get("output"))
        elif status != row["status"]:
            await self._store.change(job_id, status=status)
        return status

    async def _end(self, row: RowMapping, status: str, error: str | None, output: Any) -> None:
        """Notes the end of a job, and counts it if nobody has before."""
        units = seconds_of(output)
        now = self._runtime.clock()
        first = await self._store.change(
            row["id"], status=status, error=error, finished=now, units=units
        )
        self.forget_upload(row["upload"])
        if not first:
            return
        if status == "completed":
            await self._store.keep_result(row["id"], output)
        self._count(row, status, units, now - row["created"])

    def _remember(self, job_id: str, output: Any) -> None:
        now = self._runtime.clock()
        for known, (until, _) in list(self._outputs.items()):
            if until < now:
                del self._outputs[known]
        self._outputs[job_id] = (now + RESULT_SECONDS, output)

    def _count(self, row: RowMapping, status: str, units: float, seconds: float) -> None:
        """Metrics, a row of usage and a line of the log; never content."""
        runtime = self._runtime
        event = usage_of(row, status, units, seconds)
        model = runtime.backends.config.models.get(row["model"])
        if model is not None:
            event = replace(event, price=model.price.second * units)
        runtime.usage.add(event)
        runtime.metrics.jobs.labels(status).inc()
        runtime.metrics.count_answer(event.model, event.backend, event.status)
        runtime.metrics.of_model(event.model).seconds.observe(seconds)
        runtime.log.info(
            "job",
            id=row["id"],
            key=row["key_id"],
            owner=row["owner_id"],
            kind=row["kind"],
            model=row["model"],
            backend=row["backend"],
            status=status,
            units=units,
            ms=event.total_ms,
        )


def describe_work(caller: Caller, work: Work, now: float) -> dict[str, Any]:
    """The row of a new job, as far as it is known before a backend has it."""
    return {
        "owner_id": caller.owner_id,
        "key_id": caller.key_id,
        "team": caller.team,
        "person": work.person,
        "kind": work.kind,
        "model": work.model.name,
        "status": "submitting",
        "upload": work.upload,
        "created": now,
    }


def usage_of(row: RowMapping, status: str, units: float, seconds: float) -> UsageEvent:
    """The usage of a job that took `seconds`, without its price."""
    return UsageEvent(
        id=row["id"],
        time=row["created"],
        key_id=row["key_id"],
        owner_id=row["owner_id"],
        team=row["team"],
        person=row["person"],
        model_asked=row["model"],
        model=row["model"],
        backend=row["backend"],
        kind=row["kind"],
        status=200 if status == "completed" else 502,
        prompt_tokens=0,
        completion_tokens=0,
        cached_tokens=0,
        counted="none",
        units=units,
        first_byte_ms=int(seconds * 1000),
        total_ms=int(seconds * 1000),
        bytes_in=0,
        bytes_out=0,
        price=0.0,
    )


def seconds_of(output: Any) -> float:
    """Seconds of audio that a worker has heard or spoken, by its own word; 0 without audio, or for
    what can be no duration.
    """
    duration: Any = output.get("duration") if isinstance(output, dict) else None
    is_number = isinstance(duration, int | float) and not isinstance(duration, bool)
    if not is_number or not 0 <= duration <= LONGEST_AUDIO:
        return 0.0
    return float(duration)


def error_code(error: Any) -> str | None:
    """The code of a worker's error; its text may hold what people wrote, so it is not kept."""
    if not error:
        return None
    try:
        parsed = json.loads(error) if isinstance(error, str) else error
        code = str(parsed["code"])
    except (ValueError, TypeError, KeyError):
        return "internal"
    return code if len(code) <= 40 and code.replace("-", "").isalnum() else "internal"


def refuse_job(job_id: str, problem: JobError) -> Refusal:
    """A refusal of the job API in our own words."""
    if problem.sent:
        text = f"Whether job {job_id} was taken is unknown; ask again only if it may run twice."
        return Refusal(502, "api_error", text, code="job_unknown")
    text = str(problem)
    message = f"{text[0].upper()}{text[1:]}."
    if problem.status == 429:
        return Refusal(429, "rate_limit_error", message, headers=(("retry-after", "10"),))
    return Refusal(503, "service_unavailable", message, headers=(("retry-after", "30"),))
