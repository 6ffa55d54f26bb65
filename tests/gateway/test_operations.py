"""What an operator does: migrate, back up and restore, doctor, and what the command line says when
something is wrong.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import requests

from podkit_gateway.tables import HEAD

from .conftest import config_for
from .process import ROOT, GatewayProcess, until
from .stub import Stub


def test_the_head_that_is_wanted_is_the_newest_migration() -> None:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(ROOT / "podkit_gateway/migrations"))
    assert ScriptDirectory.from_config(config).get_current_head() == HEAD


def test_the_migrations_make_the_tables_that_the_code_has(tmp_path: Path) -> None:
    gateway = GatewayProcess(tmp_path)
    gateway.run("migrate")
    gateway.run("migrate")
    show = (
        "import asyncio\n"
        "from alembic.autogenerate import compare_metadata\n"
        "from alembic.migration import MigrationContext\n"
        "from podkit_gateway.settings import Secret\n"
        "from podkit_gateway.store import open_engine\n"
        "from podkit_gateway.tables import metadata\n"
        "def compare(c): return compare_metadata(MigrationContext.configure(c), metadata)\n"
        "async def main():\n"
        f"    engine = open_engine(Secret({gateway.environment['GATEWAY_DATABASE_URL']!r}))\n"
        "    async with engine.connect() as c: print(await c.run_sync(compare))\n"
        "    await engine.dispose()\n"
        "asyncio.run(main())\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", show], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert ended.stdout.strip() == "[]"
    assert (tmp_path / "gateway.db").stat().st_mode & 0o077 == 0


def test_a_restored_copy_knows_the_same_keys_and_the_same_usage(
    gateway: GatewayProcess, stubs: list[Stub], key: str, tmp_path: Path
) -> None:
    gateway.ask(key)
    until(lambda: json.loads(gateway.quickly("usage", "--by", "model", "--json")))
    time.sleep(1.5)
    copy = tmp_path / "copy.backup"
    gateway.run("backup", str(copy))
    assert copy.stat().st_mode & 0o077 == 0
    assert key.encode() not in copy.read_bytes()
    other = GatewayProcess(tmp_path / "other", config_for(stubs), FIRST_KEY="x")
    other.run("restore", str(copy))
    assert other.quickly("usage", "--csv") == gateway.quickly("usage", "--csv")
    other.start()
    assert other.ask(key).status_code == 200
    other.stop()
    assert "not empty" in other.run("restore", str(copy), code=1)


def test_doctor_says_what_to_fix(tmp_path: Path) -> None:
    gateway = GatewayProcess(tmp_path, '[models.a]\nbackends = ["b"]\n[backends.b]\nurl="x"\n')
    found = subprocess.run(
        [sys.executable, "-m", "podkit_gateway", "doctor", "--json"],
        env=gateway.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 1
    texts = [finding["what"] for finding in json.loads(found.stdout)]
    assert "the database is not migrated" in texts
    assert "gateway.toml: backends.b: url must be http(s)://HOST/v1" in texts


def test_wrong_settings_end_with_code_2_and_name_the_setting(tmp_path: Path) -> None:
    for changes, text in (
        ({"GATEWAY_PROT": "1"}, "unknown setting GATEWAY_PROT"),
        ({"GATEWAY_REPLICAS": "2"}, "GATEWAY_REDIS_URL"),
        ({"GATEWAY_SIGN_UP": "yes"}, "GATEWAY_SIGN_UP"),
        ({"GATEWAY_PUBLIC_URL": "http://example.com"}, "https"),
        ({"GATEWAY_TOKEN_KEYS_FILE": str(tmp_path / "none")}, "GATEWAY_TOKEN_KEYS_FILE"),
    ):
        gateway = GatewayProcess(tmp_path, **changes)
        assert text in gateway.run("backends", code=2)


def test_a_secret_may_be_in_a_file(tmp_path: Path, stubs: list[Stub]) -> None:
    (tmp_path / "key").write_text("from-a-file\n")
    gateway = GatewayProcess(tmp_path, config_for(stubs), FIRST_KEY_FILE=str(tmp_path / "key"))
    assert "first" in gateway.run("backends")


def test_not_migrated_is_not_ready(tmp_path: Path) -> None:
    gateway = GatewayProcess(tmp_path)
    gateway.start()
    answer = requests.get(f"{gateway.url}/ready", timeout=10)
    gateway.stop()
    assert answer.status_code == 503
    assert "podkit-gateway migrate" in answer.text
