"""What runs beside the requests, and what a request must not be misled by."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.event import listen
from structlog.testing import CapturingLogger

from podkit_gateway import access, runtime
from podkit_gateway.access import Access
from podkit_gateway.domain import Caller, UsageEvent
from podkit_gateway.errors import Refusal
from podkit_gateway.keys import key_digest, make_key
from podkit_gateway.settings import Secret, load_settings
from podkit_gateway.store import BUSY_MS, open_engine
from podkit_gateway.tables import metadata, usage, usage_hours
from podkit_gateway.tokens import Tokens
from podkit_gateway.usage import write_batch

pytestmark = pytest.mark.slow


def event(name: str) -> UsageEvent:
    return UsageEvent(
        id=name,
        time=0.0,
        key_id="k",
        owner_id=1,
        team="",
        person="",
        model_asked="m",
        model="m",
        backend="b",
        kind="chat",
        status=200,
        prompt_tokens=1,
        completion_tokens=1,
        cached_tokens=0,
        counted="reported",
        units=0.0,
        first_byte_ms=0,
        total_ms=0,
        bytes_in=0,
        bytes_out=0,
        price=0.0,
    )


def test_a_write_that_is_cut_off_keeps_nobody_from_writing(tmp_path: Path) -> None:
    """As the gateway ends, or its client leaves."""

    many = [event(f"cut off {number}") for number in range(1000)]

    async def cut_off_and_write() -> None:
        engine = open_engine(Secret(f"sqlite+aiosqlite:///{tmp_path}/a.db"))
        async with engine.begin() as connection:
            await connection.run_sync(metadata.create_all)
        writing = asyncio.create_task(write_batch(engine, many))

        def cut_off(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
            if "INTO usage " in statement:
                writing.cancel()

        listen(engine.sync_engine, "before_cursor_execute", cut_off)
        (ended,) = await asyncio.gather(writing, return_exceptions=True)
        assert isinstance(ended, asyncio.CancelledError)
        await asyncio.wait_for(write_batch(engine, [event("whole")]), BUSY_MS / 2000)
        await engine.dispose()

    asyncio.run(cut_off_and_write())


def test_a_row_of_usage_that_is_there_already_costs_no_other(tmp_path: Path) -> None:
    async def write() -> tuple[int, int]:
        engine = open_engine(Secret(f"sqlite+aiosqlite:///{tmp_path}/a.db"))
        async with engine.begin() as connection:
            await connection.run_sync(metadata.create_all)
        await write_batch(engine, [event("one"), event("two")])
        await write_batch(engine, [event("two"), event("three")])
        async with engine.connect() as connection:
            rows = await connection.execute(select(func.count()).select_from(usage))
            sums = await connection.execute(select(func.sum(usage_hours.c.requests)))
            counted = rows.scalar_one(), sums.scalar_one()
        await engine.dispose()
        return counted

    assert asyncio.run(write()) == (3, 3)


def test_work_that_fails_is_begun_again_and_the_log_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runtime, "WORK_AGAIN", 0.0)
    log = CapturingLogger()
    begun: list[int] = []

    async def work() -> None:
        begun.append(1)
        if len(begun) < 3:
            raise OSError("canary")
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(runtime.keep_doing(log, "gauges", work))
    assert [call.kwargs for call in log.calls] == [{"work": "gauges", "error": "OSError"}] * 2


def test_a_key_that_is_revoked_while_it_is_read_is_not_remembered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    key = make_key("pk", "live", os.urandom).text
    reading = asyncio.Event()
    answers: list[Caller | None] = [Caller(1, "a", frozenset({"inference"})), None]

    async def load(*_: Any) -> Caller | None:
        found = answers.pop(0)
        reading.set()
        await asyncio.sleep(0)
        return found

    async def do_nothing(*_: Any) -> None: ...

    monkeypatch.setattr(access, "load_caller", load)
    monkeypatch.setattr(access, "touch_key", do_nothing)

    async def revoke_meanwhile() -> None:
        engine = open_engine(Secret("sqlite+aiosqlite://"))
        settings = load_settings({})
        door = Access(engine, settings, Tokens({}, "", time.time), time.time)
        headers = {b"authorization": f"Bearer {key}".encode()}
        first = asyncio.create_task(door.identify("POST", headers, ""))
        await reading.wait()
        door.forget(key_digest(key))
        assert (await first).key_id == "a"
        with pytest.raises(Refusal):
            await door.identify("POST", headers, "")

    asyncio.run(revoke_meanwhile())
