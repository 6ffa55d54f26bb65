"""Jobs in the database: who asked for what, how far it is, and results that are kept, encrypted.

Of several processes that follow a job, one alone is told that it was the first to see its end: that
one counts the usage.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from cryptography.fernet import Fernet, InvalidToken
from sqlalchemy import Select, delete, insert, select, update
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncEngine

from podkit_gateway.settings import Secret
from podkit_gateway.tables import jobs

OVER = ("completed", "failed", "cancelled", "expired", "unknown")
"""The states that a job does not leave."""
LOST_AFTER = 120.0
"""Seconds after which a job that was never submitted belongs to a process that was killed."""


class JobStore:
    """The table of jobs. Results are kept if there is a key to encrypt them with."""

    def __init__(self, engine: AsyncEngine, results_key: Secret | None) -> None:
        self._engine = engine
        self._box = None
        if results_key is not None:
            digest = hashlib.sha256(results_key.reveal().encode("utf-8")).digest()
            self._box = Fernet(base64.urlsafe_b64encode(digest))

    async def add(self, row: Mapping[str, Any]) -> None:
        async with self._engine.begin() as connection:
            await connection.execute(insert(jobs).values(row))

    async def change(self, job_id: str, **values: Any) -> bool:
        """Changes a job that is not over; False if it is, and then nothing is changed."""
        chosen = update(jobs).where(jobs.c.id == job_id, jobs.c.status.not_in(OVER))
        async with self._engine.begin() as connection:
            changed = await connection.execute(chosen.values(**values))
        return bool(changed.rowcount)

    async def find(self, job_id: str) -> RowMapping | None:
        return await self._one(select(jobs).where(jobs.c.id == job_id))

    async def find_by_hook(self, hook: str) -> RowMapping | None:
        return await self._one(select(jobs).where(jobs.c.hook == hook))

    async def list_running(self) -> list[RowMapping]:
        """Jobs that the provider has and that are not over."""
        query = select(jobs).where(jobs.c.status.not_in(OVER), jobs.c.remote_id.is_not(None))
        async with self._engine.connect() as connection:
            return list((await connection.execute(query)).mappings())

    async def keep_result(self, job_id: str, output: Any) -> None:
        """Stores a result, if results are kept at all."""
        if self._box is None:
            return
        sealed = self._box.encrypt(json.dumps(output).encode("utf-8"))
        async with self._engine.begin() as connection:
            await connection.execute(update(jobs).where(jobs.c.id == job_id).values(result=sealed))

    def read_result(self, row: RowMapping) -> Any:
        """The result that was kept with a job; None without one, or if the key is another now."""
        if self._box is None or row["result"] is None:
            return None
        try:
            return json.loads(self._box.decrypt(row["result"]))
        except InvalidToken:
            return None

    async def sweep(self, now: float, *, results: float, rows: float) -> None:
        """Forgets results and jobs that are so many seconds old, and gives up jobs that a killed
        process had not submitted.
        """
        lost = (jobs.c.status == "submitting") & (jobs.c.created < now - LOST_AFTER)
        old = jobs.c.finished < now - results
        async with self._engine.begin() as connection:
            await connection.execute(
                update(jobs).where(lost).values(status="unknown", finished=now)
            )
            await connection.execute(update(jobs).where(old).values(result=None))
            await connection.execute(delete(jobs).where(jobs.c.created < now - rows))

    async def _one(self, query: Select[Any]) -> RowMapping | None:
        async with self._engine.connect() as connection:
            row: RowMapping | None = (await connection.execute(query)).mappings().one_or_none()
            return row
