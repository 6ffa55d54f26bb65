"""The database: one engine for SQLite or PostgreSQL, and whether its tables are the ones this
version needs.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Any

from sqlalchemy import event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from podkit_gateway.settings import Secret
from podkit_gateway.tables import HEAD

BUSY_MS = 10_000
"""How long SQLite waits for another writer, in milliseconds."""


class RollsBackFirst(sqlite3.Connection):
    """Ends its transaction before it closes. SQLite keeps a connection, and so its lock, while one
    of its statements is known to somebody: to the exception of the task that was cancelled.
    """

    def close(self) -> None:
        with suppress(sqlite3.ProgrammingError):  # it is closed already
            self.rollback()
        super().close()


def open_engine(url: Secret) -> AsyncEngine:
    """An engine for `url`. SQLite writes ahead, so that a killed process leaves a database that
    opens.
    """
    parsed = make_url(url.reveal())
    if parsed.get_backend_name() != "sqlite":
        return create_async_engine(parsed, pool_size=5, max_overflow=10, pool_pre_ping=True)
    if parsed.database:
        keep_private(Path(parsed.database))
    engine = create_async_engine(parsed, connect_args={"factory": RollsBackFirst})
    event.listen(engine.sync_engine, "connect", prepare_sqlite)
    return engine


def keep_private(path: Path) -> None:
    """Makes the database's file, if it is not there, for its owner alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))


def prepare_sqlite(connection: Any, _record: Any) -> None:
    for pragma in (
        "journal_mode=WAL",
        "synchronous=NORMAL",
        f"busy_timeout={BUSY_MS}",
        "foreign_keys=ON",
    ):
        connection.execute(f"PRAGMA {pragma}").close()


async def is_reachable(engine: AsyncEngine) -> bool:
    try:
        async with engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
    except (SQLAlchemyError, OSError):
        return False
    return True


async def find_revision(engine: AsyncEngine) -> str | None:
    """The migration that the database is at; None if it has no tables of ours."""
    try:
        async with engine.connect() as connection:
            found = await connection.execute(text("SELECT version_num FROM alembic_version"))
            return found.scalar_one_or_none()
    except (SQLAlchemyError, OSError):
        return None


async def is_current(engine: AsyncEngine) -> bool:
    return await find_revision(engine) == HEAD


async def migrate(engine: AsyncEngine) -> None:
    """Brings the tables to HEAD. Imports Alembic, which takes a second."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))

    def upgrade(connection: Any) -> None:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")

    async with engine.begin() as connection:
        await connection.run_sync(upgrade)
