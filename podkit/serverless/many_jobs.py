"""Many jobs of one endpoint, so many at once. Whoever interrupts them leaves none behind."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from podkit.errors import PodkitError
from podkit.jobs import JobProblem, Jobs, JobState


class Stopped(Exception):
    """The jobs are no longer wanted."""


@dataclass(frozen=True)
class Ended:
    """One job: its output, or why it has none; its last state, None if none was seen; the seconds
    from its submit until that was known."""

    output: Any
    problem: JobProblem | None
    state: JobState | None
    seconds: float


def run_many(
    jobs: Jobs,
    contents: Sequence[Mapping[str, Any]],
    at_once: int,
    timeout: float,
    clock: Callable[[], float],
) -> list[Ended]:
    """The end of a job for each of `contents`, in order. One that is not done in time is cancelled.

    Raises ApiError and SubmitUnclear; the jobs that are on their way are cancelled then, as they
    are after an interrupt.
    """
    stopping = threading.Event()
    failures: list[Exception] = []

    def run(content: Mapping[str, Any]) -> Ended:
        try:
            return _run(jobs, content, timeout, clock, stopping)
        except Exception as error:
            failures.append(error)
            stopping.set()
            raise

    pool = ThreadPoolExecutor(at_once)
    try:
        return list(pool.map(run, contents))
    except Stopped:
        raise failures[0] from None
    finally:
        stopping.set()
        pool.shutdown(cancel_futures=True)


def _run(
    jobs: Jobs,
    content: Mapping[str, Any],
    timeout: float,
    clock: Callable[[], float],
    stopping: threading.Event,
) -> Ended:
    last: JobState | None = None

    def look(state: JobState) -> None:
        nonlocal last
        last = state
        if stopping.is_set():
            raise Stopped

    if stopping.is_set():
        raise Stopped
    started = clock()
    job_id = jobs.submit(content, repeat_unclear=True)
    output = None
    problem = None
    try:
        output = jobs.wait(job_id, timeout=timeout, cancel_on_timeout=True, look=look)
    except JobProblem as error:
        problem = error
    except Stopped:
        with suppress(PodkitError):  # it may have ended
            jobs.cancel(job_id)
        raise
    return Ended(output, problem, last, clock() - started)
