"""The .env file that commands read: its mode, the secrets made for it, what is wrong with it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import requests_mock as mocking

from tests.podkit.commands.desk import DEPLOY, Run, account, failed, granted
from tests.podkit.samples import KEY


def test_every_command_that_reads_the_env_file_makes_it_private(
    api: mocking.Mocker, run: Run, root: Path
) -> None:
    (root / ".env").chmod(0o644)
    account(api)
    assert run("list").err.count("its mode is 600 now") == 1
    assert (root / ".env").stat().st_mode & 0o777 == 0o600
    assert "mode" not in run("list").err


def test_the_hint_for_a_missing_key_never_copies_over_a_file_that_is_there(
    run: Run, root: Path
) -> None:
    (root / ".env").write_text("PODKIT_API_KEY=made\n")
    ended = failed(run, 2, "list")
    assert "cp .env.example" not in ended.err
    assert "RUNPOD_API_KEY=..." in ended.err


def test_missing_secrets_are_made_kept_and_only_named(
    api: mocking.Mocker, run: Run, root: Path
) -> None:
    (root / ".env").write_text(f"RUNPOD_API_KEY={KEY}\nPODKIT_API_KEY=\n# mine\n")
    (root / ".env").chmod(0o644)
    account(api)
    granted(api)
    ended = run(*DEPLOY)
    assert ended.code == 0
    lines = (root / ".env").read_text().splitlines()
    assert (lines[0], lines[2]) == (f"RUNPOD_API_KEY={KEY}", "# mine")
    values = dict(line.split("=", 1) for line in lines if "=" in line)
    assert set(values) == {
        "RUNPOD_API_KEY",
        "PODKIT_API_KEY",
        "WEBUI_ADMIN_EMAIL",
        "WEBUI_ADMIN_PASSWORD",
        "WEBUI_SECRET_KEY",
    }
    assert (root / ".env").stat().st_mode & 0o777 == 0o600
    assert "its mode is 600 now" in ended.err
    made = "PODKIT_API_KEY, WEBUI_ADMIN_EMAIL, WEBUI_ADMIN_PASSWORD, WEBUI_SECRET_KEY"
    assert f"made {made} and kept them in" in ended.err
    assert not [value for value in values.values() if value in ended.out + ended.err]
    sent = next(sent for sent in api.request_history if sent.method == "POST").json()["env"]
    assert sent["PODKIT_API_KEY"] == values["PODKIT_API_KEY"]


BAD_SETTINGS = [
    ("NAME ALONE\n", "line 6: this is not NAME=value"),
    ("RUNPOD_API_KEY=\n", "RUNPOD_API_KEY is not set"),
    ("RUNPOD_API_KEY=ключ\n", "RUNPOD_API_KEY"),
    ("RUNPOD_API_URL=http://api.runpod.io/v2\n", "over http the key could be read"),
    ("RUNPOD_API_URL=nonsense\n", "not a URL"),
    ("PODKIT_MAX_HOURS=long\n", "PODKIT_MAX_HOURS in .env is 'long'"),
    ('WEBUI_ADMIN_PASSWORD="the-\npassword"\n', "WEBUI_ADMIN_PASSWORD holds a line break"),
]


@pytest.mark.parametrize(("lines", "what"), BAD_SETTINGS)
@pytest.mark.parametrize(
    "command", [("list",), ("deploy", "--model", "mine"), ("stop", "abc1"), ("env",)]
)
def test_a_bad_setting_is_a_configuration_error_before_anything_is_sent(
    run: Run, root: Path, offline: None, command: tuple[str, ...], lines: str, what: str
) -> None:
    with (root / ".env").open("a") as file:
        file.write(lines)
    assert what in failed(run, 2, *command).err


def test_an_env_file_that_cannot_be_read_or_a_checkout_that_cannot_be_written_is_configuration(
    api: mocking.Mocker, run: Run, root: Path
) -> None:
    (root / ".podkit").write_text("a file in place of the folder")
    assert f"cannot write {root}/.podkit" in failed(run, 2, *DEPLOY).err
    (root / ".env").unlink()
    (root / ".env").mkdir()
    assert f"cannot read {root}/.env" in failed(run, 2, "list").err


def test_an_env_file_that_cannot_be_replaced_stops_a_deploy_before_anything_is_made(
    api: mocking.Mocker, run: Run, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(*_: Any) -> None:
        raise OSError(30, "Read-only file system")

    (root / ".env").write_text(f"RUNPOD_API_KEY={KEY}\n")
    monkeypatch.setattr(os, "replace", read_only)
    ended = failed(run, 2, *DEPLOY)
    assert f"cannot write {root}/.env: Read-only file system" in ended.err
    assert api.call_count == 0
