"""A deploy that ends with a pod: what it prints, sends and shows of the key."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import requests_mock as mocking

from tests.podkit.commands.desk import DEPLOY, Run, account, granted
from tests.podkit.samples import CLIENT_KEY, KEY, PASSWORD, POD


def test_a_deploy_prints_data_on_stdout_and_takes_four_calls_up_to_its_pod(
    api: mocking.Mocker, run: Run
) -> None:
    account(api)
    granted(api)
    ended = run(*DEPLOY)
    host = f"https://{POD['id']}"
    assert ended.code == 0
    assert ended.out.splitlines() == [
        POD["id"],
        f"api    {host}-8000.proxy.runpod.net/v1",
        f"webui  {host}-3000.proxy.runpod.net",
    ]
    assert f"end it now: ./stop_pod.sh {POD['id']}" in ended.err
    assert f"it has no watchdog; ./podkit.sh wait {POD['id']}" in ended.err
    assert [sent.method for sent in api.request_history][:4] == ["GET", "GET", "GET", "POST"]
    env = next(sent for sent in api.request_history if sent.method == "POST").json()["env"]
    assert KEY not in json.dumps(env)
    assert (env["PODKIT_API_KEY"], env["WEBUI_ADMIN_PASSWORD"]) == (CLIENT_KEY, PASSWORD)


def test_a_deploy_for_programs_ends_with_one_object(api: mocking.Mocker, run: Run) -> None:
    account(api, {**POD, "name": "podkit-mine-0a1b2c"})
    said = run(*DEPLOY, "--json").json
    assert said.pop("pod")["id"] == POD["id"]
    assert said == {
        "schema": 1,
        "ok": True,
        "command": "deploy",
        "api_url": f"https://{POD['id']}-8000.proxy.runpod.net/v1",
        "webui_url": f"https://{POD['id']}-3000.proxy.runpod.net",
        "model": "olmocr",
        "ends_at": "2026-11-22T00:00:00Z",
    }


def test_a_second_deploy_finds_the_pod_and_says_how_it_differs(
    api: mocking.Mocker, run: Run
) -> None:
    account(api, {**POD, "name": "podkit-mine-0a1b2c"})
    ended = run(
        "deploy", "--model", "mine", "--gpu", "NVIDIA A40", "--data-center", "US-KS-2", "--no-wait"
    )
    assert ended.code == 0
    assert "is already there, $0.86/h; --new makes another" in ended.err
    assert "GPU is NVIDIA L40S, not NVIDIA A40" in ended.err
    assert "data center is EU-RO-1, not US-KS-2" in ended.err
    assert {sent.method for sent in api.request_history} == {"GET"}


def test_the_key_and_login_are_shown_to_a_terminal_only(
    api: mocking.Mocker, run: Run, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = {**POD, "name": "podkit-mine-0a1b2c"}
    login = {"WEBUI_ADMIN_EMAIL": "a@b.c", "WEBUI_ADMIN_PASSWORD": "secret"}
    kept = "".join(f"{name}={value}\n" for name, value in login.items())
    (root / ".env").write_text(f"RUNPOD_API_KEY={KEY}\nPODKIT_API_KEY=pk-ours\n{kept}")
    account(api, {**mine, "env": {"PODKIT_API_KEY": "pk-ours", **login}})
    assert (
        f"key and login: PODKIT_API_KEY, WEBUI_ADMIN_EMAIL, WEBUI_ADMIN_PASSWORD in {root}"
        in run(*DEPLOY).err
    )
    account(api, {**mine, "env": {"PODKIT_API_KEY": "pk-theirs"}})
    assert (
        f"that pod's own, not those of {root}/.env: ./podkit.sh env {POD['id']}" in run(*DEPLOY).err
    )
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    ended = run(*DEPLOY)
    assert "API key: pk-theirs\n" in ended.err
    assert "pk-theirs" not in ended.out
