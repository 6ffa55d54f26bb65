"""A log of a pod or worker, read as a stream that the service may hold open, or cut, any time.

Seen by other clients in autumn 2026: keep-alives hold a stream open while new lines come only to a
fresh request; ids are a bare timestamp of one second; a replay repeats lines. So who follows a log
opens it again by the clock, from a little before the last line, and drops what it has had.
"""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

import requests
import urllib3

from podkit.errors import Invalid
from podkit.events import Event, read_events
from podkit.runpod.answers import refusal
from podkit.runpod.http import Http, path_of

STREAM_SECONDS = 25.0
"""How long one stream is read before it is to be opened again."""
FIRST_SECONDS = 15.0
"""How long the first byte may take."""
QUIET_SECONDS = 2.5
"""What is quiet for so long has told all that it has, for now."""


@dataclass(frozen=True)
class LogLine:
    """One line of a pod's log: when (RFC 3339, empty if not told), `source` container or system,
    its text, and the event id to resume after."""

    ts: str
    source: str
    text: str
    event_id: str


class Logs(Http):
    """The calls for the log of a pod, or of an endpoint's worker."""

    def pod_log(
        self,
        pod_id: str,
        source: str,
        tail: int,
        last_event_id: str = "",
        *,
        brief: bool = False,
    ) -> Iterator[LogLine]:
        """The lines of the pod's log, `source` container or system, of which the last `tail` first.

        It ends when the stream is cut, at the latest after 25 s; a `brief` one also once nothing
        was told for 2.5 s, for which the first byte may take 15 s. `last_event_id` is the id, or a
        moment in RFC 3339, after which to go on; one that the service refuses is dropped.
        """
        path = path_of("pods", pod_id) + "/logs"
        return self._log(path, source, tail, last_event_id, brief)

    def worker_log(
        self,
        endpoint_id: str,
        worker_id: str,
        source: str,
        tail: int,
        last_event_id: str = "",
        *,
        brief: bool = False,
    ) -> Iterator[LogLine]:
        """The lines of a worker's log, as `pod_log` gives a pod's.

        They vanish some 2 minutes after the worker (seen by other clients, autumn 2026).
        """
        path = path_of("serverless", endpoint_id) + path_of("workers", worker_id) + "/logs"
        return self._log(path, source, tail, last_event_id, brief)

    def _log(
        self,
        path: str,
        source: str,
        tail: int,
        last_event_id: str,
        brief: bool,
    ) -> Iterator[LogLine]:
        try:
            response = self._open(path, source, tail, last_event_id)
        except Invalid:
            if not last_event_id:
                raise
            response = self._open(path, source, tail, "")
        stream = _Stream(response)
        events = stream.brief_events() if brief else stream.events()
        for event in events:
            yield _log_line(event, source)

    def _open(self, path: str, source: str, tail: int, last_event_id: str) -> requests.Response:
        headers = {"Accept": "text/event-stream"}
        if last_event_id:
            headers["Last-Event-ID"] = last_event_id
        response = self.send(
            "GET",
            path,
            seconds=STREAM_SECONDS,
            headers=headers,
            params={"source": source, "tail": str(tail)},
            stream=True,
        )
        if response.status_code != 200:
            with response:
                raise refusal("GET", path, response)
        return response


class _Stream:
    """The events of one response; a cut is its end."""

    def __init__(self, response: requests.Response) -> None:
        self._response = response
        self._told: queue.SimpleQueue[Event | str] = queue.SimpleQueue()
        self._left = threading.Event()

    def events(self) -> Iterator[Event]:
        cut = (requests.RequestException, urllib3.exceptions.HTTPError, OSError)
        with self._response as response, suppress(*cut):
            # a larger piece would wait for the next line to fill it
            yield from read_events(self._heard(response.iter_content(chunk_size=1)))

    def brief_events(self) -> Iterator[Event]:
        """The events until it is quiet. A thread reads, for keep-alives may come without end."""
        threading.Thread(target=self._pump, daemon=True).start()
        wait = FIRST_SECONDS
        try:
            with suppress(queue.Empty):
                while (told := self._told.get(timeout=wait)) != "end":
                    wait = QUIET_SECONDS
                    if isinstance(told, Event):
                        yield told
        finally:
            self._left.set()

    def _pump(self) -> None:
        for event in self.events():
            self._told.put(event)
        self._told.put("end")

    def _heard(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        first = True
        for piece in pieces:
            if first:
                self._told.put("byte")
            first = False
            if self._left.is_set():
                return
            yield piece


def _log_line(event: Event, source: str) -> LogLine:
    """The line in an event; what is no JSON of that shape is a line itself."""
    try:
        told = json.loads(event.data)
        text = str(told["line"])
        return LogLine(
            ts=str(told.get("ts") or ""),
            source=str(told.get("source") or source),
            text=text,
            event_id=event.id,
        )
    except (ValueError, KeyError, TypeError):
        return LogLine(ts="", source=source, text=event.data, event_id=event.id)
