"""Jobs of people: submitted, followed, remembered. Only their owners see them.

The provider keeps a result for 30 minutes; it is fetched from there and never written to the
database.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
import uuid
from dataclasses import dataclass
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.engine import RowMapping

from podkit_gateway.config import BackendConfig, ModelConfig
from podkit_gateway.domain import Caller, UsageEvent
from podkit_gateway.errors import Refusal
from podkit_gateway.job_client import JobClient, JobError
from podkit_gateway.runtime import Runtime
from podkit_gateway.tables import jobs

RESULT_SECONDS = 1800.0
FIRST_POLL = 0.2
LONGEST_POLL = 5.0
OVER = {"completed", "failed", "cancelled", "expired", "unknown"}
STATES = {
    "IN_QUEUE": "queued",
    "IN_PROGRESS": "running",
    "RUNNING": "running",
    "COMPLETED": "completed",
    "FAILED": "failed",
    "CANCELLED": "cancelled",
    "TIMED_OUT": "expired",
}
BAD_INPUT = {"bad-input", "unsupported-language", "same-language", "too-long"}


@dataclass(frozen=True)
class Work:
    """What one job shall do."""

    kind: str
    model: ModelConfig
    input: dict[str, Any]
    units: float = 0.0
    """Seconds of audio, or pages, if known before."""


class Jobs:
    """All jobs that this process follows; others are asked for when somebody wants to know."""

    def __init__(self, runtime: Runtime, client: JobClient) -> None:
        self._runtime = runtime
        self._client = client
        self._outputs: dict[str, tuple[float, Any]] = {}
        self._following: dict[str, asyncio.Task[None]] = {}

    async def start(self, caller: Caller, work: Work) -> str:
        """Submits; the job's id with us. Raises Refusal."""
        backend = self._find_backend(caller, work.model)
        job_id = f"job_{uuid.uuid4().hex}"
        row = {
            "id": job_id,
            "owner_id": caller.owner_id,
            "key_id": caller.key_id,
            "team": caller.team,
            "kind": work.kind,
            "model": work.model.name,
            "backend": backend.name,
            "status": "submitting",
            "created": time.time(),
        }
        async with self._runtime.engine.begin() as connection:
            await connection.execute(insert(jobs).values(row))
        try:
            remote_id = await self._client.submit(backend, work.input)
        except JobError as problem:
            status = "unknown" if problem.sent else "failed"
            await self._update(job_id, status=status, error=str(problem), finished=time.time())
            raise refuse_job(job_id, problem) from None
        await self._update(job_id, status="queued", remote_id=remote_id)
        self._following[job_id] = asyncio.create_task(self._follow(job_id, work))
        return job_id

    async def wait(self, job_id: str, seconds: float) -> None:
        """Returns when the job is over, or after `seconds`."""
        task = self._following.get(job_id)
        if task is not None:
            await asyncio.wait({task}, timeout=seconds)

    async def find(self, caller: Caller, job_id: str) -> RowMapping:
        """The caller's own job. Raises Refusal (404) for anybody else's."""
        async with self._runtime.engine.connect() as connection:
            found = await connection.execute(select(jobs).where(jobs.c.id == job_id))
            row = found.mappings().one_or_none()
        if row is None or row["owner_id"] != caller.owner_id:
            raise Refusal(404, "invalid_request_error", "There is no such job.")
        return row

    async def refresh(self, caller: Caller, job_id: str) -> RowMapping:
        """The caller's job as it is now, asked for if nobody here follows it."""
        row = await self.find(caller, job_id)
        known = job_id in self._following or job_id in self._outputs
        wants_output = (
            row["status"] == "completed" and time.time() - row["created"] < RESULT_SECONDS
        )
        if row["remote_id"] and not known and (row["status"] not in OVER or wants_output):
            with contextlib.suppress(JobError):
                await self._poll(job_id, row["backend"], row["remote_id"])
        return await self.find(caller, job_id)

    async def cancel(self, caller: Caller, job_id: str) -> None:
        row = await self.find(caller, job_id)
        backend = self._runtime.backends.config.backends.get(row["backend"])
        if row["status"] in OVER or backend is None or row["remote_id"] is None:
            return
        try:
            await self._client.cancel(backend, row["remote_id"])
        except JobError as problem:
            raise refuse_job(job_id, problem) from None
        await self._update(job_id, status="cancelled", finished=time.time())

    def output(self, job_id: str) -> Any:
        """What the job has made; None if it is not known here any more."""
        return self._outputs.get(job_id, (0.0, None))[1]

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

    async def _follow(self, job_id: str, work: Work) -> None:
        """Polls until the job is over: at 0.2 s, 0.4 s and so on, at most every 5 s."""
        began = time.time()
        pause = FIRST_POLL
        try:
            while True:
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_POLL)
                row = await self._read(job_id)
                if row["status"] in OVER:
                    return
                try:
                    status = await self._poll(job_id, row["backend"], row["remote_id"])
                except JobError:
                    status = row["status"]
                if status in OVER:
                    self._count(row, work, status, time.time() - began)
                    return
        finally:
            self._following.pop(job_id, None)

    async def _poll(self, job_id: str, backend_name: str, remote_id: str) -> str:
        """Asks once and notes what is new; the job's status. Raises JobError."""
        backend = self._runtime.backends.config.backends.get(backend_name)
        if backend is None:
            await self._update(job_id, status="failed", error="its endpoint is gone")
            return "failed"
        try:
            answer = await self._client.ask(backend, remote_id)
        except JobError as problem:
            if problem.status != 404:
                raise
            answer = {"status": "TIMED_OUT"}
        status = STATES.get(str(answer.get("status")), "queued")
        changes: dict[str, Any] = {"status": status}
        if status in OVER:
            changes["finished"] = time.time()
            changes["error"] = error_code(answer.get("error"))
            self._keep(job_id, answer.get("output"))
        await self._update(job_id, **changes)
        return status

    def _keep(self, job_id: str, output: Any) -> None:
        now = time.time()
        for known, (until, _) in list(self._outputs.items()):
            if until < now:
                del self._outputs[known]
        self._outputs[job_id] = (now + RESULT_SECONDS, output)

    def _count(self, row: RowMapping, work: Work, status: str, seconds: float) -> None:
        price = work.model.price
        self._runtime.metrics.jobs.labels(status).inc()
        self._runtime.usage.add(
            UsageEvent(
                id=row["id"],
                time=row["created"],
                key_id=row["key_id"],
                owner_id=row["owner_id"],
                team=row["team"],
                person="",
                model_asked=row["model"],
                model=row["model"],
                backend=row["backend"],
                kind=row["kind"],
                status=200 if status == "completed" else 502,
                prompt_tokens=0,
                completion_tokens=0,
                cached_tokens=0,
                counted="none",
                units=work.units,
                first_byte_ms=int(seconds * 1000),
                total_ms=int(seconds * 1000),
                bytes_in=0,
                bytes_out=0,
                price=price.second * work.units,
            )
        )

    async def _read(self, job_id: str) -> RowMapping:
        async with self._runtime.engine.connect() as connection:
            found = await connection.execute(select(jobs).where(jobs.c.id == job_id))
            return found.mappings().one()

    async def _update(self, job_id: str, **values: Any) -> None:
        async with self._runtime.engine.begin() as connection:
            await connection.execute(update(jobs).where(jobs.c.id == job_id).values(**values))


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
