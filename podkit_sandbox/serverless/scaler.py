"""How many workers an endpoint should have. Pure: what it knows is in its arguments."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Load:
    """What waits and runs; `oldest_wait` is in seconds, since the last added worker at most."""

    queued: int
    running: int
    oldest_wait: float


def wanted_workers(
    scaling: Mapping[str, Any],
    limits: Mapping[str, int],
    load: Load,
    living: int,
) -> int:
    """The number of workers to have, between the limits' `min` and `max`.

    With QUEUE_DELAY it is one at once for the first job, and one more each time that the oldest
    job has waited for `queueDelay` seconds; with REQUEST_COUNT one for so many requests.
    It never asks for fewer than live: idle workers end by their idle time-out.
    """
    wanted = living
    if scaling["type"] == "REQUEST_COUNT":
        requests = load.queued + load.running
        wanted = max(living, math.ceil(requests / scaling["requestCount"]))
    elif load.queued and living == 0:
        wanted = 1
    elif load.queued and load.oldest_wait >= scaling["queueDelay"]:
        wanted = living + 1
    return min(max(wanted, limits["min"]), limits["max"])
