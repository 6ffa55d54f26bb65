"""Log lines for tests, each of a moment of its own."""

from __future__ import annotations

import itertools
from datetime import timedelta

from podkit.runpod.logs import LogLine
from tests.podkit.samples import CREATED

_seconds = itertools.count()


def told(*texts: str, source: str = "container") -> list[LogLine]:
    """Lines that come one second after another."""
    return [LogLine(moment(next(_seconds)), source, text, "") for text in texts]


def moment(seconds: float) -> str:
    """The time of a line, so long after the sample pod was made."""
    return f"{CREATED + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%SZ}"
