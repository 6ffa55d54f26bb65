"""The logs of all workers of an endpoint as one: they come and go, and each has a log of its own.

There is no log of an endpoint in REST v2. A worker's lines vanish some 2 minutes after it, so they
are followed while it lives.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

from podkit.errors import ApiError, NotFound
from podkit.pods.logs import LogFollower
from podkit.runpod.client import RunpodClient
from podkit.runpod.logs import LogLine

AT_ONCE = 16
"""How many logs are read at once."""
LOOK_SECONDS = 5.0
"""Between two looks for new workers."""
FORGET_LOOKS = 24
"""A worker that was missing so often in a row, for 2 minutes, has no lines any more."""
DRAIN_SECONDS = 1.0
"""Between two looks at what has come."""


@dataclass(frozen=True)
class WorkerLine:
    """A line, and the worker that it is from."""

    worker_id: str
    line: LogLine


@dataclass(frozen=True)
class Wanted:
    """Which lines are wanted: of one worker or all, about one job or all; `source` is container or
    system, `tail` how many of each worker's last lines."""

    source: str = "container"
    worker_id: str = ""
    job_id: str = ""
    tail: int = 100

    def is_meant(self, line: LogLine) -> bool:
        """Whether the line is about the job, if one is meant: the worker SDK writes a job's id as
        `requestId` into each of its lines."""
        return self.job_id in line.text


def read_lines(client: RunpodClient, endpoint_id: str, wanted: Wanted) -> list[WorkerLine]:
    """The last lines of all workers that are there now, in order of time. Raises ApiError."""
    workers = _workers(client, endpoint_id, wanted)

    def read(worker_id: str) -> list[WorkerLine]:
        with suppress(NotFound):  # it ended meanwhile
            told = client.worker_log(endpoint_id, worker_id, wanted.source, wanted.tail, brief=True)
            return [WorkerLine(worker_id, line) for line in told if wanted.is_meant(line)]
        return []

    found: list[WorkerLine] = []
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for lines in pool.map(read, workers):
            found += lines
    return sorted(found, key=lambda one: one.line.ts)


def follow_lines(
    client: RunpodClient,
    endpoint_id: str,
    wanted: Wanted,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[WorkerLine]:
    """The lines of all workers as they come, also of workers that come later. It does not end."""
    followers = _Followers(client, endpoint_id, wanted)
    waited = LOOK_SECONDS
    try:
        while True:
            if waited >= LOOK_SECONDS:
                waited = 0.0
                with suppress(ApiError):  # the next look may succeed
                    followers.look()
            yield from followers.lines()
            sleep(DRAIN_SECONDS)
            waited += DRAIN_SECONDS
    finally:
        followers.close()


class _Followers:
    """One follower a worker, from when it is first seen until its lines are gone."""

    def __init__(self, client: RunpodClient, endpoint_id: str, wanted: Wanted) -> None:
        self._client = client
        self._endpoint_id = endpoint_id
        self._wanted = wanted
        self._by_worker: dict[str, LogFollower] = {}
        self._missed: dict[str, int] = {}

    def look(self) -> None:
        """Take in new workers, and let go of those that were missing often. Raises ApiError."""
        there = _workers(self._client, self._endpoint_id, self._wanted)
        for worker_id in there:
            if worker_id not in self._by_worker:
                self._by_worker[worker_id] = self._new(worker_id)
        for worker_id in list(self._by_worker):
            missed = self._missed.get(worker_id, 0) + 1
            self._missed[worker_id] = 0 if worker_id in there else missed
            if self._missed[worker_id] > FORGET_LOOKS:
                self._by_worker.pop(worker_id).close()

    def lines(self) -> Iterator[WorkerLine]:
        """What has come since the last call."""
        for worker_id, follower in self._by_worker.items():
            for line in follower.lines():
                if self._wanted.is_meant(line):
                    yield WorkerLine(worker_id, line)

    def close(self) -> None:
        for follower in self._by_worker.values():
            follower.close()

    def _new(self, worker_id: str) -> LogFollower:
        wanted = self._wanted

        def open_log(resume_from: str) -> Iterator[LogLine]:
            return self._client.worker_log(
                self._endpoint_id,
                worker_id,
                wanted.source,
                wanted.tail,
                resume_from,
            )

        return LogFollower(open_log, time.sleep)


def _workers(client: RunpodClient, endpoint_id: str, wanted: Wanted) -> Sequence[str]:
    if wanted.worker_id:
        return [wanted.worker_id]
    return [worker.id for worker in client.list_workers(endpoint_id)]
