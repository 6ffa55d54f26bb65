"""A client that leaves frees the backend in every phase, and leaves nothing behind in the
gateway.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from podkit_gateway import answers
from podkit_gateway.folding import Folder
from podkit_gateway.streams import KEEP_ALIVE
from tests.waiting import LONG, eventually

from .process import Gateway, connect
from .stub import Handle, Stub, all_seen, chunk

pytestmark = pytest.mark.slow


async def think(stub: Stub, _request: web.Request, _body: dict[str, Any]) -> web.StreamResponse:
    await asyncio.sleep(300)
    raise AssertionError("nobody waits for that long")


async def talk(stub: Stub, request: web.Request, _body: dict[str, Any]) -> web.StreamResponse:
    stub.pause = 0.05
    return await stub.stream(request, [chunk("word")] * 2000)


async def shout(stub: Stub, request: web.Request, _body: dict[str, Any]) -> web.StreamResponse:
    return await stub.stream(request, [chunk("x" * 100_000)] * 10_000)


def pause_within(may_go_on: threading.Event) -> Handle:
    async def answer(
        _stub: Stub, request: web.Request, _body: dict[str, Any]
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(chunk("half"))
        while not may_go_on.is_set():
            await asyncio.sleep(0.02)
        await response.write(chunk("whole"))
        return response

    return answer


def in_flight(gateway: Gateway) -> float:
    return gateway.metric("gateway_in_flight")


def seconds_until_free(
    gateway: Gateway, stubs: list[Stub], key: str, *, stream: bool, answered: bool
) -> float:
    """How long after a client has left the backend's socket closes."""
    for stub in stubs:
        stub.seen.clear()
    connection = connect(gateway, key, stream)
    seen = eventually(lambda: all_seen(stubs))[0]
    text = b""
    while answered and b"word" not in text:
        text += connection.recv(65536)
    began = time.monotonic()
    connection.close()
    assert seen.left.wait(LONG)
    return time.monotonic() - began


@pytest.mark.parametrize(
    ("handle", "stream", "answered"),
    [(think, False, False), (think, True, False), (talk, True, True)],
    ids=["while it waits", "while its stream has not begun", "during its stream"],
)
def test_a_client_that_leaves_frees_the_backend_within_a_second(
    gateway: Gateway, stubs: list[Stub], key: str, handle: Any, stream: bool, answered: bool
) -> None:
    for stub in stubs:
        stub.handle = handle
    tries = (
        seconds_until_free(gateway, stubs, key, stream=stream, answered=answered) for _ in range(10)
    )
    assert any(took < 1.0 for took in tries)  # a busy machine may be slow, but not each time


def test_a_folded_answer_that_nobody_waits_for_any_more_is_counted(
    tmp_path: Path, stubs: list[Stub], monkeypatch: pytest.MonkeyPatch
) -> None:
    folded = threading.Event()
    feed = Folder.feed

    def feed_and_tell(folder: Folder, piece: bytes) -> None:
        feed(folder, piece)
        folded.set()

    monkeypatch.setattr(Folder, "feed", feed_and_tell)
    for stub in stubs:
        stub.reset()
    stubs[0].handle = talk
    gateway = Gateway(tmp_path)
    gateway.prepare()
    gateway.config.write_text(
        '[models.olmocr]\nbackends = ["pod"]\n'
        f'[backends.pod]\nurl = "{stubs[0].url}"\nfold = true\n'
    )
    gateway.start()
    key = gateway.make_key()
    connection = connect(gateway, key, stream=False)
    seen = eventually(lambda: stubs[0].seen)[0]
    assert folded.wait(LONG)
    connection.close()
    assert seen.left.wait(LONG)
    gateway.stop()
    with sqlite3.connect(gateway.database) as database:
        rows = database.execute("SELECT status, completion_tokens, counted FROM usage").fetchall()
    ((status, tokens, counted),) = rows
    assert (status, counted) == (499, "estimated")
    assert tokens >= 1


def test_a_client_that_takes_nothing_is_given_up(
    gateway: Gateway, stubs: list[Stub], key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "KEEP_ALIVE_SECONDS", 0.05)
    monkeypatch.setattr(answers, "UNTAKEN_SECONDS", 0.2)
    for stub in stubs:
        stub.handle = shout
    connection = connect(gateway, key, stream=True)
    seen = eventually(lambda: all_seen(stubs))[0]
    assert seen.left.wait(LONG)
    connection.close()


def test_a_silent_stream_is_kept_open_with_comments(
    gateway: Gateway, stubs: list[Stub], key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "KEEP_ALIVE_SECONDS", 0.05)
    may_go_on = threading.Event()
    for stub in stubs:
        stub.handle = pause_within(may_go_on)
    text = b""
    with gateway.ask(key, json={"stream": True}, stream=True) as answer:
        for piece in answer.iter_content(None):
            text += piece
            if KEEP_ALIVE in text.partition(chunk("half"))[2]:
                may_go_on.set()
    assert may_go_on.is_set()
    assert text.replace(KEEP_ALIVE, b"") == chunk("half") + chunk("whole")


def test_in_the_middle_of_an_upload(gateway: Gateway, stubs: list[Stub], key: str) -> None:
    before = gateway.metric('gateway_rejected_total{reason="client_left"}')
    connect(gateway, key, False, cut=3).close()
    name = 'gateway_rejected_total{reason="client_left"}'
    eventually(lambda: gateway.metric(name) == before + 1)
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
    eventually(lambda: all(seen.ended.is_set() for seen in all_seen(stubs)))
    eventually(lambda: in_flight(gateway) == 0)

    def is_all_gone() -> bool:
        pairs = zip(gateway.count_open(), before, strict=True)
        return all(now <= then for now, then in pairs)

    eventually(is_all_gone)
    for stub in stubs:
        stub.reset()
    assert gateway.ask(gateway.make_key("--parallel", "1")).status_code == 200
