"""Looking at an endpoint from all sides for a diagnosis. It reads only."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from podkit.errors import ApiError
from podkit.jobs import Jobs, JobState
from podkit.runpod.client import RunpodClient
from podkit.runpod.endpoint_types import Endpoint, Worker
from podkit.serverless.diagnose import (
    SLOW_START_SECONDS,
    STUCK_SECONDS,
    Finding,
    Sight,
    diagnose,
)

LINES = 20
"""How many of a log's last lines are read."""
FIRST_SECONDS = 1.0
"""How long a job waits before the endpoint is looked at."""
EVERY_SECONDS = 15.0
"""Between two looks at an endpoint, which each are several requests."""


def look(
    client: RunpodClient,
    jobs: Jobs,
    endpoint: Endpoint,
    service: str,
    *,
    waited: float = 0.0,
    queued_before: int | None = None,
) -> Sight:
    """What there is to see of the endpoint now; logs and catalogue only where they may explain
    something. A load balancer has no jobs. Raises ApiError."""
    workers = client.list_workers(endpoint.id)
    health: dict[str, Any] = {}
    if endpoint.settings.get("type") != "LOAD_BALANCER":
        health = jobs.health()
    queued = count(health, "jobs", "inQueue")
    states = {worker.status for worker in workers if not worker.stale}
    return Sight(
        service=service,
        endpoint=endpoint,
        workers=workers,
        queued=queued,
        is_falling=queued_before is not None and queued < queued_before,
        waited=waited,
        now=client.now(),
        lines=_last_lines(client, endpoint.id, workers, waited),
        catalogue=client.list_worker_gpus() if states == {"THROTTLED"} else (),
        health=health,
    )


def count(health: Mapping[str, Any], part: str, name: str) -> int:
    """A number of a /health answer, of which any may be missing."""
    numbers = health.get(part)
    return int(numbers.get(name) or 0) if isinstance(numbers, dict) else 0


def job_event(state: JobState, finding: Finding | None, seconds: float) -> dict[str, Any]:
    """The fields of the event that docs/json.md describes: a new state, or why the job waits."""
    return {
        "job": state.id,
        "status": state.status,
        "seconds": round(seconds, 1),
        "finding": asdict(finding) if finding else None,
    }


class Reasons:
    """Follows a job that is waited for, and says each change of its state, and why it waits.

    `see` gives the endpoint as it is, for so many seconds of waiting. `tell` gets the job, and what
    was found of the endpoint, None while it need not be looked at.
    """

    def __init__(
        self,
        see: Callable[[float, int | None], Sight],
        clock: Callable[[], float],
        tell: Callable[[JobState, Finding | None], None],
    ) -> None:
        self.finding: Finding | None = None
        self._see = see
        self._clock = clock
        self._tell = tell
        self._started = clock()
        self._next = self._started + FIRST_SECONDS
        self._status = ""
        self._queued: int | None = None

    def look(self, state: JobState) -> None:
        """Take notice of the job's state, as Jobs.wait shows it."""
        if state.status != self._status:
            self._status = state.status
            self._tell(state, None)
        if state.status == "IN_QUEUE":
            self._explain(state)
        else:
            self.finding = None

    def _explain(self, state: JobState) -> None:
        now = self._clock()
        if now < self._next:
            return
        self._next = now + EVERY_SECONDS
        with suppress(ApiError):  # an explanation is a comfort; the wait goes on without it
            sight = self._see(now - self._started, self._queued)
            self._queued = sight.queued
            found = diagnose(sight)
            if found != self.finding:
                self._tell(state, found)
            self.finding = found


def _last_lines(
    client: RunpodClient,
    endpoint_id: str,
    workers: Sequence[Worker],
    waited: float,
) -> tuple[str, ...]:
    """The last lines of the first worker that seems to be in trouble; what its container said, or
    else what its host did."""
    for worker in workers:
        sources = _sources(worker, waited)
        for source in sources:
            with suppress(ApiError):  # the log of a worker that has just gone is gone, too
                told = client.worker_log(endpoint_id, worker.id, source, LINES, brief=True)
                if lines := tuple(line.text for line in told):
                    return lines
    return ()


def _sources(worker: Worker, waited: float) -> tuple[str, ...]:
    """The logs in which the reason may be, if this worker is one."""
    if worker.stale:
        return ()
    if worker.status == "UNHEALTHY":
        return ("container", "system")
    if worker.status == "INITIALIZING" and (worker.uptime or 0) > SLOW_START_SECONDS:
        return ("system",)
    if worker.status == "IDLE" and waited > STUCK_SECONDS:
        return ("container",)
    return ()
