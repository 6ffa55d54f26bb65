"""Who has used what: rows from a bounded queue into the database, hourly sums beside them, and what
is asked of both.

Nothing here is waited for by a request. A row that finds the queue full is counted as lost, which
an alert watches.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import delete, func, insert, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import RowMapping
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from podkit_gateway.config import Price
from podkit_gateway.domain import Tokens, UsageEvent
from podkit_gateway.limits import Quota
from podkit_gateway.tables import people, usage, usage_hours

BATCH = 1000
EVERY = 1.0
QUEUE = 10_000
HOUR = 3600
DAY = 86_400
SUMS = ("requests", "failed", "prompt_tokens", "completion_tokens", "units", "price")
GROUP = ("hour", "key_id", "owner_id", "team", "person", "model")


def token_price(price: Price, tokens: Tokens) -> float:
    """USD for these tokens, at prices per million."""
    return (price.prompt * tokens.prompt + price.completion * tokens.completion) / 1e6


class UsageWriter:
    """Takes events at once, writes them in batches: 1000 rows, or those of one second."""

    def __init__(
        self,
        engine: AsyncEngine,
        clock: Callable[[], float],
        *,
        keep_days: int,
        on_lost: Callable[[], None],
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._keep_days = keep_days
        self._on_lost = on_lost
        self._waiting: list[UsageEvent] = []
        self._ready = asyncio.Event()
        self._writing = asyncio.Lock()
        self._next_sweep = 0.0

    def add(self, event: UsageEvent) -> None:
        if len(self._waiting) >= QUEUE:
            self._on_lost()
            return
        self._waiting.append(event)
        if len(self._waiting) >= BATCH:
            self._ready.set()

    def waiting(self) -> int:
        return len(self._waiting)

    async def flush(self) -> None:
        """Writes everything that waits. Raises SQLAlchemyError or OSError; what was not written
        waits on.
        """
        async with self._writing:
            while self._waiting:
                batch = self._waiting[:BATCH]
                await write_batch(self._engine, batch)
                del self._waiting[: len(batch)]

    async def run(self) -> None:
        """Writes until it is cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ready.wait(), EVERY)
            self._ready.clear()
            try:
                await self.flush()
                await self._sweep()
            except (SQLAlchemyError, OSError):
                await asyncio.sleep(EVERY)

    async def _sweep(self) -> None:
        """Deletes rows older than they are kept, once an hour; the hourly sums stay."""
        now = self._clock()
        if now < self._next_sweep:
            return
        self._next_sweep = now + HOUR
        async with self._engine.begin() as connection:
            old = usage.c.time < now - self._keep_days * DAY
            await connection.execute(delete(usage).where(old))


async def write_batch(engine: AsyncEngine, batch: list[UsageEvent]) -> None:
    """Writes rows and their hourly sums together; a row that is there already is left alone."""
    if engine.dialect.name == "postgresql":
        into: Any = postgresql.insert(usage_hours)
    else:
        into = sqlite.insert(usage_hours)
    added = {}
    for name in SUMS:
        added[name] = usage_hours.c[name] + into.excluded[name]
    statement = into.on_conflict_do_update(index_elements=list(GROUP), set_=added)
    try:
        async with engine.begin() as connection:
            await connection.execute(insert(usage), [dict(vars(event)) for event in batch])
            await connection.execute(statement, sum_by_hour(batch))
    except IntegrityError:
        if len(batch) > 1:
            for event in batch:
                await write_batch(engine, [event])


def sum_by_hour(batch: Iterable[UsageEvent]) -> list[dict[str, Any]]:
    sums: dict[tuple[Any, ...], dict[str, Any]] = {}
    for event in batch:
        hour = int(event.time) // HOUR * HOUR
        group = (hour, event.key_id, event.owner_id, event.team, event.person, event.model)
        row = sums.setdefault(group, dict.fromkeys(SUMS, 0) | dict(zip(GROUP, group, strict=True)))
        row["requests"] += 1
        row["failed"] += event.status >= 400
        for name in SUMS[2:]:
            row[name] += getattr(event, name)
    return [sums[group] for group in sorted(sums)]


def start_of_day(now: float) -> float:
    day = datetime.fromtimestamp(now, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return day.timestamp()


def start_of_month(now: float) -> float:
    return datetime.fromtimestamp(start_of_day(now), UTC).replace(day=1).timestamp()


async def sum_quota(engine: AsyncEngine, subject: str, now: float) -> Quota:
    """Tokens of a subject in this UTC day and month: `key:ID`, `owner:N`, `owner:N:MODEL` or
    `team:NAME`.
    """
    kind, _, rest = subject.partition(":")
    if kind == "key":
        chosen = usage_hours.c.key_id == rest
    elif kind == "team":
        chosen = usage_hours.c.team == rest
    else:
        owner, _, model = rest.partition(":")
        chosen = usage_hours.c.owner_id == int(owner)
        if model:
            chosen &= usage_hours.c.model == model
    tokens = usage_hours.c.prompt_tokens + usage_hours.c.completion_tokens
    today = func.sum(tokens).filter(usage_hours.c.hour >= start_of_day(now))
    query = select(func.coalesce(today, 0), func.coalesce(func.sum(tokens), 0))
    query = query.where(chosen, usage_hours.c.hour >= start_of_month(now))
    async with engine.connect() as connection:
        day, month = (await connection.execute(query)).one()
        return Quota(int(day), int(month))


async def summarize(
    engine: AsyncEngine,
    *,
    since: float,
    owner_id: int | None = None,
    by: str = "model",
) -> list[RowMapping]:
    """Sums since a time for one owner or for all: by `model`, `key_id`, `owner` (e-mail), `person`
    or `day`.
    """
    groups: dict[str, Any] = {
        "model": usage_hours.c.model,
        "key_id": usage_hours.c.key_id,
        "owner": people.c.email,
        "person": usage_hours.c.person,
        "day": usage_hours.c.hour - usage_hours.c.hour % DAY,
    }
    group = groups[by]
    sums = [func.sum(usage_hours.c[name]).label(name) for name in SUMS]
    query = select(group.label("group"), *sums).where(
        usage_hours.c.hour >= int(since) // HOUR * HOUR
    )
    query = query.join(people, people.c.id == usage_hours.c.owner_id)
    if owner_id is not None:
        query = query.where(usage_hours.c.owner_id == owner_id)
    async with engine.connect() as connection:
        found = await connection.execute(query.group_by(group).order_by(group))
        return list(found.mappings())
