"""Ports for servers that tests start."""

from __future__ import annotations

import itertools
import os

from podkit_sandbox.containers import is_free

_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_numbers = itertools.count(30_200 + 400 * _WORKER)
"""Above those that sandboxes begin at, below those that the system gives to whoever wants any."""


def free_port() -> int:
    """A port that is free, and that no other test of this run is given."""
    return next(filter(is_free, _numbers))
