"""Measures jobs a second through podkit.jobs beside the provider's own client, in one run.

Both ask one endpoint of a sandbox on this machine, whose worker is quick_worker/worker.py; each job
takes 10 ms of work. Usage:
    .venv/bin/python bench/jobs_rate.py [JOBS] [ROUNDS]
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import requests

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from podkit.jobs import AsyncJobs, Jobs, JobState  # noqa: E402
from podkit_sandbox import control  # noqa: E402
from podkit_sandbox.serverless.environments import Environments  # noqa: E402

WORKER = ROOT / "bench/quick_worker"
CLIENT = ROOT / "tests/sandbox/service"
"""Its requirements are the provider's package."""
ENVIRONMENTS = ROOT / ".podkit/sandbox/envs"
OFFICIAL = ROOT / "bench/jobs_rate_official.py"
WORK = {"sleep": 0.01}
BODY = {
    "name": "rate",
    "type": "QUEUE",
    "image": "me/echo:1",
    "cpu": [{"id": "cpu5c", "vcpuCount": 4}],
    "workers": {"min": 1, "max": 1, "idleTimeout": 600},
    "scaling": {"type": "QUEUE_DELAY", "queueDelay": 4},
}


def threads(jobs: Jobs, count: int) -> float:
    """Seconds for so many jobs, each submitted and waited for in a thread of its own."""
    started = time.monotonic()
    with ThreadPoolExecutor(count) as pool:
        for done in [pool.submit(jobs.run, WORK) for _ in range(count)]:
            done.result()
    return time.monotonic() - started


def awaited(jobs: AsyncJobs, count: int) -> float:
    """The same, awaited."""

    async def run() -> None:
        await asyncio.gather(*(jobs.run(WORK) for _ in range(count)))

    started = time.monotonic()
    asyncio.run(run())
    return time.monotonic() - started


def lags(jobs: Jobs, count: int) -> list[float]:
    """Seconds from a job's end to the moment at which it was known, one job after another."""
    found = []
    for _ in range(count):
        states: list[JobState] = []
        submitted = time.monotonic()
        jobs.wait(jobs.submit(WORK), look=states.append)
        last = states[-1]
        took = ((last.delay or 0) + (last.execution or 0)) / 1000
        found.append(time.monotonic() - submitted - took)
    return found


def official(python: Path, endpoint: str, connection: control.Connection, count: int) -> float:
    """Seconds that the provider's client takes for as many jobs, a thread each."""
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(python.parent),
        "RUNPOD_ENDPOINT_BASE_URL": connection.api_url,
        "RUNPOD_API_KEY": connection.api_key,
    }
    command = [str(python), str(OFFICIAL), endpoint, json.dumps(WORK), str(count)]
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=True)
    return float(done.stdout.splitlines()[-1])


def measure(folder: Path, count: int, rounds: int) -> dict[str, float]:
    connection = control.start(folder)
    control.place_service(connection, "me/echo", WORKER, ["python", "-u", "worker.py"])
    key = connection.api_key
    url = connection.api_url
    headers = {"Authorization": f"Bearer {key}"}
    made = requests.post(f"{url}/serverless", json=BODY, headers=headers, timeout=30)
    endpoint = str(made.json()["id"])
    jobs = Jobs(endpoint, key, url=url, timeout=300)
    jobs.run(WORK)
    environment = asyncio.run(Environments(ENVIRONMENTS).prepare(CLIENT, print))
    python = environment.binaries / "python"
    rows: dict[str, list[float]] = {"official": [], "threads": [], "awaited": []}
    for _ in range(rounds):
        rows["official"].append(count / official(python, endpoint, connection, count))
        rows["threads"].append(count / threads(jobs, count))
        rows["awaited"].append(count / awaited(AsyncJobs(endpoint, key, url=url), count))
    late = lags(jobs, 40)
    return {
        "jobs_per_second_official": round(statistics.median(rows["official"]), 1),
        "jobs_per_second_jobs_in_threads": round(statistics.median(rows["threads"]), 1),
        "jobs_per_second_async_jobs": round(statistics.median(rows["awaited"]), 1),
        "seconds_from_completed_to_known_median": round(statistics.median(late), 3),
        "seconds_from_completed_to_known_longest": round(max(late), 3),
        "load": round(os.getloadavg()[0], 1),
    }


def main(count: int, rounds: int) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        try:
            print(json.dumps(measure(folder, count, rounds), indent=2))
        finally:
            control.stop(folder)


if __name__ == "__main__":
    given = [int(word) for word in sys.argv[1:]]
    main(*(given + [32, 5][len(given) :]))
