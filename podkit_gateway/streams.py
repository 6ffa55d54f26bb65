"""Server-sent events as bytes: the usage in them found, one event taken out, a stream folded into
one answer. Pure.

Bytes are passed on as they came; only the event that the client did not ask for is missing.
"""

from __future__ import annotations

import json
import re
from typing import Any

from podkit_gateway.domain import Tokens

TAIL = 4096
"""Bytes of an answer's end that are kept to find the usage in."""
LARGEST_EVENT = 1024 * 1024
"""Bytes after which an event is passed on although its end has not come."""
MOST_TOKENS = 10**9
USAGE = re.compile(rb'"usage"\s*:\s*(?=\{)')
NO_CHOICES = re.compile(rb'"choices"\s*:\s*\[\s*\]')
KEEP_ALIVE = b": keep-alive\n\n"
"""A comment: a whole event that clients skip."""


def end_of_events(data: bytes) -> int:
    """The position after the last whole event in `data`; 0 if there is none."""
    return max(data.rfind(b"\n\n") + 2 if b"\n\n" in data else 0, after(data, b"\n\r\n"))


def after(data: bytes, mark: bytes) -> int:
    found = data.rfind(mark)
    return 0 if found < 0 else found + len(mark)


def split_events(data: bytes) -> list[bytes]:
    """Whole events, each with the empty line that ends it."""
    return re.findall(rb".*?(?:\n\n|\n\r\n)", data, re.DOTALL)


def is_usage_event(event: bytes) -> bool:
    """Whether this is the last chunk that `include_usage` adds: usage, and no choices."""
    if not event.lstrip().startswith(b"data:") or not NO_CHOICES.search(event):
        return False
    try:
        chunk = json.loads(event.split(b"data:", 1)[1])
    except ValueError:
        return False
    return isinstance(chunk, dict) and chunk.get("choices") == [] and bool(chunk.get("usage"))


def find_usage(tail: bytes) -> Tokens:
    """The usage that the end of an answer reports; `counted` is `none` if it reports none."""
    place = tail.rfind(b'"usage"')
    while place >= 0:
        match = USAGE.match(tail, place)
        if match is not None:
            return parse_usage(tail[match.end() :])
        place = tail.rfind(b'"usage"', 0, place)
    return Tokens()


def parse_usage(data: bytes) -> Tokens:
    """The usage in the object that `data` begins with."""
    try:
        usage, _end = json.JSONDecoder().raw_decode(data.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return Tokens()
    return read_usage(usage)


def read_usage(usage: dict[str, Any]) -> Tokens:
    details = usage.get("prompt_tokens_details") or {}
    return Tokens(
        prompt=count(usage.get("prompt_tokens")),
        completion=count(usage.get("completion_tokens")),
        cached=count(details.get("cached_tokens")) if isinstance(details, dict) else 0,
        counted="reported",
    )


def count(value: object) -> int:
    """A number of tokens; 0 for what can be none, which a database could not hold."""
    return value if isinstance(value, int) and 0 < value <= MOST_TOKENS else 0


class Passage:
    """A stream on its way to the client: what goes on, and what its end tells of usage."""

    def __init__(self, *, swallow_usage: bool) -> None:
        self._swallow = swallow_usage
        self._held = b""
        self._tail = b""
        self._swallowed = b""
        self._events = 0
        self.between_events = True
        """Whether a comment may be put into the stream now."""

    def feed(self, piece: bytes) -> bytes:
        """What the client gets for this piece; empty while an event is not whole."""
        data = self._held + piece if self._swallow else piece
        if self._swallow:
            end = end_of_events(data)
            if not end and len(data) > LARGEST_EVENT:
                end = len(data)
            self._held = data[end:]
            data = data[:end]
            if b'"usage"' in data and NO_CHOICES.search(data):
                data = self._take_out(data)
        self._events += data.count(b"\n\n")
        self._tail = (self._tail + data)[-TAIL:]
        self.between_events = self._tail.endswith((b"\n\n", b"\n\r\n")) or not self._tail
        return data

    def finish(self) -> bytes:
        """What is left when the backend has said all."""
        rest = self._held
        self._held = b""
        return rest

    def tokens(self, *, whole: bool) -> Tokens:
        """The usage of what has passed: reported, or the number of chunks if a stream was cut."""
        found = find_usage(self._swallowed or self._tail)
        if found.counted == "none" and not whole:
            return Tokens(completion=self._events, counted="estimated")
        return found

    def _take_out(self, data: bytes) -> bytes:
        kept = []
        for event in split_events(data):
            if is_usage_event(event):
                self._swallowed = event
            else:
                kept.append(event)
        return b"".join(kept)
