"""The proxy in front of services that are absent, slow, streaming or a websocket."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import websockets

from podkit_sandbox.proxy import open_proxy
from tests.ports import free_port
from tests.waiting import LONG

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
LIMIT = 10.0
"""Seconds: a limit that only the jump of a clock exceeds."""


def port_of(proxy: asyncio.Server) -> int:
    return int(proxy.sockets[0].getsockname()[1])


def behind(
    handler: Handler, client: Callable[[asyncio.Server], Awaitable[Any]], limit: float = LIMIT
) -> Any:
    """What the client made of a service behind the proxy."""

    async def run() -> Any:
        async with await asyncio.start_server(handler, "127.0.0.1", 0) as service:
            proxy = await open_proxy(service.sockets[0].getsockname()[1], lambda: None, limit)
            try:
                async with asyncio.timeout(LONG):
                    return await client(proxy)
            finally:
                proxy.close()

    return asyncio.run(run())


async def send(proxy: asyncio.Server, *requests: bytes) -> bytes:
    """Everything that came back on one connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(proxy))
    writer.writelines(requests)
    answer = await reader.read()
    writer.close()
    return answer


def jump_over_the_limit() -> None:
    """What was to happen within LIMIT seconds is overdue."""
    loop = asyncio.get_running_loop()
    now = loop.time
    loop.time = lambda: now() + LIMIT + 1  # type: ignore[method-assign]


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


def test_502_until_the_service_listens_even_after_a_large_upload() -> None:
    async def run() -> bytes:
        proxy = await open_proxy(free_port(), lambda: None)
        try:
            return await send(proxy, GET, b"x" * 1_000_000)
        finally:
            proxy.close()

    answer = asyncio.run(run())
    assert answer.startswith(b"HTTP/1.1 502 ")
    assert b"text/html" in answer


def test_502_when_the_service_hangs_up_without_an_answer() -> None:
    async def rude(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.transport.abort()

    assert behind(rude, lambda proxy: send(proxy, GET)).startswith(b"HTTP/1.1 502 ")


def test_524_when_no_byte_comes_within_the_limit() -> None:
    answer = behind(silent, lambda proxy: send(proxy, GET), limit=0.1)
    assert answer.startswith(b"HTTP/1.1 524 ")
    assert b"text/html" in answer


def test_a_stream_that_has_begun_may_pause_for_longer_than_the_limit() -> None:
    paused = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
        await paused.wait()
        writer.write(b"data: 2\n\n")
        writer.close()

    async def client(proxy: asyncio.Server) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(proxy))
        writer.write(GET)
        await reader.readuntil(b"data: 1\n\n")
        jump_over_the_limit()
        paused.set()
        rest = await reader.read()
        writer.close()
        return rest

    assert behind(slow, client) == b"data: 2\n\n"


def test_a_connection_is_kept_for_several_requests_and_each_has_its_own_limit() -> None:
    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        assert await reader.readuntil(b"\r\n\r\n") == GET
        jump_over_the_limit()
        await silent(reader, writer)

    async def client(proxy: asyncio.Server) -> tuple[bytes, bytes]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(proxy))
        writer.write(GET)
        first = await reader.readuntil(b"ok")
        jump_over_the_limit()
        writer.write(GET)
        second = await reader.read()
        writer.close()
        return first, second

    first, second = behind(once, client)
    assert first.startswith(b"HTTP/1.1 200")
    assert second.startswith(b"HTTP/1.1 524")


def test_a_client_that_leaves_is_noticed_by_the_service() -> None:
    left = asyncio.Event()

    async def service(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        left.set()
        writer.close()

    async def client(proxy: asyncio.Server) -> bool:
        _, writer = await asyncio.open_connection("127.0.0.1", port_of(proxy))
        writer.write(GET)
        await writer.drain()
        writer.transport.abort()
        return await left.wait()

    assert behind(service, client)


def test_websockets_pass_and_need_no_answer_to_each_message() -> None:
    async def run() -> list[str]:
        heard = []

        async def listen(connection: Any) -> None:
            async for message in connection:
                heard.append(message)
                if message == "last":
                    await connection.send("heard")

        async with websockets.serve(listen, "127.0.0.1", 0) as service:
            port = next(iter(service.sockets)).getsockname()[1]
            proxy = await open_proxy(port, lambda: None, LIMIT)
            async with websockets.connect(f"ws://127.0.0.1:{port_of(proxy)}") as client:
                await client.send("first")
                while not heard:
                    await asyncio.sleep(0.01)
                jump_over_the_limit()
                await client.send("last")
                assert await client.recv() == "heard"
            proxy.close()
        return heard

    assert asyncio.run(run()) == ["first", "last"]


def test_every_byte_counts_as_use_of_the_sandbox() -> None:
    touched = []

    async def run() -> None:
        proxy = await open_proxy(free_port(), lambda: touched.append(1))
        proxy.close()
        async with await asyncio.start_server(silent, "127.0.0.1", 0) as service:
            proxy = await open_proxy(
                service.sockets[0].getsockname()[1], lambda: touched.append(1), 0.1
            )
            await send(proxy, GET)
            proxy.close()

    asyncio.run(run())
    assert touched
