"""A copy of the database in one file, and back into an empty database. It holds digests and usage,
no keys.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

from sqlalchemy.engine import URL, make_url

from podkit_gateway.errors import GatewayError
from podkit_gateway.settings import Secret


def back_up(database: Secret, target: Path) -> None:
    """Writes a copy of the running database to `target`, readable by its owner alone.

    Raises GatewayError if the file is there already or a program fails.
    """
    url = make_url(database.reveal())
    if target.exists():
        raise GatewayError(f"{target} is there already; choose another name")
    part = target.with_name(f"{target.name}.part")
    part.unlink(missing_ok=True)
    os.close(os.open(part, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600))
    try:
        if url.get_backend_name() == "sqlite":
            copy_sqlite(Path(url.database or ""), part)
        else:
            run_tool(url, ["pg_dump", "--format=custom", f"--file={part}"])
        part.rename(target)
    finally:
        part.unlink(missing_ok=True)


def restore(database: Secret, source: Path) -> None:
    """Fills an empty database from a copy; whoever calls this has seen that it is empty."""
    url = make_url(database.reveal())
    if not source.is_file():
        raise GatewayError(f"there is no file {source}")
    if url.get_backend_name() == "sqlite":
        copy_sqlite(source, Path(url.database or ""))
    else:
        into = f"--dbname={url.database}"
        run_tool(url, ["pg_restore", "--no-owner", "--exit-on-error", into, str(source)])


def copy_sqlite(source: Path, target: Path) -> None:
    """Copies with SQLite's own backup, which is whole also while somebody writes."""
    try:
        with (
            closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True)) as old,
            closing(sqlite3.connect(target)) as new,
        ):
            old.backup(new)
    except sqlite3.Error as problem:
        raise GatewayError(f"SQLite: {problem}") from None


def run_tool(url: URL, words: list[str]) -> None:
    """Runs a program of PostgreSQL; the password is in its environment, never in its arguments."""
    program = shutil.which(words[0])
    if program is None:
        raise GatewayError(f"{words[0]} is not installed: apt install postgresql-client")
    environment = {
        "PATH": os.defpath,
        "PGHOST": str(url.query.get("host", url.host or "")),
        "PGPORT": str(url.port or 5432),
        "PGUSER": url.username or "",
        "PGPASSWORD": str(url.password or ""),
        "PGDATABASE": url.database or "",
    }
    ended = subprocess.run(
        [program, *words[1:]], env=environment, capture_output=True, text=True, check=False
    )
    if ended.returncode != 0:
        raise GatewayError(f"{words[0]}: {ended.stderr.strip()}")


def newest_backup(folder: Path) -> float | None:
    """When the newest file of the folder was written, in Unix seconds; None if there is none."""
    if not folder.is_dir():
        return None
    times = [path.stat().st_mtime for path in folder.iterdir() if path.is_file()]
    return max(times, default=None)
