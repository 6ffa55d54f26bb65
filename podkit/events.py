"""The one parser of event streams: bytes in any pieces become events.

The format is the HTML standard's "server-sent events". Comment lines, which servers send to keep a
connection open, are skipped. An event that the stream breaks off is never handed on.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

LINE_END = re.compile(rb"\r\n|\n|\r(?!\Z)")
"""A carriage return at the very end may be the first half of a pair that is still to come."""


@dataclass(frozen=True)
class Event:
    """One event: its data, whose lines are joined by line feeds; its name, empty if it has none;
    and the last id that the stream gave, to resume from."""

    data: str
    name: str = ""
    id: str = ""


def read_lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The whole lines of a stream that comes in any pieces, without their ends."""
    waiting = bytearray()
    for piece in pieces:
        waiting += piece
        if b"\n" not in piece and b"\r" not in waiting:
            continue
        *lines, rest = LINE_END.split(bytes(waiting))
        yield from lines
        waiting = bytearray(rest)
    if waiting.endswith(b"\r"):
        yield bytes(waiting[:-1])


def read_events(pieces: Iterable[bytes]) -> Iterator[Event]:
    """The events of a stream, each as soon as its last line is there."""
    data: list[str] = []
    name = ""
    event_id = ""
    for line in read_lines(pieces):
        if not line:
            if data:
                yield Event("\n".join(data), name, event_id)
            data = []
            name = ""
            continue
        field, _, value = line.decode("utf-8", "replace").removeprefix("\ufeff").partition(":")
        value = value.removeprefix(" ")
        if field == "data":
            data.append(value)
        elif field == "event":
            name = value
        elif field == "id":
            event_id = value
