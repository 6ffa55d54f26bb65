"""The public proxy in front of a pod's HTTP port. Must never listen beyond loopback."""

import asyncio
import os
from collections.abc import Callable
from contextlib import closing, suppress

from podkit_sandbox.wire import Answer, html_page

PROXY_SECONDS = float(os.environ.get("PODKIT_SANDBOX_PROXY_SECONDS", "100"))  # the provider's
LINGER_SECONDS = 1.0  # for what a client still sends after a page of the edge
CHUNK = 65_536
Side = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def open_proxy(
    target: int,
    touched: Callable[[], None],
    limit: float = PROXY_SECONDS,
) -> asyncio.Server:
    """A proxy on a new port: 502 until `target` listens, 524 without an answer in time."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer), suppress(OSError, TimeoutError):
            failure = 502
            with suppress(ConnectionRefusedError):
                service = await asyncio.open_connection("127.0.0.1", target)
                with closing(service[1]):
                    failure = await Relay((reader, writer), service, touched, limit).carry()
            if failure:
                await _send_page(failure, reader, writer)

    return await asyncio.start_server(connected, "127.0.0.1", 0)


async def _send_page(
    status: int,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    """Sends a page of the edge; closing on unread bytes would destroy it on its way."""
    writer.write(_as_http(html_page(status)))
    writer.write_eof()
    async with asyncio.timeout(LINGER_SECONDS):
        while await reader.read(CHUNK):
            pass


def _as_http(answer: Answer) -> bytes:
    headers = {"Connection": "close", "Content-Length": str(len(answer.body)), **answer.headers}
    lines = [f"HTTP/1.1 {answer.status} "]
    for name, text in headers.items():
        lines.append(f"{name}: {text}")
    return "\r\n".join([*lines, "", ""]).encode() + answer.body


class Relay:
    """One connection of a client, and the service's behind it."""

    def __init__(
        self,
        client: Side,
        service: Side,
        touched: Callable[[], None],
        limit: float,
    ) -> None:
        self._client = client
        self._service = service
        self._touched = touched
        self._limit = limit
        self._timer = asyncio.timeout(None)  # runs while a request has no answer byte
        self._upgraded = False

    async def carry(self) -> int:
        """Carries bytes until the service has ended or the time is up.

        Returns the status of a page for a request that got no answer, or 0.
        """
        asking = asyncio.create_task(self._carry_requests())
        with suppress(OSError, TimeoutError):
            async with self._timer:
                await self._carry_answers()
        asking.cancel()
        await asyncio.wait([asking])
        if self._timer.when() is None:
            return 0
        return 524 if self._timer.expired() else 502

    async def _carry_requests(self) -> None:
        reader = self._client[0]
        writer = self._service[1]
        try:
            while chunk := await reader.read(CHUNK):
                if not self._upgraded and not self._timer.expired():
                    self._timer.reschedule(asyncio.get_running_loop().time() + self._limit)
                self._touched()
                writer.write(chunk)
                await writer.drain()
            writer.write_eof()  # the answer may still come
        except OSError:
            writer.transport.abort()  # the client is gone

    async def _carry_answers(self) -> None:
        reader = self._service[0]
        writer = self._client[1]
        while chunk := await reader.read(CHUNK):
            if chunk[8:12] == b" 101":  # a websocket: no message needs an answer
                self._upgraded = True
            self._timer.reschedule(None)
            self._touched()
            writer.write(chunk)
            await writer.drain()
