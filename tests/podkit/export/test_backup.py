"""What is saved each night comes back: with a real PostgreSQL and a real gateway, and the chats of
a page's SQLite.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from podkit import ROOT

PROGRAM = ROOT / "podkit/export/files/backup.py"
NOTING = """\
#!/bin/sh
echo "$*" >>words
echo "$PGPASSWORD $PGSSLMODE" >env
for word; do case $word in --file=*) : >"${word#--file=}" ;; esac; done
"""
"""A program of PostgreSQL that notes what it is given, and makes the file that it is to make."""
LAST_WEEK = [f"2026010{day}T021700Z" for day in range(1, 8)]


def run(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
    given = {"PATH": f"{os.environ['PATH']}:/usr/lib/postgresql/15/bin", **env}
    command = [sys.executable, str(PROGRAM), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=given)


class Page:
    """A page's data with one chat, and a folder of backups."""

    def __init__(self, folder: Path) -> None:
        self.data = folder / "data"
        self.backups = folder / "backups"
        (self.data / "uploads").mkdir(parents=True)
        self.backups.mkdir()
        (self.data / "uploads/march.pdf").write_bytes(b"%PDF")
        with closing(sqlite3.connect(self.data / "webui.db")) as database, database:
            database.execute("CREATE TABLE chat (title TEXT)")
            database.execute("INSERT INTO chat VALUES ('rain')")

    def run(self, do: str, **env: str) -> subprocess.CompletedProcess[str]:
        return run(do, "page", DATA=str(self.data), BACKUPS=str(self.backups), **env)

    def titles(self) -> list[str]:
        with closing(sqlite3.connect(self.data / "webui.db")) as database:
            return [title for (title,) in database.execute("SELECT title FROM chat")]


@pytest.fixture
def page(tmp_path: Path) -> Page:
    return Page(tmp_path)


@pytest.mark.slow
def test_chats_come_back_and_what_was_there_is_set_aside(page: Page) -> None:
    saved = page.run("save")
    assert saved.returncode == 0, saved.stderr
    (page.data / "webui.db").write_bytes(b"lost")
    (page.data / "uploads/march.pdf").unlink()
    restored = page.run("restore")
    assert restored.returncode == 0, restored.stderr
    assert restored.stdout.startswith("chats: 1\nrestored: page 2")
    assert page.titles() == ["rain"]
    assert (page.data / "uploads/march.pdf").read_bytes() == b"%PDF"
    (aside,) = page.data.glob("before-*")
    assert (aside / "webui.db").read_bytes() == b"lost"


@pytest.mark.slow
def test_a_damaged_database_takes_no_good_backups_place(page: Page) -> None:
    for name in LAST_WEEK:
        (page.backups / "page" / name).mkdir(parents=True)
    (page.data / "webui.db").write_bytes(b"damaged")
    saved = page.run("save")
    assert saved.returncode != 0
    left = [path.name for path in (page.backups / "page").iterdir() if path.name[0] == "2"]
    assert sorted(left) == LAST_WEEK


@pytest.mark.slow
def test_a_week_is_kept_and_an_older_one_can_be_named(page: Page) -> None:
    for name in LAST_WEEK:
        (page.backups / "page" / name).mkdir(parents=True)
    older = page.backups / "page" / LAST_WEEK[3]
    (older / "webui.db").write_bytes((page.data / "webui.db").read_bytes())
    assert page.run("save").returncode == 0
    left = sorted(path.name for path in (page.backups / "page").iterdir())
    assert left[:-1] == LAST_WEEK[1:]
    assert LAST_WEEK[3] in page.run("restore", BACKUP="20260104").stdout


@pytest.mark.slow
def test_people_and_keys_come_back_into_an_empty_database_alone(tmp_path: Path) -> None:
    from tests.gateway.process import Gateway
    from tests.gateway.services import need, postgres

    need("pg_dump", "postgresql-client")
    with postgres() as url:
        told = {"BACKUPS": str(tmp_path), "DATABASE_URL": url}
        gateway = Gateway(tmp_path / "gateway", GATEWAY_DATABASE_URL=url)
        gateway.prepare()
        gateway.make_key()
        saved = run("save", "database", **told)
        assert saved.returncode == 0, saved.stderr
        again = run("restore", "database", **told)
        assert again.returncode == 1
        assert "already exists" in again.stderr
        empty = url.replace("/gateway", "/drill")
        words = ["createdb", "-h", "127.0.0.1", "-p", url.split(":")[-1].split("/")[0], "-U", "gw"]
        subprocess.run([need(words[0], "postgresql-client"), *words[1:], "drill"], check=True)
        restored = run("restore", "database", BACKUPS=str(tmp_path), DATABASE_URL=empty)
        assert restored.returncode == 0, restored.stderr
        assert restored.stdout.startswith("keys: 1\nrestored: database 2")
        back = Gateway(tmp_path / "back", GATEWAY_DATABASE_URL=empty)
        assert "awa@example.com" in back.quickly("keys", "list")


def test_the_password_of_the_database_is_no_argument(tmp_path: Path) -> None:
    for name in ("pg_dump", "pg_restore"):
        (tmp_path / name).write_text(NOTING)
        (tmp_path / name).chmod(0o755)
    url = "postgresql+asyncpg://podkit:geh%40im@db.example.org:5432/gateway?ssl=require"
    env = {"PATH": f"{tmp_path}:/usr/bin:/bin", "DATABASE_URL": url, "BACKUPS": str(tmp_path)}
    command = [sys.executable, str(PROGRAM), "save", "database"]
    subprocess.run(command, env=env, check=True, cwd=tmp_path)
    assert (tmp_path / "env").read_text() == "geh@im require\n"
    assert "geh" not in (tmp_path / "words").read_text()
