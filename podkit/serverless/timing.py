"""How fast an endpoint answers: many jobs at once, and what each of them took."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from podkit.jobs import Jobs
from podkit.serverless.many_jobs import run_many


@dataclass(frozen=True)
class Timed:
    """One job that completed: milliseconds in the queue, at work, and from its submit until its
    output was known."""

    delay: float
    execution: float
    total: float


@dataclass(frozen=True)
class Timings:
    """What so many jobs took, `seconds` in all; `failed` has a sentence for each that has no
    output."""

    done: Sequence[Timed]
    failed: Sequence[str]
    seconds: float

    @property
    def jobs_per_second(self) -> float:
        return len(self.done) / self.seconds if self.seconds else 0.0

    def percentiles(self, part: str) -> dict[str, float]:
        """The 50th and 95th percentile of `delay`, `execution` or `total`, in milliseconds."""
        values = sorted(getattr(one, part) for one in self.done)
        return {"p50": percentile(values, 50), "p95": percentile(values, 95)}


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest of the sorted values that so many percent do not exceed, 0 of none."""
    if not values:
        return 0.0
    rank = -(-len(values) * percent // 100)
    return round(values[max(0, int(rank) - 1)], 1)


def time_jobs(
    jobs: Jobs,
    content: Mapping[str, Any],
    count: int,
    at_once: int,
    clock: Callable[[], float],
    timeout: float,
) -> Timings:
    """Send the same job so often, so many at once, and wait for all; a job that ends without output
    is counted. Raises as run_many."""
    begun = clock()
    ended = run_many(jobs, [content] * count, at_once, timeout, clock)
    seconds = clock() - begun
    done = []
    failed = []
    for one in ended:
        if one.problem:
            failed.append(one.problem.message)
        elif one.state:
            delay = float(one.state.delay or 0)
            done.append(Timed(delay, float(one.state.execution or 0), one.seconds * 1000))
    return Timings(done, failed, seconds)


def cost_per_thousand(timings: Timings, hourly: float, workers: int) -> float:
    """USD for 1,000 such jobs at this rate, by so many workers at a price per hour each."""
    if not timings.done:
        return 0.0
    return 1000 * timings.seconds * workers * hourly / 3600 / len(timings.done)
