"""The four ways an answer goes back: as an error, whole, as a stream copied, or as a stream folded
into one.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import aiohttp

from podkit_gateway.errors import Refusal
from podkit_gateway.exchange import LEFT, Exchange
from podkit_gateway.folding import BrokenStream, Folder
from podkit_gateway.streams import Passage, find_usage
from podkit_gateway.upstream import answer_headers, backend_error, is_json

KEEP_ALIVE_SECONDS = 15.0
UNTAKEN_SECONDS = 120.0
PASSED_BACK = ("Content-Type", "Cache-Control")
BROKEN = "The backend's answer broke off; send the request again."
SILENT = "The backend fell silent."

Clock = Callable[[], float]


async def pass_error(exchange: Exchange, response: aiohttp.ClientResponse) -> None:
    """A backend's own error if it is in JSON; of anything else the status alone."""
    body = await read_whole(response)
    if response.status < 400 or not is_json(response, body):
        raise backend_error(response.status)
    exchange.reason = "backend"
    await exchange.answer(response.status, body, [])


async def pass_whole(exchange: Exchange, response: aiohttp.ClientResponse, clock: Clock) -> None:
    body = await read_whole(response)
    exchange.first_byte = clock()
    exchange.tokens = find_usage(body)
    length = (b"content-length", str(len(body)).encode())
    await exchange.begin(200, [*answer_headers(response, PASSED_BACK), length])
    await exchange.end(body)


async def copy_stream(
    exchange: Exchange,
    response: aiohttp.ClientResponse,
    clock: Clock,
    *,
    swallow_usage: bool,
) -> None:
    """Copies a stream as it comes, but for the usage that the client has not asked for."""
    passage = Passage(swallow_usage=swallow_usage)
    await exchange.begin(200, answer_headers(response, PASSED_BACK))
    whole = False
    try:
        with Pulse(exchange, passage):
            while piece := await response.content.readany():
                exchange.first_byte = exchange.first_byte or clock()
                data = passage.feed(piece)
                if data:
                    await exchange.write(data)
        whole = True
    except TimeoutError:
        raise Refusal(504, "timeout", SILENT) from None
    except (aiohttp.ClientError, OSError):
        raise Refusal(502, "api_error", BROKEN) from None
    finally:
        exchange.tokens = passage.tokens(whole=whole)
    await exchange.end(passage.finish())


class Pulse:
    """Looks every 15 s whether anything has gone to the client: if not, a comment does, as proxies
    cut a silent connection. A client that does not even take comments is given up after 2 minutes.

    One timer for a whole stream: a time limit around each piece would cost more than its copy.
    """

    def __init__(self, exchange: Exchange, passage: Passage) -> None:
        self._exchange = exchange
        self._passage = passage
        self._request = asyncio.current_task()
        self._sent = exchange.bytes_out
        self._comment: asyncio.Task[None] | None = None
        self._untaken = 0.0

    def __enter__(self) -> None:
        self._wait()

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        if self._comment is not None:
            self._comment.cancel()

    def _wait(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(KEEP_ALIVE_SECONDS, self._beat)

    def _beat(self) -> None:
        silent = self._sent == self._exchange.bytes_out
        self._sent = self._exchange.bytes_out
        if self._comment is not None and not self._comment.done():
            self._untaken += KEEP_ALIVE_SECONDS
        elif silent and self._passage.between_events:
            self._untaken = 0.0
            self._comment = asyncio.create_task(self._exchange.say_nothing())
        if self._untaken < UNTAKEN_SECONDS:
            self._wait()
        elif self._request is not None:
            self._request.cancel(LEFT)


async def fold(exchange: Exchange, response: aiohttp.ClientResponse, clock: Clock) -> None:
    """Makes one answer of a stream."""
    folder = Folder()
    body = b""
    try:
        while piece := await response.content.readany():
            exchange.first_byte = exchange.first_byte or clock()
            folder.feed(piece)
        body = json.dumps(folder.finish(), ensure_ascii=False).encode()
    except TimeoutError:
        raise Refusal(504, "timeout", SILENT) from None
    except (aiohttp.ClientError, OSError, BrokenStream):
        raise Refusal(502, "api_error", BROKEN) from None
    finally:
        exchange.tokens = find_usage(body) if body else folder.estimate()
    await exchange.answer(200, body, [])


async def read_whole(response: aiohttp.ClientResponse) -> bytes:
    try:
        return await response.read()
    except (aiohttp.ClientError, OSError):
        raise Refusal(502, "api_error", BROKEN) from None
