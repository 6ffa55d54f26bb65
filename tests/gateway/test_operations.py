"""What an operator does: migrate, back up and restore, doctor, and what the command line says when
something is wrong.
"""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest
import requests
from sqlalchemy import create_engine

from podkit_gateway.errors import ConfigurationError
from podkit_gateway.settings import load_settings
from podkit_gateway.tables import HEAD, metadata
from tests.waiting import eventually

from .conftest import config_for
from .process import PASSWORD, ROOT, Gateway
from .stub import Stub

pytestmark = pytest.mark.slow


def test_the_head_that_is_wanted_is_the_newest_migration() -> None:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(ROOT / "podkit_gateway/migrations"))
    assert ScriptDirectory.from_config(config).get_current_head() == HEAD


def test_the_migrations_make_the_tables_that_the_code_has(tmp_path: Path) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    gateway = Gateway(tmp_path)
    gateway.quickly("migrate")
    gateway.quickly("migrate")
    with create_engine(f"sqlite:///{gateway.database}").connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    assert gateway.database.stat().st_mode & 0o077 == 0


def test_a_restored_copy_knows_the_same_keys_and_the_same_usage(
    gateway: Gateway, stubs: list[Stub], tmp_path: Path
) -> None:
    key = gateway.make_key()
    gateway.ask(key)
    eventually(lambda: key.split("_")[2] in gateway.quickly("usage", "--by", "key_id"))
    copy = tmp_path / "copy.backup"
    gateway.quickly("backup", str(copy))
    assert copy.stat().st_mode & 0o077 == 0
    assert key.encode() not in copy.read_bytes()
    other = Gateway(tmp_path / "other", config_for(stubs), FIRST_KEY="x")
    other.quickly("restore", str(copy))
    assert other.quickly("usage", "--csv") == gateway.quickly("usage", "--csv")
    other.start()
    assert other.ask(key).status_code == 200
    other.stop()
    assert "not empty" in other.refused("restore", str(copy))


def test_doctor_says_what_to_fix(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, '[models.a]\nbackends = ["b"]\n[backends.b]\nurl="x"\n')
    found = gateway.invoke("doctor", "--json")
    assert found.exit_code == 1
    texts = [finding["what"] for finding in json.loads(found.stdout)]
    assert "the database is not migrated" in texts
    assert "gateway.toml: backends.b: url must be http(s)://HOST/v1" in texts


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"GATEWAY_PROT": "1"}, "unknown setting GATEWAY_PROT"),
        ({"GATEWAY_REPLICAS": "2"}, "GATEWAY_REDIS_URL"),
        ({"GATEWAY_SIGN_UP": "yes"}, "GATEWAY_SIGN_UP"),
        ({"GATEWAY_PUBLIC_URL": "http://example.com"}, "https"),
        ({"GATEWAY_TOKEN_KEYS_FILE": "/none"}, "GATEWAY_TOKEN_KEYS_FILE"),
    ],
)
def test_a_wrong_setting_is_named(changes: dict[str, str], text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        load_settings(changes)


def test_a_secret_may_be_in_a_file(tmp_path: Path, stubs: list[Stub]) -> None:
    (tmp_path / "key").write_text("from-a-file\n")
    gateway = Gateway(tmp_path, config_for(stubs), FIRST_KEY_FILE=str(tmp_path / "key"))
    assert "first" in gateway.quickly("backends")


def test_the_pages_carry_the_teams_own_name_and_logo(tmp_path: Path) -> None:
    logo = tmp_path / "logo.svg"
    logo.write_text("<svg/>")
    names = {"GATEWAY_NAME": "BurkimbIA & friends", "GATEWAY_LOGO": str(logo)}
    gateway = Gateway(tmp_path, **names)
    gateway.start()
    page = requests.get(f"{gateway.url}/sign-in", timeout=10)
    shown = requests.get(f"{gateway.url}/logo", timeout=10)
    gateway.stop()
    assert "<title>Sign in · BurkimbIA &amp; friends</title>" in page.text
    assert (shown.text, shown.headers["Content-Type"]) == ("<svg/>", "image/svg+xml")


def test_not_migrated_is_not_ready(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path)
    gateway.start()
    answer = requests.get(f"{gateway.url}/ready", timeout=10)
    gateway.stop()
    assert answer.status_code == 503
    assert "podkit-gateway migrate" in answer.text
    assert "podkit-gateway migrate" in gateway.log()[0]["problem"]


def test_a_port_that_is_taken_is_named_with_its_setting(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path)
    for port, setting in (
        (gateway.port, "GATEWAY_PORT"),
        (gateway.metrics_port, "GATEWAY_METRICS_PORT"),
    ):
        with socket.create_server(("127.0.0.1", port)):
            assert gateway.refused("serve").startswith(f"{setting}: 127.0.0.1:{port}")


def test_the_address_of_people_has_the_port_that_was_chosen() -> None:
    assert load_settings({"GATEWAY_PORT": "9000"}).public_url == "http://127.0.0.1:9000"


def test_every_command_but_serve_prints_one_json_document(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path)
    gateway.prepare()

    def ask(*words: str, text: str = "") -> Any:
        return json.loads(gateway.quickly(*words, "--json", text=text))

    new = ("--email", "b@example.com", "--password-stdin")
    assert ask("migrate") == {"revision": HEAD}
    assert ask("admin", "create", *new, text=f"{PASSWORD}\n")["role"] == "admin"
    key = ask("keys", "create", "--owner", "awa@example.com")
    limited = ask("keys", "limit", key["id"], "--requests-per-minute", "5")
    assert limited == {"id": key["id"], "limits": {"requests_per_minute": 5}}
    assert ask("keys", "rotate", key["id"])["key"] != key["key"]
    assert ask("keys", "revoke", key["id"]) == {"id": key["id"], "revoked": True}
    disabled = ask("people", "disable", "--email", "awa@example.com")
    assert disabled == {"email": "awa@example.com", "disabled": True}
    assert [person["email"] for person in ask("people", "list")][-1] == "b@example.com"
    assert [len(ask(*words)) for words in (("usage",), ("backends",))] == [0, 0]
    file = tmp_path / "copy"
    assert ask("backup", str(file)) == {"file": str(file), "bytes": file.stat().st_size}
    other = Gateway(tmp_path / "other")
    assert json.loads(other.quickly("restore", str(file), "--json")) == {"restored": True}
