"""`serverless bench`: how fast an endpoint answers, and what that costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from podkit.commands.app import App
from podkit.commands.options import command
from podkit.commands.result import Result
from podkit.commands.serverless_options import CONFIG, ENDPOINT_ID, timeout_option
from podkit.commands.serverless_reach import ENDPOINT, job_hints, jobs_named, reach
from podkit.commands.serverless_run import FILE, INPUT, follow, job_input, submitted

if TYPE_CHECKING:
    from podkit.serverless.timing import Timings

PARTS = ("delay", "execution", "total")


@dataclass(frozen=True)
class Benched:
    """The timings, the first job's seconds, and USD for 1,000 jobs, None without a price."""

    timings: Timings
    at_once: int
    first_seconds: float
    workers: int
    cost_per_1000: float | None

    def fields(self) -> Mapping[str, Any]:
        return {
            "done": len(self.timings.done),
            "failed": list(self.timings.failed),
            "at_once": self.at_once,
            "seconds": round(self.timings.seconds, 2),
            "jobs_per_second": round(self.timings.jobs_per_second, 2),
            "milliseconds": {part: self.timings.percentiles(part) for part in PARTS},
            "first_seconds": round(self.first_seconds, 1),
            "workers": self.workers,
            "cost_per_1000": self.cost_per_1000,
        }

    def text(self) -> str:
        from podkit.commands.tables import columns

        rows = [["MILLISECONDS", "P50", "P95"]]
        for part in PARTS:
            found = self.timings.percentiles(part)
            rows.append([part, f"{found['p50']:.0f}", f"{found['p95']:.0f}"])
        rate = f"{self.timings.jobs_per_second:.2f} jobs/s"
        lines = [*columns(*rows), f"{len(self.timings.done)} jobs, {self.at_once} at once: {rate}"]
        lines.append(
            f"the first job, with a cold start if there was one: {self.first_seconds:.1f} s"
        )
        price = "unknown, as the catalogue has no price"
        if self.cost_per_1000 is not None:
            price = f"${self.cost_per_1000:.4f} at this rate (workers: {self.workers})"
        return "\n".join([*lines, f"1,000 such jobs: {price}; idle time comes on top"])


@command("bench", json=True)
@ENDPOINT
@INPUT
@FILE
@click.option("--jobs", "count", type=click.IntRange(1, 10_000), default=32, show_default=True)
@click.option("--at-once", type=click.IntRange(1, 200), default=8, show_default=True)
@timeout_option("Seconds for each job.")
@CONFIG
@ENDPOINT_ID
def bench(
    app: App,
    word: str,
    given: str,
    file: Path | None,
    count: int,
    at_once: int,
    timeout: float,
    config_file: Path | None,
    endpoint_id: str,
) -> Result:
    """Send the same job many times, and show how long jobs wait and work, and what 1,000 cost. The
    jobs are real, and billed. Exit 1 if one of them has no output.

    \b
    Examples:
      ./podkit.sh serverless bench translation_endpoint
      ./podkit.sh serverless bench --jobs 200 --at-once 32 --json
    """
    from podkit.errors import PodkitError
    from podkit.serverless.price import hourly_price
    from podkit.serverless.timing import cost_per_thousand, time_jobs

    there = reach(app, word, config_file, endpoint_id)
    content = job_input(there, given, file)
    jobs = there.jobs(app)
    hourly = hourly_price(there.client, there.endpoint)
    clock = there.client.clock
    with job_hints(there.word):
        started = clock()
        with submitted(app, there, jobs, content) as job_id:
            follow(app, there, jobs, job_id, timeout)
        first_seconds = clock() - started
        with jobs_named(app, there):
            timings = time_jobs(jobs, content, count, at_once, clock, timeout)
    workers = max(1, len(there.client.list_workers(there.endpoint.id)))
    cost = cost_per_thousand(timings, hourly, workers) if hourly else None
    result = Benched(timings, at_once, first_seconds, workers, cost)
    if timings.failed:
        app.show_text(result)
        what = f"{len(timings.failed)} of {count} jobs have no output; the first: "
        hint = f"./podkit.sh serverless logs {there.word}"
        raise PodkitError(what + timings.failed[0], hint, **result.fields())
    return result
