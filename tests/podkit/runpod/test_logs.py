"""A pod's log as a stream: its lines, its ends, and what is resumed from."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests_mock as mocking

from podkit import errors
from podkit.runpod import logs
from podkit.runpod.client import RunpodClient
from podkit.runpod.logs import LogLine
from tests.podkit.samples import API, POD, Clock, client_at, problem

LOG = f"{API}/pods/{POD['id']}/logs"
LAST = "2026-06-01T12:02:03Z"
STREAM = (
    'id: 1/0\ndata: {"ts":"t","source":"container","line":"first: one"}\n\n'
    ': a comment\n\nid: 1/1\r\ndata: {"ts":"t","line":"zwölf"}\r\n\r\ndata: not json\n\n'
)
LINES = [
    LogLine("t", "container", "first: one", "1/0"),
    LogLine("t", "system", "zwölf", "1/1"),
    LogLine("", "system", "not json", "1/1"),
]


@pytest.mark.parametrize("brief", [False, True])
def test_a_log_is_lines_with_what_is_needed_to_resume(
    api: mocking.Mocker, client: RunpodClient, brief: bool
) -> None:
    api.get(LOG, content=STREAM.encode())
    assert list(client.pod_log(POD["id"], "system", 50, LAST, brief=brief)) == LINES
    assert api.request_history[-1].qs == {"source": ["system"], "tail": ["50"]}
    assert api.request_history[-1].headers["Last-Event-ID"] == LAST
    assert api.request_history[-1].headers["Accept"] == "text/event-stream"
    timeout: object = api.request_history[-1].timeout
    assert timeout == (10.0, 25.0)
    list(client.pod_log(POD["id"], "system", 50))
    assert "Last-Event-ID" not in api.request_history[-1].headers


def test_a_log_that_is_refused_is_an_error(api: mocking.Mocker, client: RunpodClient) -> None:
    api.get(LOG, **problem(404))
    with pytest.raises(errors.NotFound):
        list(client.pod_log(POD["id"], "system", 50))


def test_an_id_that_the_log_refuses_is_dropped(api: mocking.Mocker, client: RunpodClient) -> None:
    api.get(LOG, [problem(422, "Last-Event-ID: not a date-time"), {"content": STREAM.encode()}])
    assert list(client.pod_log(POD["id"], "system", 50, LAST)) == LINES
    assert "Last-Event-ID" not in api.request_history[-1].headers


def test_a_request_that_is_refused_without_an_id_is_not_repeated(
    api: mocking.Mocker, client: RunpodClient
) -> None:
    api.get(LOG, **problem(422))
    with pytest.raises(errors.Invalid):
        list(client.pod_log(POD["id"], "system", 50))
    assert api.call_count == 1


class LogServer:
    """Sends one line and then keep-alives without end, until it is closed."""

    def __init__(self) -> None:
        self.over = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.end_headers()
                self.wfile.write(b'id: 1\ndata: {"ts":"t","source":"container","line":"one"}\n\n')
                while not outer.over.wait(0.02):
                    self.wfile.write(b": keep-alive\n\n")

            def log_message(self, *_: object) -> None:
                """Says nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/v2"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()


@pytest.fixture
def kept_alive() -> Iterator[LogServer]:
    server = LogServer()
    yield server
    server.over.set()
    server.server.shutdown()
    server.server.server_close()


def test_keep_alives_do_not_hold_a_brief_look_at_a_log(
    kept_alive: LogServer, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "QUIET_SECONDS", 0.1)
    lines = client_at(kept_alive.url, clock).pod_log("p1", "container", 5, brief=True)
    assert [line.text for line in lines] == ["one"]


def test_keep_alives_do_not_hold_a_stream_beyond_its_time(
    kept_alive: LogServer, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "STREAM_SECONDS", 0.3)
    lines = client_at(kept_alive.url, clock).pod_log("p1", "container", 5)
    assert [line.text for line in lines] == ["one"]
