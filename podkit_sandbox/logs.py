"""A log as server-sent events, also in the misleading ways that were recorded of it (2026)."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from podkit_sandbox.routing import Request
from podkit_sandbox.scenario import Drawn
from podkit_sandbox.shapes import parse_moment
from podkit_sandbox.wire import Answer, Problem, timestamp

Line = tuple[float, str, str]
"""Its moment in seconds since 1970, its source (container or system), its text."""
REPEATED_LINES = 3
STREAM_HEADERS = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-cache",
    "X-Accel-Buffering": "no",
}


@dataclass(frozen=True)
class Log:
    """The lines of a pod or worker, which only grow, and whether it has ended."""

    lines: list[Line]
    is_ended: Callable[[], bool]
    clock: Callable[[], float]


def stream_log(log: Log, request: Request) -> Answer:
    """What there is, then what comes, until the pod has ended. Raises Problem 422."""
    query = request.query()
    seen = request.call.headers.get("last-event-id", "")
    if seen and "log-id-refused" in request.drawn:
        raise Problem(422, "Request validation failed.", ["Last-Event-ID: not understood"])
    start = _start(log, request, query)
    events = _events(log, request, query.get("source"), start)
    return Answer(200, STREAM_HEADERS, next(events), more=events)


def _start(log: Log, request: Request, query: dict[str, object]) -> int:
    """The index of the first line to send."""
    seen = request.call.headers.get("last-event-id", "")
    by_second = "log-seconds" in request.drawn
    start = None
    if seen:
        start = _after(log, seen, by_second)
    elif "since" in query:
        start = _first_from(log, parse_moment(str(query["since"])))
    if start is None:
        return _tail(log, query)
    if "log-replay" in request.drawn:
        return max(0, start - REPEATED_LINES)
    return start


def _after(log: Log, seen: str, by_second: bool) -> int:
    """The first line after the event of that id. Raises Problem 422."""
    moment, _, number = seen.partition("/")
    try:
        at = parse_moment(moment)
    except (ValueError, OverflowError) as error:
        raise Problem(422, "Request validation failed.", [f"Last-Event-ID: {error}"]) from None
    if re.fullmatch(r"\d{1,9}", number, re.ASCII):
        return int(number) + 1
    if by_second:  # the cursor excludes its whole second
        return _first_from(log, int(at) + 1)
    return _first_from(log, at + 0.001)


def _first_from(log: Log, at: float) -> int:
    for number, line in enumerate(log.lines):
        if line[0] >= at:
            return number
    return len(log.lines)


def _tail(log: Log, query: dict[str, object]) -> int:
    """Where the last `tail` lines of the source begin."""
    left = int(str(query.get("tail", 100)))
    source = query.get("source")
    start = len(log.lines)
    for number in reversed(range(len(log.lines))):
        if left == 0:
            break
        if source in (None, log.lines[number][1]):
            start = number
            left -= 1
    return start


def _events(log: Log, request: Request, source: object, start: int) -> Iterator[bytes]:
    """The stream's pieces, b"" for nothing new; each is asked for when the one before was sent."""
    drawn = request.drawn
    begun = log.clock()
    numbers = [n for n in range(start, len(log.lines)) if source in (None, log.lines[n][1])]
    after = len(log.lines)
    if "log-replay" in drawn:
        half = len(numbers) // 2
        yield _write(log, numbers[:half], drawn)
        resumed_at = log.clock() + drawn.seconds("log-replay")
        while log.clock() < resumed_at:
            yield b""
        numbers = numbers[max(0, half - REPEATED_LINES) :]
    yield _write(log, numbers, drawn)
    if "log-silent" in drawn:
        yield from _keepalives(log, begun, drawn.seconds("log-silent"))
        return
    while True:
        was_ended = log.is_ended()
        new = [n for n in range(after, len(log.lines)) if source in (None, log.lines[n][1])]
        after = len(log.lines)
        yield _write(log, new, drawn)
        if was_ended:
            return


def _keepalives(log: Log, sent_at: float, seconds: float) -> Iterator[bytes]:
    """Nothing but comments: new lines come only to a fresh request."""
    while not log.is_ended():
        if log.clock() < sent_at + seconds:
            yield b""
        else:
            sent_at = log.clock()
            yield b": keepalive\n\n"


def _write(log: Log, numbers: list[int], drawn: Drawn) -> bytes:
    text = ""
    for number in numbers:
        at, source, line = log.lines[number]
        id = f"{timestamp(at)}/{number}"
        if "log-seconds" in drawn:
            id = timestamp(int(at)).replace(".000Z", "Z")
        data = json.dumps({"ts": timestamp(at), "source": source, "line": line})
        text += f"id: {id}\ndata: {data}\n\n"
    return text.encode()
