"""A client that leaves frees the backend in every phase, and leaves nothing behind in the
gateway.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from aiohttp import web

from .process import Gateway, connect, until
from .stub import Stub, all_seen, chunk

pytestmark = pytest.mark.slow


async def think(stub: Stub, _request: web.Request, _body: dict[str, Any]) -> web.StreamResponse:
    await asyncio.sleep(300)
    raise AssertionError("nobody waits for that long")


async def talk(stub: Stub, request: web.Request, _body: dict[str, Any]) -> web.StreamResponse:
    stub.pause = 0.05
    return await stub.stream(request, [chunk("word")] * 2000)


def in_flight(gateway: Gateway) -> float:
    return gateway.metric("gateway_in_flight")


def test_while_the_backend_thinks(gateway: Gateway, stubs: list[Stub], key: str) -> None:
    for stub in stubs:
        stub.handle = think
    for stream in (False, True):
        connection = connect(gateway, key, stream)
        seen = until(lambda: all_seen(stubs))[0]
        connection.close()
        assert seen.left.wait(5)
        for stub in stubs:
            stub.seen.clear()


def test_in_the_middle_of_a_stream(gateway: Gateway, stubs: list[Stub], key: str) -> None:
    for stub in stubs:
        stub.handle = talk
    connection = connect(gateway, key, True)
    assert b"word" in connection.recv(65536) + connection.recv(65536)
    seen = all_seen(stubs)[0]
    connection.close()
    assert seen.left.wait(5)


def test_in_the_middle_of_an_upload(gateway: Gateway, stubs: list[Stub], key: str) -> None:
    before = gateway.metric('gateway_rejected_total{reason="client_left"}')
    connect(gateway, key, False, cut=3).close()
    name = 'gateway_rejected_total{reason="client_left"}'
    until(lambda: gateway.metric(name) == before + 1)
    assert [stub.seen for stub in stubs] == [[], [], []]


def test_a_thousand_that_leave_leave_nothing(gateway: Gateway, stubs: list[Stub], key: str) -> None:
    before = gateway.count_open()

    for stub in stubs:
        stub.handle = talk

    def leave(number: int) -> None:
        connection = connect(gateway, key, stream=number % 2 == 0, cut=number % 3)
        time.sleep(number % 5 / 100)
        connection.close()

    with ThreadPoolExecutor(20) as pool:
        list(pool.map(leave, range(1000)))
    until(lambda: all(seen.ended.is_set() for seen in all_seen(stubs)))
    until(lambda: in_flight(gateway) == 0)

    def is_all_gone() -> bool:
        pairs = zip(gateway.count_open(), before, strict=True)
        return all(now <= then for now, then in pairs)

    until(is_all_gone)
    for stub in stubs:
        stub.reset()
    assert gateway.ask(gateway.make_key("--parallel", "1")).status_code == 200
