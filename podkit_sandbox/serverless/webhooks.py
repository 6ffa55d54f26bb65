"""Tells a job's webhook that the job has ended. A webhook that fails does not fail its job."""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import requests

REPEAT_SECONDS = (5.0, 10.0)  # after which an unanswered call is made again: seen after 5 and 15 s
TIMEOUT_SECONDS = 10.0


class Webhooks:
    """Calls webhooks in the background; of one event loop."""

    def __init__(self) -> None:
        self._calls: set[asyncio.Task[None]] = set()

    def call(self, ended: Iterable[tuple[str, dict[str, Any]]]) -> None:
        """Begins to call each of these addresses with its job."""
        for url, job in ended:
            task = asyncio.create_task(_deliver(url, job))
            self._calls.add(task)
            task.add_done_callback(self._calls.discard)

    async def close(self) -> None:
        """Gives up what is not delivered."""
        for task in self._calls:
            task.cancel()
        await asyncio.gather(*self._calls, return_exceptions=True)


async def _deliver(url: str, job: dict[str, Any]) -> None:
    for pause in (*REPEAT_SECONDS, 0.0):
        if await asyncio.to_thread(_post, url, job):
            return
        await asyncio.sleep(pause)


def _post(url: str, job: dict[str, Any]) -> bool:
    """Whether the webhook took the job."""
    with suppress(requests.RequestException):
        answer = requests.post(url, json=job, timeout=TIMEOUT_SECONDS, allow_redirects=False)
        return 200 <= answer.status_code < 300
    return False
