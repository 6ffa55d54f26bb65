"""Event streams: the same events however the bytes are cut."""

from __future__ import annotations

import pytest

from podkit.events import Event, read_events

STREAM = (
    "\ufeff: keep-alive\n\n"
    "id: 1\nevent: log\ndata: one\ndata:two\n\n"
    ":\r\n\r\n"
    "data: zwölf\r\n\r\n"
    "retry: 5\rid:2\rdata\r\r"
    "\n: comment\n\n\n"
    "data: never told"
).encode()
EVENTS = [Event("one\ntwo", "log", "1"), Event("zwölf", "", "1"), Event("", "", "2")]


@pytest.mark.parametrize("size", [1, 2, 3, 7, len(STREAM)])
def test_a_stream_gives_the_same_events_in_pieces_of_any_size(size: int) -> None:
    pieces = [STREAM[at : at + size] for at in range(0, len(STREAM), size)]
    assert list(read_events(pieces)) == EVENTS


def test_keep_alives_alone_are_no_events() -> None:
    assert list(read_events([b": ping\n\n"] * 3)) == []


def test_an_event_that_breaks_off_is_not_handed_on() -> None:
    assert list(read_events([b"data: whole\n\n", b'data: {"half":'])) == [Event("whole")]


def test_an_event_is_told_before_the_next_bytes_are_asked_for() -> None:
    asked = []

    def pieces() -> object:
        for piece in (b"data: one\n", b"\n", b"data: two\n\n"):
            asked.append(piece)
            yield piece

    assert next(read_events(pieces())) == Event("one")  # type: ignore[arg-type]
    assert len(asked) == 2
