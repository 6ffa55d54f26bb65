"""The public HTTP proxy of one endpoint: a loopback port that carries bytes to a pod's port.

Must never look inside what it carries: websockets, event streams and keep-alive pass. 502 until the service listens;
524 when a request has had no answer byte for `limit` seconds.
"""

import asyncio
import socket
from collections.abc import Callable
from contextlib import closing, suppress

from podkit_sandbox.wire import answer_html

LIMIT_SECONDS = 100.0  # the provider's
CHUNK = 65_536
Side = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Proxy:
    """One endpoint's proxy; `port` is public at once, `touched` is called whenever bytes flow."""

    def __init__(self, target: int, touched: Callable[[], None], limit: float = LIMIT_SECONDS) -> None:
        self._target, self._touched, self._limit = target, touched, limit
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._connections: set[asyncio.Task[None]] = set()
        self._serving = asyncio.get_running_loop().create_task(self._serve())

    async def _serve(self) -> None:
        async with await asyncio.start_server(self._connected, sock=self._socket) as server:
            await server.serve_forever()

    def close(self) -> None:
        """Stops listening and drops every connection."""
        for task in (self._serving, *self._connections):
            task.cancel()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if task := asyncio.current_task():
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)
        with closing(writer), suppress(OSError, asyncio.CancelledError):
            first = await reader.read(CHUNK)
            try:
                service = await asyncio.open_connection("127.0.0.1", self._target)
            except OSError:
                await _fail(reader, writer, 502, "Bad gateway: the service does not listen yet")
                return
            with closing(service[1]):
                pipe = _Pipe((reader, writer), service, self._touched)
                if failed := await pipe.run(first, self._limit):
                    await _fail(reader, writer, *failed)


class _Pipe:
    """One connection to a service; `asked` is when the last byte of a request went up that has no answer byte yet."""

    def __init__(self, client: Side, service: Side, touched: Callable[[], None]) -> None:
        self._client, self._service, self._touched = client, service, touched
        self._asked: float | None = None
        self._upgraded = False  # a websocket: from then on no message needs an answer
        self._now = asyncio.get_running_loop().time

    async def run(self, first: bytes, limit: float) -> tuple[int, str] | None:
        """Carries bytes until one side has ended or the limit is over; the failure that the client is to see."""
        up, *others = (asyncio.create_task(each) for each in (self._up(first), self._down(), self._watch(limit)))
        try:
            await asyncio.wait([up, *others], return_when=asyncio.FIRST_COMPLETED)
            if up.done() and not up.result():
                await asyncio.wait(others, return_when=asyncio.FIRST_COMPLETED)
            if self._asked is None:
                return None
            return (502, "Bad gateway") if others[0].done() else (524, "A timeout occurred")
        finally:
            for task in (up, *others):
                task.cancel()

    async def _up(self, chunk: bytes) -> bool:
        """True if the client is gone; after a mere end of its bytes the answer may still come."""
        reader, writer = self._client[0], self._service[1]
        try:
            while chunk:
                self._asked = None if self._upgraded else self._now()
                self._touched()
                writer.write(chunk)
                await writer.drain()
                chunk = await reader.read(CHUNK)
            writer.write_eof()
        except OSError:
            return reader.exception() is not None
        return False

    async def _down(self) -> None:
        with suppress(OSError):
            while chunk := await self._service[0].read(CHUNK):
                self._upgraded = self._upgraded or (self._asked is not None and chunk[8:12] == b" 101")
                self._asked = None
                self._touched()
                self._client[1].write(chunk)
                await self._client[1].drain()

    async def _watch(self, limit: float) -> None:
        while (left := limit if self._asked is None else self._asked + limit - self._now()) > 0:
            await asyncio.sleep(left)


async def _fail(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, status: int, text: str) -> None:
    """Sends the edge's page; waits a moment for the client to take it, as closing on unread bytes would destroy it."""
    page = answer_html(status, f"{status}: {text}", "The sandbox's proxy stands in for Cloudflare here.")
    head = {**page.headers, "Content-Length": len(page.body), "Connection": "close"}
    lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
    writer.write(f"HTTP/1.1 {status} {text}\r\n{lines}\r\n".encode() + page.body)
    writer.write_eof()
    with suppress(TimeoutError):
        async with asyncio.timeout(1.0):
            while await reader.read(CHUNK):
                pass
