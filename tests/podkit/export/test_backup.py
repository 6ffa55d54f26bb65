"""What is saved each night comes back: with a real PostgreSQL and a real gateway, and the chats of
a page's SQLite.
"""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from podkit import ROOT

FILES = ROOT / "podkit/export/files"
LAST_WEEK = [f"2026010{day}T021700Z" for day in range(1, 8)]


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
        given = {"DATA": str(self.data), "BACKUPS": str(self.backups), **env}
        command = [sys.executable, str(FILES / "page.py"), do]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=given)

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
    assert restored.stdout.endswith(", with 1 chats\n")
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

    createdb = need("createdb", "postgresql-client")
    command = tmp_path / "podkit-gateway"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m podkit_gateway "$@"\n')
    command.chmod(0o755)
    for day in LAST_WEEK:
        (tmp_path / "database").mkdir(exist_ok=True)
        (tmp_path / "database" / day).write_text("")

    def run(do: str, url: str) -> subprocess.CompletedProcess[str]:
        path = f"{tmp_path}:{Path(createdb).parent}:/usr/bin:/bin"
        given = {"PATH": path, "PYTHONPATH": str(ROOT), "BACKUPS": str(tmp_path)}
        words = ["sh", str(FILES / "database.sh"), do]
        given["GATEWAY_DATABASE_URL"] = url
        return subprocess.run(words, capture_output=True, text=True, check=False, env=given)

    with postgres() as url:
        gateway = Gateway(tmp_path / "gateway", GATEWAY_DATABASE_URL=url)
        gateway.prepare()
        gateway.make_key()
        saved = run("save", url)
        assert saved.returncode == 0, saved.stderr
        names = sorted(path.name for path in (tmp_path / "database").iterdir())
        assert names[:-1] == LAST_WEEK[1:]
        again = run("restore", url)
        assert again.returncode != 0
        assert "not empty" in again.stderr
        server = ["-h", "127.0.0.1", "-p", url.split(":")[-1].split("/")[0], "-U", "gw"]
        subprocess.run([createdb, *server, "drill"], check=True)
        restored = run("restore", url.replace("/gateway", "/drill"))
        assert restored.returncode == 0, restored.stderr
        assert f"restored: database {names[-1]}" in restored.stdout
        assert "awa@example.com" in restored.stdout
