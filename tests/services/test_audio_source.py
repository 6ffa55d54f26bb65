"""Which addresses a worker may be sent to, and the pure parts of transcription."""

from __future__ import annotations

import http.client
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from .workers import SERVICES

sys.path[:0] = [str(SERVICES), str(SERVICES / "transcription/src")]

from audio_source import from_url  # noqa: E402
from subtitles import Segment, as_srt, as_vtt, repeats  # noqa: E402
from worker_core.refusals import Refusal  # noqa: E402

PUBLIC = "93.184.216.34"


class Files(BaseHTTPRequestHandler):
    """/audio is a file, /moved leads to it, /inside to a private host, /circle to itself."""

    def do_GET(self) -> None:
        moved = {
            "/moved": "/audio",
            "/inside": "https://inside.example/audio",
            "/circle": "/circle",
            "/plain": "http://files.example/audio",
        }
        if self.path in moved:
            self.send_response(302)
            self.send_header("Location", moved[self.path])
            self.end_headers()
            return
        self.send_response(200 if self.path == "/audio" else 404)
        self.end_headers()
        self.wfile.write(b"sound" * 1000)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def port() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Files)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


class Network:
    """Names with addresses of our choice; a connection to a public one ends at the local server."""

    def __init__(self, port: int, **addresses: list[str]) -> None:
        self._port = port
        self._addresses = addresses
        self.connected: list[str] = []

    def resolve(self, host: str) -> list[str]:
        return self._addresses[host.split(".")[0]]

    def connect(self, host: str, address: str, timeout: float) -> http.client.HTTPConnection:
        self.connected.append(address)
        return http.client.HTTPConnection("127.0.0.1", self._port, timeout=timeout)


def fetch(network: Network, url: str, **given: object) -> bytes:
    found: bytes = from_url(url, resolve=network.resolve, connect=network.connect, **given)
    return found


def test_a_public_file_is_read_through_a_redirect(port: int) -> None:
    network = Network(port, files=[PUBLIC])
    assert fetch(network, "https://files.example/moved") == b"sound" * 1000
    assert network.connected == [PUBLIC, PUBLIC]


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "::1",
        "fe80::1%eth0",
        "fd00::1",
        "::ffff:10.0.0.1",
        "64:ff9b::a00:1",
        "2002:a00:1::",
    ],
)
def test_no_address_inside_the_provider_is_connected_to(port: int, address: str) -> None:
    network = Network(port, files=[PUBLIC, address])
    with pytest.raises(Refusal, match="public internet"):
        fetch(network, "https://files.example/audio")
    assert network.connected == []


@pytest.mark.parametrize("path", ["inside", "plain", "circle", "absent"])
def test_a_redirect_is_checked_like_the_first_url(port: int, path: str) -> None:
    network = Network(port, files=[PUBLIC], inside=["10.0.0.1"])
    with pytest.raises(Refusal) as told:
        fetch(network, f"https://files.example/{path}")
    assert told.value.code == "bad-url"
    assert set(network.connected) == {PUBLIC}
    assert len(network.connected) <= 4


@pytest.mark.parametrize(
    "url",
    [
        "http://files.example/audio",
        "https://files.example:22/audio",
        "https://me:secret@files.example/audio",
        "https://files.example:port/",
        "https://",
        "ftp://files.example/audio",
    ],
)
def test_only_https_without_a_login_is_fetched(port: int, url: str) -> None:
    network = Network(port, files=[PUBLIC])
    with pytest.raises(Refusal) as told:
        fetch(network, url)
    assert "secret" not in told.value.message
    assert network.connected == []


def test_a_file_is_read_no_further_than_the_limits(port: int) -> None:
    network = Network(port, files=[PUBLIC])
    with pytest.raises(Refusal) as told:
        fetch(network, "https://files.example/audio", most_bytes=4_999)
    assert told.value.code == "too-long"
    hours = iter(range(0, 360_000, 3600))
    with pytest.raises(Refusal, match="was not read in"):
        fetch(network, "https://files.example/audio", clock=lambda: next(hours))


def test_a_sentence_said_over_and_over_is_kept_three_times() -> None:
    same = [Segment(number, number + 1, "Merci.") for number in range(3)]
    assert repeats(same, Segment(3, 4, "merci."))
    assert not repeats(same[:2], Segment(2, 3, "Merci."))
    assert not repeats(same, Segment(3, 4, "Au revoir."))


def test_subtitles_hold_what_a_cue_must_not() -> None:
    segments = [Segment(0, 3661.5, "a < b & c\n\n--> d"), Segment(3661.5, 3662.0004, "e")]
    assert as_srt(segments) == (
        "1\n00:00:00,000 --> 01:01:01,500\na < b & c -> d\n\n2\n01:01:01,500 --> 01:01:02,000\ne\n"
    )
    assert as_vtt(segments) == (
        "WEBVTT\n\n00:00:00.000 --> 01:01:01.500\na &lt; b &amp; c -> d\n\n"
        "01:01:01.500 --> 01:01:02.000\ne\n"
    )
