"""Both clients against the sandbox's job API through a socket, with a queue that nobody serves."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import requests

from podkit.jobs import AsyncJobs, JobCancelled, JobGone, Jobs, WaitTimeout
from podkit_sandbox import control

pytestmark = pytest.mark.slow

BODY = {
    "name": "queue",
    "type": "QUEUE",
    "image": "ghcr.io/me/queue:1",
    "gpu": {"pools": ["ADA_24"]},
    "scaling": {"type": "QUEUE_DELAY", "queueDelay": 4},
    "workers": {"min": 0, "max": 0},
}


def test_jobs_wait_are_cancelled_and_purged(tmp_path: Path) -> None:
    connection = control.start(tmp_path)
    try:
        headers = {"Authorization": f"Bearer {connection.api_key}"}
        url = connection.api_url
        made = requests.post(f"{url}/serverless", json=BODY, headers=headers, timeout=10).json()
        jobs = Jobs(made["id"], connection.api_key, url=url)
        first = jobs.submit({"text": "Bonjour"})
        assert jobs.status(first).status == "IN_QUEUE"
        assert jobs.health()["jobs"]["inQueue"] == 1
        with pytest.raises(WaitTimeout):
            jobs.wait(first, timeout=0, cancel_on_timeout=True)
        with pytest.raises(JobCancelled):
            asyncio.run(AsyncJobs(made["id"], connection.api_key, url=url).wait(first))
        jobs.submit({"text": "Bonsoir"})
        assert jobs.purge_queue() == 1
        with pytest.raises(JobGone):
            jobs.cancel("unknown")
    finally:
        control.stop(tmp_path)
