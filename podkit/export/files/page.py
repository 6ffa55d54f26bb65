"""Saves the chat page's data, and brings it back: a program, run as the page's own user.

    page.py save       the folder DATA into BACKUPS/page, under the time; the newest KEPT stay
    page.py restore    the newest of them, or of those that begin with BACKUP, into DATA; what was
                       there is set aside, never deleted

What is saved is whole and checked before it has its name.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path

KEPT = 7
DATABASE = "webui.db"
UPLOADS = "uploads"
COUNT_CHATS = "SELECT count(*) FROM chat"


def save(data: Path, folder: Path, name: str) -> None:
    """By SQLite's own backup, which is whole also while somebody writes."""
    for left in folder.glob(".incoming-*"):
        shutil.rmtree(left)
    incoming = folder / f".incoming-{name}"
    incoming.mkdir(parents=True)
    with (
        closing(sqlite3.connect(f"file:{data / DATABASE}?mode=ro", uri=True)) as live,
        closing(sqlite3.connect(incoming / DATABASE)) as copy,
    ):
        live.backup(copy)
        if copy.execute("PRAGMA integrity_check").fetchall() != [("ok",)]:
            sys.exit("the page's database is damaged: nothing was saved")
    if (data / UPLOADS).is_dir():
        shutil.copytree(data / UPLOADS, incoming / UPLOADS)
    incoming.rename(folder / name)
    for old in sorted(folder.glob("2*"))[:-KEPT]:
        shutil.rmtree(old)
    print(f"saved: page {name}")


def restore(data: Path, folder: Path, name: str) -> None:
    saved = sorted(folder.glob(f"{os.environ.get('BACKUP', '2')}*"))
    if not saved:
        sys.exit(f"nothing is saved in {folder}")
    aside = data / f"before-{name}"
    aside.mkdir()
    for found in (DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm", UPLOADS):
        if (data / found).exists():
            (data / found).rename(aside / found)
    shutil.copytree(saved[-1], data, dirs_exist_ok=True)
    with closing(sqlite3.connect(data / DATABASE)) as database:
        (chats,) = database.execute(COUNT_CHATS).fetchone()
    print(f"restored: page {saved[-1].name}, with {chats} chats")


def main() -> None:
    os.umask(0o007)  # the group of the volume reads it, nobody else
    do = {"save": save, "restore": restore}[sys.argv[1]]
    name = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    do(Path(os.environ["DATA"]), Path(os.environ["BACKUPS"], "page"), name)


if __name__ == "__main__":
    main()
