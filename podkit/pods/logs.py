"""A pod's log, followed for as long as somebody waits, whatever the stream does.

Seen on the live service in October 2026: a stream is held open by keep-alives while new lines come
only to a fresh request; the cursor is a moment of whole seconds, and exclusive; a replay repeats
lines. So a stream ends by the clock (podkit/runpod/logs.py), the next one begins a little before
the last line, and what was had already is dropped."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta

from podkit.errors import ApiError
from podkit.runpod.logs import LogLine
from podkit.runpod.types import parse_time

OVERLAP = timedelta(seconds=5)
"""How long before its last line a log is opened again."""
REOPEN_SECONDS = 2.0
REMEMBERED_LINES = 5000
"""The most that the API replays at once (API document of 2026-08-20: `tail`)."""
OpenLog = Callable[[str], Iterable[LogLine]]
"""Takes the event id, or the moment in RFC 3339, after which to go on; empty: from the log's last
lines on."""


class LogPosition:
    """How far a log has been read: what was had of it, and where to go on."""

    def __init__(self) -> None:
        self._order: deque[tuple[str, str, str]] = deque()
        self._had: set[tuple[str, str, str]] = set()
        self._last: LogLine | None = None

    def is_new(self, line: LogLine) -> bool:
        """Whether this line of this moment was not had before; from now on it was."""
        mark = (line.ts, line.source, line.text)
        if mark in self._had:
            return False
        self._had.add(mark)
        self._order.append(mark)
        if len(self._order) > REMEMBERED_LINES:
            self._had.discard(self._order.popleft())
        self._last = line
        return True

    def resume_from(self) -> str:
        """A moment shortly before the last line, its event id where it has no time, or empty at the
        beginning."""
        if self._last is None:
            return ""
        moment = parse_time(self._last.ts)
        if moment is None:
            return self._last.event_id
        return (moment - OVERLAP).strftime("%Y-%m-%dT%H:%M:%SZ")


def new_lines(open_log: OpenLog, position: LogPosition) -> Iterator[LogLine]:
    """What one stream brings beyond `position`. Raises ApiError if the log cannot be opened."""
    for line in open_log(position.resume_from()):
        if position.is_new(line):
            yield line


class LogFollower:
    """Follows one log of a pod in a thread of its own. `lines()` hands over what came since the
    last call."""

    def __init__(self, open_log: OpenLog, sleep: Callable[[float], None]) -> None:
        self._open_log = open_log
        self._sleep = sleep
        self._queue: queue.SimpleQueue[LogLine] = queue.SimpleQueue()
        self._closed = False
        threading.Thread(target=self._follow, daemon=True).start()

    def lines(self) -> list[LogLine]:
        return [self._queue.get_nowait() for _ in range(self._queue.qsize())]

    def close(self) -> None:
        self._closed = True

    def _follow(self) -> None:
        position = LogPosition()
        while not self._closed:
            try:
                for line in new_lines(self._open_log, position):
                    if self._closed:
                        return
                    self._queue.put(line)
            except ApiError:
                pass  # the log is a comfort; the probes decide
            self._sleep(REOPEN_SECONDS)
