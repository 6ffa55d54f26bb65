"""A pod's log followed through all that the stream of the live service was seen to do."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from podkit.errors import ServerFault
from podkit.pods.logs import LogFollower, LogPosition, new_lines
from podkit.runpod.logs import LogLine


def line(ts: str, text: str, source: str = "container", event_id: str = "") -> LogLine:
    return LogLine(ts, source, text, event_id)


ONE = line("2026-11-21T12:00:01Z", "one")
TWO = line("2026-11-21T12:00:09Z", "two")
THREE = line("2026-11-21T12:00:09Z", "three")


class Service:
    """Streams that a test tells in advance; `asked` is where each was to go on from. The last one
    stays silent."""

    def __init__(self, *streams: list[LogLine] | Exception) -> None:
        self._streams = list(streams)
        self.asked: list[str] = []
        self.done = threading.Event()
        self.over = threading.Event()

    def open(self, resume_from: str) -> Iterator[LogLine]:
        self.asked.append(resume_from)
        if not self._streams:
            self.done.set()
            self.over.wait(5)
            return
        stream = self._streams.pop(0)
        if isinstance(stream, Exception):
            raise stream
        yield from stream


def followed(*streams: list[LogLine] | Exception) -> tuple[list[str], list[str], list[float]]:
    """The texts of the lines that a follower hands over, where it asked from, and its naps."""
    service = Service(*streams)
    naps: list[float] = []
    follower = LogFollower(service.open, naps.append)
    assert service.done.wait(5)
    texts = [one.text for one in follower.lines()]
    assert follower.lines() == []
    follower.close()
    service.over.set()
    return texts, service.asked, naps


def test_a_log_is_opened_again_from_a_little_before_its_last_line() -> None:
    fault = ServerFault("500", status=500)
    texts, asked, naps = followed([ONE, TWO], fault, [TWO, THREE])
    assert texts == ["one", "two", "three"]
    assert asked == ["", "2026-11-21T12:00:04Z", "2026-11-21T12:00:04Z", "2026-11-21T12:00:04Z"]
    assert naps == [2.0, 2.0, 2.0]


def test_lines_of_the_same_second_that_come_only_with_the_next_stream_are_not_lost() -> None:
    assert followed([TWO], [TWO, THREE])[0] == ["two", "three"]


def test_a_replay_is_dropped_but_the_same_text_at_another_time_or_source_is_not() -> None:
    again = line("2026-11-21T12:00:10Z", "one")
    host = line("2026-11-21T12:00:01Z", "one", "system")
    assert followed([ONE, ONE, TWO], [ONE, again, host])[0] == ["one", "two", "one", "one"]


def test_a_line_without_a_time_is_resumed_after_by_its_id() -> None:
    position = LogPosition()
    assert position.resume_from() == ""
    told = list(new_lines(lambda _: [line("", "one", event_id="7/1")], position))
    assert [one.text for one in told] == ["one"]
    assert position.resume_from() == "7/1"


def test_what_was_had_is_forgotten_in_time() -> None:
    position = LogPosition()
    assert position.is_new(ONE)
    for number in range(5000):
        position.is_new(line("2026-11-21T12:00:09Z", str(number)))
    assert position.is_new(ONE)


def test_a_closed_follower_stops_at_the_next_line() -> None:
    go = threading.Event()
    ended = threading.Event()

    def endless(_: str) -> Iterator[LogLine]:
        try:
            number = 0
            while go.wait(5):
                number += 1
                yield line("", str(number))
        finally:
            ended.set()

    follower = LogFollower(endless, lambda _: None)
    follower.close()
    go.set()
    assert ended.wait(5)
