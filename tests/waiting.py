"""Waiting for what other processes and threads do, without a guess at how long it takes them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

LONG = 120.0
"""Seconds: far more than anything takes, even beside other work on every core."""


def eventually(holds: Callable[[], Any], seconds: float = LONG, every: float = 0.02) -> Any:
    """What `holds` returned once it was true. Fails when that takes longer than `seconds`."""
    until = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < until, "it never came to hold"
        time.sleep(every)
    return found
