"""Serves Open WebUI so that who signs in to it, or gets into it, reaches the model and nothing
else.

Open WebUI has over a hundred places that call an address which its admin may choose, and some, like
reading a web page, that no setting closes. So its process may connect to the model's API only and
start no program, whatever its settings become. It also answers no page of another site: all pods
have the same site, so a cookie's SameSite does not help.
Run by Open WebUI's own Python: page_server.py HOST PORT.
"""

import importlib
import ipaddress
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

CONNECTS = {"socket.connect", "socket.sendto", "socket.sendmsg"}
"""Python's audit events of a socket that reaches out; the second argument is the address."""
RESOLVES = {"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"}
"""Those of a name that is looked up, which tells a name server what is asked for; the first
argument is the name.
"""
STARTS = {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty"}


class Refused(ConnectionRefusedError):
    """What the page tried and may not."""


def connect_only_to(api_url: str) -> None:
    """From now on this process connects to the host and port of `api_url` only, and looks up no
    name.

    An audit hook cannot be removed (Python, PEP 578). uvloop would go around it: nothing here may
    use that.
    """
    url = urlsplit(api_url)
    model = (url.hostname, url.port)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in CONNECTS and arguments[1] is not None and arguments[1][:2] != model:
            refuse(f"reach {arguments[1]}")
        if event in RESOLVES and not _is_address(arguments[0]):
            refuse(f"look up {arguments[0]}")

    sys.addaudithook(hook)


def start_no_program() -> None:
    """From now on. Not before Open WebUI is imported: one of its libraries asks `uname` then."""

    def hook(event: str, _: tuple[Any, ...]) -> None:
        if event in STARTS:
            refuse(f"start a program ({event})")

    sys.addaudithook(hook)


def refuse(attempt: str) -> None:
    print(f"podkit: the page tried to {attempt}: refused", flush=True)
    raise Refused(f"the page may not {attempt}")


def _is_address(host: Any) -> bool:
    """Whether nobody has to be asked where `host` is."""
    if host is None:
        return True
    try:
        ipaddress.ip_address(host.decode() if isinstance(host, bytes) else host)
    except ValueError:
        return False
    return True


class OwnPagesOnly:
    """ASGI class: what a page of another origin asks for is refused, whatever cookies it comes
    with.

    Browsers say in Origin and in Sec-Fetch-Site (fetch standard) who asks. Following a link to the
    page is allowed. Programs that are no browser send neither header.
    """

    def __init__(self, app: App, origin: str) -> None:
        self._app = app
        self._origin = origin.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and self._is_foreign(scope):
            headers = [(b"content-type", b"text/plain")]
            await send({"type": "http.response.start", "status": 403, "headers": headers})
            await send({"type": "http.response.body", "body": b"asked for by another site's page"})
        elif scope["type"] == "websocket" and self._is_foreign(scope):
            await send({"type": "websocket.close", "code": 1008})
        else:
            await self._app(scope, receive, send)

    def _is_foreign(self, scope: Scope) -> bool:
        headers = dict(scope["headers"])
        if headers.get(b"origin", self._origin) != self._origin:
            return True
        if headers.get(b"sec-fetch-site") not in (b"same-site", b"cross-site"):
            return False
        is_link = headers.get(b"sec-fetch-dest") == b"document" and scope.get("method") == "GET"
        return not is_link


def main(host: str, port: int) -> None:
    connect_only_to(os.environ["OPENAI_API_BASE_URLS"])
    app = importlib.import_module("open_webui.main").app
    start_no_program()
    # As its own command serves it, but for asyncio's loop.
    importlib.import_module("uvicorn").run(
        OwnPagesOnly(app, os.environ["CORS_ALLOW_ORIGIN"]),
        host=host,
        port=port,
        loop="asyncio",
        forwarded_allow_ips="*",
    )


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
