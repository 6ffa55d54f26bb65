"""Ports for servers that tests start."""

from __future__ import annotations

import itertools
import os
import socket
from contextlib import suppress

_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_numbers = itertools.count(30_200 + 400 * _WORKER)
"""Above those that sandboxes begin at, below those that the system gives to whoever wants any."""


def free_port() -> int:
    """A port that is free, and that no other test of this run is given."""
    return next(filter(_is_free, _numbers))


def _is_free(port: int) -> bool:
    with suppress(OSError), socket.create_server(("127.0.0.1", port)):
        return True
    return False
