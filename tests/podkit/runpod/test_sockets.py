"""The client over real sockets: who gets to see the key, and answers that break off."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests

from podkit import errors
from tests.podkit.samples import KEY, Clock, client_at

BODY = {"name": "podkit-olmocr-0a1b2c", "image": "an/image:1"}


class Loopback:
    """A real server on this machine; `answer` writes to the open socket,
    `seen` are the requests' headers.
    """

    def __init__(self) -> None:
        self.seen: list[dict[str, str]] = []
        self.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n" + b'{"pods":[]}'
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def handle_one_request(self) -> None:
                self.raw_requestline = self.rfile.readline()
                if self.raw_requestline and self.parse_request():
                    outer.seen.append({**self.headers, "path": self.path})
                    self.rfile.read(int(self.headers.get("Content-Length", 0)))
                    self.wfile.write(outer.answer)
                self.close_connection = True

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v2"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()


@pytest.fixture
def loopback() -> Iterator[Loopback]:
    server = Loopback()
    yield server
    server.server.shutdown()
    server.server.server_close()


def test_a_netrc_does_not_replace_the_key(loopback: Loopback, clock: Clock, tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text(
        "machine 127.0.0.1 login other password other\ndefault login o password o\n"
    )
    (tmp_path / ".netrc").chmod(0o600)
    assert requests.get(f"{loopback.url}/pods", timeout=5).ok
    client_at(loopback.url, clock).list_pods()
    without, ours = (headers.get("Authorization") for headers in loopback.seen)
    assert str(without).startswith("Basic")  # the file is in force for a bare request
    assert ours == f"Bearer {KEY}"


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
def test_a_proxy_is_not_asked_for_what_is_on_this_machine(
    loopback: Loopback, clock: Clock, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "http://127.0.0.1:9")
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{loopback.url}/pods", timeout=5)
    assert client_at(loopback.url, clock).list_pods() == []


CUT: list[Callable[[bytes], bytes]] = [
    lambda whole: whole[:-4],
    lambda _: b"",
    lambda _: b'HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n{"pods"',
    lambda _: b"not http at all\r\n\r\n",
]


@pytest.mark.parametrize("cut", CUT, ids=["body", "all", "chunk", "noise"])
def test_an_answer_that_breaks_off_is_a_broken_connection(
    loopback: Loopback, clock: Clock, cut: Callable[[bytes], bytes]
) -> None:
    loopback.answer = cut(loopback.answer)
    client = client_at(loopback.url, clock)
    with pytest.raises(errors.Unreachable, match="GET /pods: the connection broke"):
        client.list_pods()
    assert len(loopback.seen) == 5
    with pytest.raises(errors.Unreachable) as caught:
        client.create_pod(BODY)
    assert caught.value.unclear
    assert len(loopback.seen) == 6


def test_a_port_that_nobody_listens_on_proves_that_nothing_was_made(clock: Clock) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v2"
    with pytest.raises(errors.Unreachable, match="POST /pods: no connection") as caught:
        client_at(url, clock).create_pod(BODY)
    assert not caught.value.unclear
