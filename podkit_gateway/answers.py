"""The four ways an answer goes back: as an error, whole, as a stream copied, or as a stream folded
into one.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import aiohttp

from podkit_gateway.errors import Refusal
from podkit_gateway.exchange import Exchange
from podkit_gateway.folding import BrokenStream, Folder
from podkit_gateway.streams import KEEP_ALIVE, Passage, find_usage
from podkit_gateway.upstream import BETWEEN_CHUNKS_SECONDS, answer_headers, backend_error, is_json

KEEP_ALIVE_SECONDS = 15.0
PASSED_BACK = ("Content-Type", "Cache-Control")
BROKEN = "The backend's answer broke off; send the request again."

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
        while piece := await next_piece(exchange, passage, response):
            data = passage.feed(piece)
            exchange.first_byte = exchange.first_byte or clock()
            if data:
                await exchange.write(data)
        whole = True
    except (aiohttp.ClientError, OSError):
        raise Refusal(502, "api_error", BROKEN) from None
    finally:
        exchange.tokens = passage.tokens(whole=whole)
    await exchange.end(passage.finish())


async def next_piece(
    exchange: Exchange, passage: Passage, response: aiohttp.ClientResponse
) -> bytes:
    """The next bytes, empty at the end; while the backend is silent a comment goes out."""
    silent = 0.0
    while silent < BETWEEN_CHUNKS_SECONDS:
        try:
            async with asyncio.timeout(KEEP_ALIVE_SECONDS):
                return await response.content.readany()
        except TimeoutError:
            silent += KEEP_ALIVE_SECONDS
        if passage.between_events:
            await exchange.write(KEEP_ALIVE)
    raise Refusal(504, "timeout", f"The backend was silent for {silent:g} s.")


async def fold(exchange: Exchange, response: aiohttp.ClientResponse, clock: Clock) -> None:
    """Makes one answer of a stream."""
    folder = Folder()
    try:
        async with asyncio.timeout(BETWEEN_CHUNKS_SECONDS) as limit:
            while piece := await response.content.readany():
                exchange.first_byte = exchange.first_byte or clock()
                folder.feed(piece)
                limit.reschedule(asyncio.get_running_loop().time() + BETWEEN_CHUNKS_SECONDS)
        body = json.dumps(folder.finish(), ensure_ascii=False).encode()
    except TimeoutError:
        raise Refusal(504, "timeout", "The backend fell silent.") from None
    except (aiohttp.ClientError, OSError, BrokenStream):
        raise Refusal(502, "api_error", BROKEN) from None
    exchange.tokens = find_usage(body)
    await exchange.answer(200, body, [])


async def read_whole(response: aiohttp.ClientResponse) -> bytes:
    try:
        return await response.read()
    except (aiohttp.ClientError, OSError):
        raise Refusal(502, "api_error", BROKEN) from None
