"""Every request has an end, whatever dribbles in meanwhile."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from podkit import errors
from podkit.runpod import http, pods
from tests.podkit.samples import Clock, client_at

BODY = {"name": "podkit-olmocr-0a1b2c", "image": "an/image:1"}
HEAD = b"HTTP/1.1 201 Created\r\nContent-Length: 100000\r\n\r\n"


class Dripping:
    """A server that sends `start` and then one byte every 20 ms, until it is closed."""

    def __init__(self, start: bytes) -> None:
        self._over = threading.Event()
        self._start = start
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}/v2"
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._over.set()
        self._listening.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                sock = self._listening.accept()[0]
                threading.Thread(target=self._drip, args=[sock], daemon=True).start()

    def _drip(self, sock: socket.socket) -> None:
        with sock, suppress(OSError):
            sock.recv(65_536)
            sock.sendall(self._start)
            while not self._over.wait(0.02):
                sock.sendall(b"x")


@pytest.fixture(
    params=[HEAD, b"HTTP/1.1 201 Created\r\nX-Padding: ", b""], ids=["body", "head", "all"]
)
def dripping(request: pytest.FixtureRequest) -> Iterator[Dripping]:
    server = Dripping(request.param)
    yield server
    server.close()


def test_a_create_whose_answer_drips_ends_and_is_unclear(
    dripping: Dripping, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pods, "CREATE_SECONDS", 0.3)
    started = time.monotonic()
    with pytest.raises(errors.Unreachable) as caught:
        client_at(dripping.url, clock).create_pod(BODY)
    assert caught.value.unclear
    assert time.monotonic() - started < 20


def test_a_read_whose_answer_drips_ends(dripping: Dripping, clock: Clock) -> None:
    client = client_at(dripping.url, clock)
    with pytest.raises(errors.Unreachable):
        client.request("GET", "/pods", seconds=0.3)


def test_a_connection_is_used_again_after_its_time_has_passed(clock: Clock) -> None:
    """A cut that was meant for one answer must not hit the next one on the same connection."""
    server = socket.create_server(("127.0.0.1", 0))
    connections: list[socket.socket] = []

    def serve() -> None:
        with suppress(OSError):
            while True:
                sock = server.accept()[0]
                connections.append(sock)
                while sock.recv(65_536):
                    sock.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n{"pods":[]}')

    threading.Thread(target=serve, daemon=True).start()
    client = client_at(f"http://127.0.0.1:{server.getsockname()[1]}/v2", clock)
    with server:
        client.request("GET", "/pods", seconds=0.2)
        client.request("GET", "/pods", seconds=60)
        time.sleep(0.3)  # the first one's time has passed on a real socket's clock
        assert client.request("GET", "/pods", seconds=60) == {"pods": []}
        assert len(connections) == 1
        for sock in connections:
            sock.close()


def test_reads_end_after_a_minute_and_creates_after_three() -> None:
    assert (http.ANSWER_SECONDS, http.CREATE_SECONDS) == (60, 180)
