"""What changing an endpoint needs of the world outside: all of it arguments, none of it global."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from podkit.errors import ApiError, RateLimited
from podkit.jobs import Jobs
from podkit.runpod.client import RunpodClient
from podkit.runpod.endpoint_types import Endpoint
from podkit.serverless.history import History

POLL_SECONDS = 5.0
"""Between two looks: the control API is asked no more often (documentation, 2026)."""
TRIES = 5
MOST_WAIT_SECONDS = 60.0


@dataclass(frozen=True)
class World:
    """The API, the jobs of an endpoint by its id, and this machine.

    `environment` is what `${NAME}` stands for. `new_nonce` gives a text that no other create has.
    `tell` is say() for programs: an event's name and fields. `note` keeps what a command that fails
    or is interrupted says of what it leaves; empty for nothing. `held` puts a signal off while a
    request is on its way.
    """

    client: RunpodClient
    jobs: Callable[[str], Jobs]
    history: History
    environment: Mapping[str, str] = field(repr=False)
    new_nonce: Callable[[], str]
    say: Callable[[str], None]
    tell: Callable[[str, Mapping[str, Any]], None]
    note: Callable[[str], None]
    held: Callable[[], AbstractContextManager[None]]


def send_once(world: World, send: Callable[[], Endpoint]) -> Endpoint:
    """What `send` returns; sent again only where the API has refused for want of time."""
    for _ in range(TRIES - 1):
        try:
            return send()
        except RateLimited as error:
            wait = error.retry_after or POLL_SECONDS
            if error.unclear or wait > MOST_WAIT_SECONDS:
                raise
            world.say(f"too many requests; going on in {wait:.0f} s")
            world.client.sleep(wait)
    return send()


def why(error: ApiError) -> str:
    """The error within another sentence."""
    return error.message.rstrip(".")
