"""Open WebUI is public only once its admin gets in and nobody else can."""

import sqlite3
import sys
from collections.abc import Set
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import page_login
import pytest
from boot.chat_page import serve_page
from boot.configuration import Configuration
from boot.failures import Fatal
from chats import Chats

from tests.startup.configurations import configured


class Restored(Chats):
    """Chats that are there already."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.live = False

    def restore(self, now: float, schemas: Set[str]) -> None: ...


class Programs:
    """Stands for the boot's services: records what is started, run and stopped."""

    closing = None

    def __init__(self) -> None:
        self.done: list[str] = []

    def start(self, name: str, argv: list[str]) -> "Programs":
        self.done.append(" ".join(argv[3:]))
        return self

    def run(self, name: str, argv: list[str]) -> None:
        if name == "webui":
            self.done.append(Path(argv[-1]).name)

    def wait_until_healthy(self, port: int, closing: Any) -> None: ...

    def stop(self, seconds: float) -> None:
        self.done.append("stop")


class Page:
    """An Open WebUI that answers so."""

    def __init__(self, signin: int = 200, config: str = '{"status":true}', signup: int = 403):
        self._answers = {
            "signin": (signin, ""),
            "config": (200 if config else 0, config),
            "signup": (signup, ""),
        }

    def __call__(self, url: str, body: Any = None) -> tuple[int, str]:
        assert ":3000/" not in url
        return self._answers[url.rpartition("/")[2]]


@pytest.fixture
def configuration(tmp_path: Path) -> Configuration:
    return configured(tmp_path)


def served(configuration: Configuration, data: Path, page: Page, programs: Any) -> None:
    serve_page(programs, configuration, Restored(data), page)


def test_the_login_is_proven_on_a_port_of_its_own_before_the_public_one_opens(
    configuration: Configuration, tmp_path: Path
) -> None:
    programs = Programs()
    served(configuration, tmp_path, Page(), programs)
    loopback, stop, public = programs.done
    assert loopback.startswith("127.0.0.1 ")
    assert loopback.split()[-1] != "3000"
    assert stop == "stop"
    assert public.endswith(" 0.0.0.0 3000")
    assert "-u WEBUI_ADMIN_PASSWORD " in public


def test_the_login_is_written_into_a_restored_database_before_anything_serves_it(
    configuration: Configuration, tmp_path: Path
) -> None:
    (tmp_path / "webui.db").touch()
    programs = Programs()
    served(configuration, tmp_path, Page(), programs)
    assert programs.done[0] == "page_login.py"
    assert programs.done[1].startswith("127.0.0.1 ")


@pytest.mark.parametrize(
    ("page", "reason"),
    [
        (Page(signin=400), "the admin cannot sign in"),
        (Page(config='{"onboarding":true}'), "the first visitor could become admin"),
        (Page(config=""), "the first visitor could become admin"),
        (Page(signup=200), "a stranger can sign up"),
        (Page(signup=0), "a stranger can sign up"),
    ],
)
def test_open_webui_that_is_not_safe_is_ended_on_loopback(
    configuration: Configuration, tmp_path: Path, page: Page, reason: str
) -> None:
    programs = Programs()
    with pytest.raises(Fatal, match=reason):
        served(configuration, tmp_path, page, programs)
    assert programs.done[-1] == "stop"
    assert "0.0.0.0" not in "".join(programs.done)


def written(folder: Path, monkeypatch: pytest.MonkeyPatch, *users: tuple[str, str]) -> list[Any]:
    """The accounts of a database that had `users` (e-mail, role) when the login was written."""

    async def get_password_hash(password: str) -> str:
        return f"hash of {password}"

    auth = SimpleNamespace(get_password_hash=get_password_hash)
    monkeypatch.setitem(sys.modules, "open_webui", SimpleNamespace(utils=auth))
    monkeypatch.setitem(sys.modules, "open_webui.utils", SimpleNamespace(auth=auth))
    monkeypatch.setitem(sys.modules, "open_webui.utils.auth", auth)
    with closing(sqlite3.connect(folder / "webui.db")) as database, database:
        database.execute("CREATE TABLE user (id, email, role)")
        database.execute("CREATE TABLE auth (id, email, password, active, session_stamp)")
        database.execute("CREATE TABLE file (id, path)")
        database.execute("INSERT INTO file VALUES (1, '/old/uploads/a.png')")
        for number, (email, role) in enumerate(users):
            database.execute("INSERT INTO user VALUES (?, ?, ?)", (number, email, role))
            database.execute("INSERT INTO auth VALUES (?, ?, 'old', 0, 'old')", (number, email))
    page_login.main(folder, "me@podkit.local", "secret")
    with closing(sqlite3.connect(folder / "webui.db")) as database:
        assert database.execute("SELECT path FROM file").fetchall() == [
            (f"{folder}/uploads/a.png",)
        ]
        query = "SELECT user.email, role, password, active FROM user JOIN auth USING (id)"
        return database.execute(query).fetchall()


def test_the_admin_of_an_old_database_gets_the_pods_login(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = (("guest@example.org", "user"), ("old@podkit.local", "admin"))
    assert written(tmp_path, monkeypatch, *users) == [
        ("guest@example.org", "user", "old", 0),
        ("me@podkit.local", "admin", "hash of secret", 1),
    ]


def test_the_account_of_the_pods_address_becomes_admin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = (("old@podkit.local", "admin"), ("me@podkit.local", "user"))
    assert written(tmp_path, monkeypatch, *users)[1] == (
        "me@podkit.local",
        "admin",
        "hash of secret",
        1,
    )


def test_a_database_without_accounts_is_left_to_open_webui(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert written(tmp_path, monkeypatch) == []
