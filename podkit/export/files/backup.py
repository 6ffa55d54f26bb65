"""Saves what nobody can make again, the gateway's database and the chat page's data, and brings it
back. What is saved is whole and checked before it has its name; the newest KEPT of each stay.

    backup.py save database       the database of DATABASE_URL, to BACKUPS/database/TIME
    backup.py save page           the folder DATA, to BACKUPS/page/TIME
    backup.py restore database    the newest into the database of DATABASE_URL, which is empty
    backup.py restore page        the newest into DATA; what was there is set aside, never deleted

BACKUP is the beginning of a TIME to restore in place of the newest.

Password and addresses are in the environment of PostgreSQL's programs, never in their arguments.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

KEPT = 7
PAGE_DATABASE = "webui.db"
UPLOADS = "uploads"
COUNT_KEYS = "SELECT count(*) FROM keys"
COUNT_CHATS = "SELECT count(*) FROM chat"


def postgres(url: str, *command: str) -> str:
    """What a program of PostgreSQL prints about the database. Ends this one if it fails."""
    parts = urlsplit(url)
    told = {
        "PATH": os.environ["PATH"],
        "PGHOST": parts.hostname or "",
        "PGPORT": str(parts.port or 5432),
        "PGUSER": unquote(parts.username or ""),
        "PGPASSWORD": unquote(parts.password or ""),
        "PGDATABASE": unquote(parts.path.lstrip("/")),
        "PGSSLMODE": parse_qs(parts.query).get("ssl", ["prefer"])[0],
    }
    ended = subprocess.run(command, env=told, capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        sys.exit(f"{command[0]}: {ended.stderr.strip()}")
    return ended.stdout.strip()


def save_database(incoming: Path) -> None:
    postgres(os.environ["DATABASE_URL"], "pg_dump", "--format=custom", f"--file={incoming}")
    postgres(os.environ["DATABASE_URL"], "pg_restore", "--list", str(incoming))


def save_page(incoming: Path) -> None:
    """By SQLite's own backup, which is whole also while somebody writes."""
    data = Path(os.environ["DATA"])
    incoming.mkdir()
    with (
        closing(sqlite3.connect(f"file:{data / PAGE_DATABASE}?mode=ro", uri=True)) as live,
        closing(sqlite3.connect(incoming / PAGE_DATABASE)) as copy,
    ):
        live.backup(copy)
        if copy.execute("PRAGMA integrity_check").fetchall() != [("ok",)]:
            sys.exit("the page's database is damaged: nothing was saved")
    if (data / UPLOADS).is_dir():
        shutil.copytree(data / UPLOADS, incoming / UPLOADS)


def restore_database(saved: Path) -> None:
    """All or nothing: into a database that is not empty nothing comes."""
    url = os.environ["DATABASE_URL"]
    name = unquote(urlsplit(url).path.lstrip("/"))
    into = ["--no-owner", "--exit-on-error", "--single-transaction", f"--dbname={name}"]
    postgres(url, "pg_restore", *into, str(saved))
    print(f"keys: {postgres(url, 'psql', '--tuples-only', '--no-align', '-c', COUNT_KEYS)}")


def restore_page(saved: Path) -> None:
    data = Path(os.environ["DATA"])
    aside = data / f"before-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
    aside.mkdir()
    for name in (PAGE_DATABASE, f"{PAGE_DATABASE}-wal", f"{PAGE_DATABASE}-shm", UPLOADS):
        if (data / name).exists():
            (data / name).rename(aside / name)
    shutil.copytree(saved, data, dirs_exist_ok=True)
    with closing(sqlite3.connect(data / PAGE_DATABASE)) as database:
        (chats,) = database.execute(COUNT_CHATS).fetchone()
    print(f"chats: {chats}")


def save(what: str, folder: Path) -> None:
    """One more, under the time it was begun; the oldest are deleted once it is whole."""
    folder.mkdir(exist_ok=True)
    for left in folder.glob(".incoming-*"):
        delete(left)
    name = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    incoming = folder / f".incoming-{name}"
    {"database": save_database, "page": save_page}[what](incoming)
    incoming.rename(folder / name)
    for old in sorted(folder.glob("2*"))[:-KEPT]:
        delete(old)
    print(f"saved: {what} {name}")


def delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def restore(what: str, folder: Path) -> None:
    saved = sorted(folder.glob(f"{os.environ.get('BACKUP', '2')}*"))
    if not saved:
        sys.exit(f"nothing is saved in {folder}")
    {"database": restore_database, "page": restore_page}[what](saved[-1])
    print(f"restored: {what} {saved[-1].name}")


def main() -> None:
    os.umask(0o007)  # the group of the volume reads it, nobody else
    do, what = sys.argv[1:]
    folder = Path(os.environ["BACKUPS"]) / what
    {"save": save, "restore": restore}[do](what, folder)


if __name__ == "__main__":
    main()
