"""What serves the chat page reaches the model alone, and answers no other site's page: as a process
of its own, around a page that tries.
"""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.ports import free_port
from tests.startup.local_pod import STARTUP
from tests.waiting import LONG

pytestmark = pytest.mark.slow

OWN = "http://127.0.0.1:8300"
"""The origin that the page has for browsers."""
PAGE = """
import asyncio, os, socket, subprocess, urllib.request

def attempt(kind, target):
    if kind == "connect":
        socket.create_connection(target, timeout=2).close()
    elif kind == "connect without a wait":
        socket.socket().connect_ex(target)
    elif kind == "datagram":
        socket.socket(type=socket.SOCK_DGRAM).sendto(b"x", target)
    elif kind == "look up":
        socket.getaddrinfo(*target)
    elif kind == "run":
        subprocess.run(["true"])
    elif kind == "system":
        os.system("true")

async def over_the_loop(target):
    _, writer = await asyncio.open_connection(*target)
    writer.close()

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        return
    kind, host, port = scope["query_string"].decode().replace("%20", " ").split(",")
    try:
        if kind == "loop":
            await over_the_loop((host, int(port)))
        else:
            attempt(kind, (host, int(port)))
        said = b"done"
    except OSError as error:
        said = type(error).__name__.encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": said})
"""


class Server:
    """page_server.py in front of PAGE; `model` is the port that it may connect to."""

    def __init__(self, folder: Path, model: int) -> None:
        (folder / "open_webui").mkdir()
        (folder / "open_webui/main.py").write_text(PAGE)
        self.log = folder / "log"
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        environment = {
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": str(folder),
            "OPENAI_API_BASE_URLS": f"http://127.0.0.1:{model}/v1",
            "CORS_ALLOW_ORIGIN": OWN,
        }
        program = [sys.executable, "-P", str(STARTUP / "page_server.py"), "127.0.0.1", str(port)]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(program, env=environment, stdout=log, stderr=log)

    def attempt(self, kind: str, port: int, host: str = "127.0.0.1") -> str:
        until = time.monotonic() + LONG
        while True:
            try:
                return requests.get(f"{self.url}/?{kind},{host},{port}", timeout=10).text
            except requests.ConnectionError:
                assert time.monotonic() < until, self.log.read_text()
                time.sleep(0.05)


@pytest.fixture
def model() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield int(listening.getsockname()[1])


@pytest.fixture
def other() -> Iterator[int]:
    """Something else that listens on this machine."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield int(listening.getsockname()[1])


@pytest.fixture
def server(tmp_path: Path, model: int) -> Iterator[Server]:
    server = Server(tmp_path, model)
    yield server
    server.process.kill()
    server.process.wait()


@pytest.mark.parametrize("kind", ["connect", "loop", "connect without a wait"])
def test_the_page_reaches_the_model_and_no_other_port(
    server: Server, model: int, other: int, kind: str
) -> None:
    assert server.attempt(kind, model) == "done"
    assert server.attempt(kind, other) == "Refused"
    assert f"the page tried to reach ('127.0.0.1', {other}): refused" in server.log.read_text()


@pytest.mark.parametrize("host", ["127.0.0.2", "169.254.169.254", "::1", "198.51.100.7"])
def test_the_page_reaches_no_other_machine_at_the_models_port(
    server: Server, model: int, host: str
) -> None:
    assert server.attempt("connect", model, host) == "Refused"
    assert server.attempt("loop", model, host) == "Refused"


def test_the_page_sends_no_datagram_and_looks_up_no_name(server: Server, other: int) -> None:
    assert server.attempt("datagram", other) == "Refused"
    assert server.attempt("look up", 443, "example.org") == "Refused"
    assert server.attempt("look up", 443, "localhost") == "Refused"
    assert server.attempt("look up", 443, "127.0.0.1") == "done"


@pytest.mark.parametrize("kind", ["run", "system"])
def test_the_page_starts_no_program(server: Server, kind: str) -> None:
    assert server.attempt(kind, 0) == "Refused"


def asked(server: Server, method: str = "GET", **headers: str) -> int:
    server.attempt("look up", 1)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    url = f"{server.url}/?look up,127.0.0.1,1"
    return requests.request(method, url, headers=named, timeout=10).status_code


def test_what_is_no_browser_is_answered(server: Server) -> None:
    assert asked(server) == 200
    assert asked(server, "POST") == 200


def test_the_page_itself_is_answered(server: Server) -> None:
    assert asked(server, "POST", Origin=OWN, Sec_Fetch_Site="same-origin") == 200
    assert asked(server, Sec_Fetch_Site="same-origin", Sec_Fetch_Dest="image") == 200
    assert asked(server, Sec_Fetch_Site="none", Sec_Fetch_Dest="document") == 200


def test_a_link_from_another_site_may_be_followed(server: Server) -> None:
    assert asked(server, Sec_Fetch_Site="cross-site", Sec_Fetch_Dest="document") == 200


@pytest.mark.parametrize("origin", ["https://other-3000.proxy.runpod.net", "null", f"{OWN}0"])
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_a_page_of_another_origin_is_refused(server: Server, method: str, origin: str) -> None:
    assert asked(server, method, Origin=origin) == 403


@pytest.mark.parametrize("kind", ["image", "iframe", "empty", "script"])
@pytest.mark.parametrize("site", ["same-site", "cross-site"])
def test_nothing_is_put_into_another_sites_page(server: Server, site: str, kind: str) -> None:
    assert asked(server, Sec_Fetch_Site=site, Sec_Fetch_Dest=kind) == 403


def test_a_form_of_another_site_is_refused_also_by_an_old_browser(server: Server) -> None:
    assert asked(server, "POST", Sec_Fetch_Site="cross-site", Sec_Fetch_Dest="document") == 403
    assert asked(server, "POST", Origin="https://elsewhere.example") == 403


def test_a_websocket_of_another_origin_is_refused(server: Server) -> None:
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    assert asked(server, Origin="https://elsewhere.example", **upgrade) == 403
