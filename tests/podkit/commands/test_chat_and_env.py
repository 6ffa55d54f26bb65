"""Commands that use a pod that is there: a question to it, and its address for a shell."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests_mock as mocking

from tests.podkit.commands.desk import ENV, Ended, Run, account, failed
from tests.podkit.samples import CLIENT_KEY, PASSWORD, POD


def test_env_prints_what_a_shell_takes_over_unharmed(api: mocking.Mocker, run: Run) -> None:
    hostile = "a'b\"$(c) `d` $e"
    account(api, {**POD, "env": {**POD["env"], "WEBUI_ADMIN_PASSWORD": hostile}})
    printed = run("env").out
    show = 'printf "%s|%s|%s" "$OPENAI_BASE_URL" "$OPENAI_API_KEY" "$CHAT_PAGE_PASSWORD"'
    shown = subprocess.run(
        ["/bin/bash", "-c", f"{printed}\n{show}"], capture_output=True, text=True, check=True
    )
    assert shown.stdout == f"https://{POD['id']}-8000.proxy.runpod.net/v1|{CLIENT_KEY}|{hostile}"


def test_a_question_is_answered_on_stdout(api: mocking.Mocker, run: Run) -> None:
    account(api, POD)
    chat = f"https://{POD['id']}-8000.proxy.runpod.net/v1/chat/completions"
    api.post(
        chat, text='data: {"choices": [{"delta": {"content": "An invoice."}}]}\n\ndata: [DONE]\n\n'
    )
    assert run("chat", "What is this?") == Ended(0, "An invoice.\n", "")
    assert run("chat", "--pod", POD["name"], "What is this?").out == "An invoice.\n"
    api.post(chat, status_code=502, text="<html>")
    assert "the pod is not up" in failed(run, 1, "chat", "What is this?").err


def test_an_answer_for_programs_is_one_object(api: mocking.Mocker, run: Run) -> None:
    account(api, POD)
    chat = f"https://{POD['id']}-8000.proxy.runpod.net/v1/chat/completions"
    api.post(chat, text='data: {"choices": [{"delta": {"content": "Oui"}}]}\n\ndata: [DONE]\n\n')
    ended = run("chat", "--json", "Qui ?")
    assert json.loads(ended.out) == {
        "schema": 1,
        "ok": True,
        "command": "chat",
        "model": "olmocr",
        "answer": "Oui",
    }


def test_the_environment_for_programs_is_what_a_shell_gets(api: mocking.Mocker, run: Run) -> None:
    account(api, POD)
    said = run("env", "--json").json
    assert said["model"] == "olmocr"
    assert said["env"] == {
        "OPENAI_BASE_URL": f"https://{POD['id']}-8000.proxy.runpod.net/v1",
        "OPENAI_API_KEY": CLIENT_KEY,
        "CHAT_PAGE_URL": f"https://{POD['id']}-3000.proxy.runpod.net",
        "CHAT_PAGE_EMAIL": "admin@podkit.local",
        "CHAT_PAGE_PASSWORD": PASSWORD,
    }


def test_several_pods_that_may_be_meant_have_a_code_of_their_own(
    api: mocking.Mocker, run: Run
) -> None:
    account(api, POD, {**POD, "id": "other1"})
    ended = failed(run, 1, "env", "--json")
    assert ended.json["error"]["code"] == "several-pods"


def test_a_question_may_come_on_stdin_and_a_conversation_goes_on(
    api: mocking.Mocker, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    account(api, POD)
    chat = f"https://{POD['id']}-8000.proxy.runpod.net/v1/chat/completions"
    api.post(chat, text='data: {"choices": [{"delta": {"content": "Oui"}}]}\n\ndata: [DONE]\n\n')

    def asked(stdin: str, *arguments: str) -> list[Any]:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        assert run("chat", *arguments).out == "Oui\n"
        turns = []
        for turn in api.request_history[-1].json()["messages"]:
            content = turn["content"]
            turns.append(content if isinstance(content, str) else content[0]["text"])
        return turns

    assert asked("Qui ?") == ["Qui ?"]
    assert asked("une lettre", "Translate:", "-") == ["Translate:\n\nune lettre"]
    assert asked("", "--continue", "Why?") == ["Translate:\n\nune lettre", "Oui", "Why?"]
    assert asked("", "New?") == ["New?"]


def test_no_question_at_all_is_wrong_usage(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True))
    assert "there is no question" in failed(run, 2, "chat").err


def test_a_pod_whose_url_is_not_known_yet_is_waited_for_first(
    api: mocking.Mocker, run: Run, root: Path
) -> None:
    (root / ".env").write_text(f"{ENV}RUNPOD_PROXY_URL=http://127.0.0.1:{{public_port}}\n")
    account(api, {**POD, "runtime": None})
    for command in (("env",), ("open",), ("chat", "What is this?")):
        assert f"next: ./podkit.sh wait {POD['id']}" in failed(run, 1, *command).err


def test_a_pod_that_boots_is_not_taken_for_a_ready_one(
    api: mocking.Mocker, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    account(api, POD)
    monkeypatch.setattr("webbrowser.open", lambda _: True)
    for command in ("env", "open"):
        told = f"not ready yet (container), ./podkit.sh wait {POD['id']}"
        assert told in run(command).err
    api.get(re.compile(r"\.proxy\.runpod\.net/"), json={"status": True})
    for command in ("env", "open"):
        assert run(command).err == ""


def test_the_only_pod_that_lives_is_meant_even_if_others_have_ended(
    api: mocking.Mocker, run: Run
) -> None:
    account(api, POD, {**POD, "id": "ended1", "name": "podkit-olmocr-ffffff", "status": "EXITED"})
    assert POD["id"] in run("env").out
