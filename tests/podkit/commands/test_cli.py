"""The commands from the outside: what they print and where, their exit codes, and what bad input is
answered with.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests_mock as mocking

import podkit
from podkit.commands import app as application
from podkit.commands import cli, list_pods, logs, tables
from podkit.errors import PodkitError
from podkit.interrupts import Interrupts
from podkit.models.spec import pack
from tests.podkit.samples import (
    API,
    CLIENT_KEY,
    FOREIGN,
    GPU,
    HEX,
    KEY,
    PASSWORD,
    POD,
    SECRETS,
    VOLUME,
    Clock,
    problem,
)

ONE = f"{API}/pods/{POD['id']}"
NO_STOCK = "There are no longer any instances available with the requested specifications."
ENV = f"""\
RUNPOD_API_KEY={KEY}
PODKIT_API_KEY={CLIENT_KEY}
WEBUI_ADMIN_PASSWORD={PASSWORD}
WEBUI_SECRET_KEY={HEX}
WEBUI_ADMIN_EMAIL=admin@podkit.local
"""
REVISION = "0123456789abcdef0123456789abcdef01234567"
SCRIPT = """\
export MODEL_REPO="org/mine"
export MODEL_REVISION="0123456789abcdef0123456789abcdef01234567"
export MODEL_SERVED_NAMES="mine"
export MODEL_WEIGHTS_GIB="9.5"
export MODEL_KV_BYTES_PER_TOKEN="57344"
export MODEL_MAX_LEN="16384"
export MODEL_GPU_UTILIZATION="0.90"
"""


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out.splitlines()[-1])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A checkout with one small model and a filled .env."""
    root = tmp_path / "check out"
    (root / "startup").mkdir(parents=True)
    (root / "startup/startup_mine.sh").write_text(SCRIPT)
    (root / "startup/start.sh").write_text("echo start\n")
    (root / ".env").write_text(ENV)
    (root / ".env").chmod(0o600)
    return root


Run = Callable[..., Ended]
Real = application.App


@pytest.fixture
def run(
    root: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Run:
    """Runs a command in this process, with a clock that only sleeps move; no command but env may
    show a secret.
    """
    time = SimpleNamespace(time=clock, sleep=clock.sleep)
    monkeypatch.setattr(application, "time", time)
    for module in (list_pods, logs):
        monkeypatch.setattr(module, "time", time)
    monkeypatch.setattr(cli, "App", lambda **parts: Real(root, **parts))
    monkeypatch.setattr(Interrupts, "install", lambda _: None)

    def run(*arguments: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["podkit", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main(Interrupts())
        printed = capfd.readouterr()
        assert "Traceback" not in printed.out + printed.err
        if arguments[:1] != ("env",):
            assert not [secret for secret in SECRETS if secret in printed.out + printed.err]
        return Ended(int(ended.value.code or 0), printed.out, printed.err)

    return run


def failed(run: Run, code: int, *arguments: str) -> Ended:
    """A command that fails with this code: the last two lines of stderr say what, and what to do
    next.
    """
    ended = run(*arguments)
    assert ended.code == code, ended.err
    what, what_next = ended.err.splitlines()[-2:]
    assert re.match(r"podkit: \S", what)
    assert re.match(r"  next: \S", what_next)
    return ended


def account(api: mocking.Mocker, *pods: dict[str, Any], **changes: Any) -> None:
    """An account with these pods, whose URLs do not answer yet, a volume and one GPU type.

    `changes` replace what a list answers.
    """
    api.get(re.compile(r"\.proxy\.runpod\.net/"), status_code=502, text="<html>")
    api.get(re.compile(rf"{API}/pods/\w+/logs"), text="")
    answers = {
        "pods": {"json": {"pods": pods}},
        "network-volumes": {"json": {"networkVolumes": [VOLUME]}},
        "catalog/gpus": {"json": {"gpus": [GPU, {**GPU, "id": "NVIDIA A100 80GB PCIe"}]}},
        "catalog/datacenters": {"json": {"dataCenters": [{"id": "EU-RO-1"}, {"id": "US-KS-2"}]}},
    }
    for path, answer in {**answers, **changes}.items():
        api.get(f"{API}/{path}", **answer)


def granted(api: mocking.Mocker) -> None:
    """The account grants a create, and lists the pod from then on."""

    def create(request: Any, context: Any) -> Any:
        context.status_code = 201
        pod = {**POD, "name": request.json()["name"], "env": request.json()["env"], "runtime": None}
        account(api, pod)
        return pod

    api.post(f"{API}/pods", json=create)


DEPLOY = ("deploy", "--model", "mine", "--gpu", "NVIDIA L40S", "--no-wait")


def test_a_deploy_prints_data_on_stdout_and_takes_four_calls_up_to_its_pod(
    api: mocking.Mocker, run: Run
) -> None:
    account(api)
    granted(api)
    ended = run(*DEPLOY)
    host = f"https://{POD['id']}"
    assert (ended.code, ended.out) == (
        0,
        f"{POD['id']}\napi    {host}-8000.proxy.runpod.net/v1\nwebui  {host}-3000.proxy.runpod.net\n",
    )
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


def test_env_prints_what_a_shell_takes_over_unharmed(api: mocking.Mocker, run: Run) -> None:
    hostile = "a'b\"$(c) `d` $e"
    account(api, {**POD, "env": {**POD["env"], "WEBUI_ADMIN_PASSWORD": hostile}})
    printed = run("env").out
    show = 'printf "%s|%s|%s" "$OPENAI_BASE_URL" "$OPENAI_API_KEY" "$CHAT_PAGE_PASSWORD"'
    shown = subprocess.run(
        ["/bin/bash", "-c", f"{printed}\n{show}"], capture_output=True, text=True, check=True
    )
    assert shown.stdout == f"https://{POD['id']}-8000.proxy.runpod.net/v1|{CLIENT_KEY}|{hostile}"


def test_without_a_command_its_commands_are_shown_by_what_they_are_for(run: Run) -> None:
    shown = run()
    assert shown.code == 0
    assert re.search(r"^A pod's life:\n  deploy  ", shown.out, re.MULTILINE)


def test_the_list_of_pods(api: mocking.Mocker, run: Run) -> None:
    account(api, POD, FOREIGN)
    table = run("list")
    assert table.code == 0
    assert table.err == ""
    assert "abc123def456gh  podkit-olmocr-0a1b2c  container  0.86" in table.out
    assert "    not podkit's" in table.out
    assert "total: $1.72/h" in table.out
    assert "their-secret" not in table.out
    assert f"not ready yet: ./podkit.sh wait {POD['id']}" in table.out
    said = run("list", "--json").json
    assert [pod["phase"] for pod in said["pods"]] == ["container", None]
    assert (said["schema"], said["ok"], said["command"]) == (1, True, "list")
    assert [pod["podkit"] for pod in said["pods"]] == [True, False]
    assert said["pods"][0]["api_url"] == f"https://{POD['id']}-8000.proxy.runpod.net/v1"
    assert said["pods"][0]["webui_url"] == f"https://{POD['id']}-3000.proxy.runpod.net"
    assert said["pods"][1]["api_url"] is None


def test_a_list_that_is_watched_is_shown_again_until_it_is_interrupted(
    api: mocking.Mocker, run: Run, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(seconds: float) -> None:
        clock.sleep(seconds)
        if len(clock.naps) == 3:
            raise PodkitError("interrupted")

    monkeypatch.setattr(list_pods, "time", SimpleNamespace(sleep=interrupted))
    account(api, POD)
    assert run("list", "--watch").out.count("podkit-olmocr-0a1b2c") == 3
    assert clock.naps == [5.0, 5.0, 5.0]


def test_a_wide_list_has_the_volume_and_the_whole_gpu_type(api: mocking.Mocker, run: Run) -> None:
    account(api, POD)
    row = run("list", "--wide").out.splitlines()[1]
    assert "NVIDIA L40S" in row
    assert row.endswith("EU-RO-1      vol1")


def test_a_list_of_nothing_is_empty_data_and_a_word(api: mocking.Mocker, run: Run) -> None:
    account(api)
    ended = run("list")
    assert (ended.code, ended.out, ended.err) == (0, "", "no pods; ./deploy_olmocr.sh makes one\n")
    assert run("list", "--json").json["pods"] == []


def test_stop_ends_what_it_was_told_and_leaves_foreign_pods(api: mocking.Mocker, run: Run) -> None:
    account(api, POD, FOREIGN)
    api.delete(ONE, status_code=204)
    api.get(ONE, **problem(404))
    ended = run("stop", "abc1", "--json")
    assert ended.code == 0
    assert ended.json == {"schema": 1, "ok": True, "command": "stop", "pods": [POD["id"]]}
    assert "is gone and no longer billed" in ended.err
    assert run("stop", "--all", "--yes").code == 0
    assert {sent.url for sent in api.request_history if sent.method != "GET"} == {ONE}


@pytest.fixture
def typing(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes a terminal of stdin and stderr, on which a person types this line."""

    def typed(line: str) -> None:
        stdin = io.TextIOWrapper(io.BytesIO(f"{line}\n".encode()))
        monkeypatch.setattr(stdin, "isatty", lambda: True, raising=False)
        monkeypatch.setattr(sys, "stdin", stdin)
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True)

    return typed


def test_stop_of_all_asks_a_person_and_takes_only_yes_for_an_answer(
    api: mocking.Mocker, run: Run, typing: Callable[[str], None]
) -> None:
    account(api, POD)
    api.delete(ONE, status_code=204)
    api.get(ONE, **problem(404))
    for answer in ("n", "why"):
        typing(answer)
        ended = run("stop", "--all")
        assert ended.code == 2
        assert "end these 1 pods? [y/N]" in ended.err
        assert "nothing was done" in ended.err
    assert {sent.method for sent in api.request_history} <= {"GET"}
    typing("y")
    assert run("stop", "--all").code == 0
    assert [sent.url for sent in api.request_history if sent.method == "DELETE"] == [ONE]


def test_stop_of_what_is_not_there_is_a_failure_with_the_list(
    api: mocking.Mocker, run: Run
) -> None:
    account(api, POD)
    assert POD["name"] in failed(run, 1, "stop", "nothing").err


def test_a_volume_is_made_when_asked_for_and_its_price_told(api: mocking.Mocker, run: Run) -> None:
    account(api, **{"network-volumes": {"json": {"networkVolumes": []}}})
    api.post(f"{API}/network-volumes", status_code=201, json=VOLUME)
    ended = run("volume", "create", "--size", "100")
    assert (ended.code, ended.out) == (0, "vol1\n")
    assert "about $7.00 a month" in ended.err
    assert api.last_request.json() == {"name": "podkit", "size": 100, "dataCenter": "EU-RO-1"}


def test_a_volume_of_that_name_is_found_and_none_is_made(api: mocking.Mocker, run: Run) -> None:
    account(api)
    ended = run("volume", "create", "--size", "100")
    assert (ended.code, ended.out) == (0, "vol1\n")
    assert "is there already, nothing was made" in ended.err
    assert {request.method for request in api.request_history} == {"GET"}


def test_a_volume_is_deleted_once_its_name_is_typed(
    api: mocking.Mocker, run: Run, typing: Callable[[str], None]
) -> None:
    account(api)
    at = f"{API}/network-volumes/vol1"
    api.delete(at, status_code=204)
    typing("podkid")
    ended = run("volume", "delete", "vol1")
    assert ended.code == 2
    assert "nothing was deleted" in ended.err
    assert {sent.method for sent in api.request_history} == {"GET"}
    typing("podkit")
    assert run("volume", "delete", "vol1").code == 0
    assert [sent.url for sent in api.request_history if sent.method == "DELETE"] == [at]
    assert run("volume", "delete", "vol1", "--confirm", "podkit").code == 0


def test_a_volume_is_not_deleted_unseen_unknown_or_while_a_pod_uses_it(
    api: mocking.Mocker, run: Run
) -> None:
    account(api)
    ended = failed(run, 2, "volume", "delete", "vol1")
    assert "there is no terminal to ask on" in ended.err
    assert "--confirm podkit" in ended.err
    assert "no network volume 'vol9'" in failed(run, 1, "volume", "delete", "vol9").err
    account(api, POD)
    ended = failed(run, 2, "volume", "delete", "vol1", "--confirm", "podkit")
    assert f"./stop_pod.sh {POD['id']}" in ended.err
    assert {sent.method for sent in api.request_history} == {"GET"}


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
        for turn in api.last_request.json()["messages"]:
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


def test_a_log_is_printed_as_it_is(api: mocking.Mocker, run: Run) -> None:
    account(api, POD)
    api.get(
        f"{ONE}/logs",
        text='id: 2026-06-01T12:02:03Z/1\ndata: {"line": "one"}\n\ndata: {"line": "two"}\n\n',
    )
    assert run("logs").out == "one\ntwo\n"


def test_a_log_has_as_many_lines_as_wanted_each_with_its_time(
    api: mocking.Mocker, run: Run
) -> None:
    account(api, POD)
    line = '{"ts": "2026-06-01T12:02:03Z", "source": "container", "line": "one"}'
    api.get(f"{ONE}/logs", text=f"id: 2026-06-01T12:02:03Z\ndata: {line}\n\n")
    assert run("logs", "--tail", "20", "--timestamps").out == "2026-06-01T12:02:03Z  one\n"
    assert api.last_request.qs["tail"] == ["20"]


def test_the_log_of_a_pod_that_is_gone_is_what_was_seen_of_it(
    api: mocking.Mocker, run: Run
) -> None:
    account(api, POD)
    api.get(f"{ONE}/logs", text='data: {"source": "container", "line": "its last words"}\n\n')
    run("logs")
    account(api)
    ended = run("logs", POD["id"][:6])
    assert ended.out == "its last words\n"
    assert f"pod {POD['id']} is gone" in ended.err
    assert "no pod" in failed(run, 1, "logs", "another").err


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("a connection was made")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def request_of(gpu: str, startup_b64: str) -> dict[str, Any]:
    return {
        "method": "POST",
        "url": "https://api.runpod.io/v2/pods",
        "body": {
            "name": "podkit-mine-(6 hex digits)",
            "image": "runpod/pytorch:1.1.0-cu1300-torch291-ubuntu2404",
            "cloud": "SECURE",
            "dataCenterIds": ["EU-RO-1"],
            "gpu": {"id": gpu, "count": 1, "minCudaVersion": "13.0"},
            "disk": 40,
            "ports": ["8000/http", "3000/http"],
            "mounts": {
                "network": [
                    {"volumeId": "(the volume named podkit in EU-RO-1)", "path": "/workspace"}
                ]
            },
            "entrypoint": ["/bin/bash", "-c"],
            "cmd": ["echo start\n"],
            "env": {
                "PODKIT_MODEL": "mine",
                "PODKIT_API_KEY": "***",
                "PODKIT_SERVED_NAME": "mine",
                "PODKIT_CHECKPOINT": f"org/mine@{REVISION}",
                "WEBUI_ADMIN_EMAIL": "***",
                "WEBUI_ADMIN_PASSWORD": "***",
                "WEBUI_SECRET_KEY": "***",
                "PODKIT_ENDS_AT": "",
                "PODKIT_IDLE_MINUTES": "30",
                "PODKIT_BOOT_MINUTES": "30",
                "STARTUP_B64": startup_b64,
            },
        },
    }


@pytest.mark.parametrize("filled", [True, False])
def test_a_dry_run_prints_the_requests_and_needs_writes_and_sends_nothing(
    run: Run, root: Path, offline: None, filled: bool
) -> None:
    if not filled:
        (root / ".env").unlink()
    before = sorted(root.rglob("*"))
    gpus = ("NVIDIA L40S", "NVIDIA A40")
    dry = ("deploy", "--model", "mine", "--dry-run", "--max-hours", "0")
    dry += ("--gpu", gpus[0], "--gpu", gpus[1])
    ended = run(*dry, "--json")
    assert ended.code == 0
    assert ended.json == {
        "schema": 1,
        "ok": True,
        "command": "deploy",
        "dry_run": True,
        "requests": [request_of(gpu, pack(root / "startup")) for gpu in gpus],
    }
    shown = run(*dry).out
    packed = pack(root / "startup")
    first, body = shown.splitlines()[0], shown.partition("\n")[2].rpartition("\n}\n")[0] + "\n}"
    assert first == "POST https://api.runpod.io/v2/pods"
    digest = hashlib.sha256(packed.encode()).hexdigest()[:12]
    short = f"({len(packed):,} characters, sha256 {digest}...; --json prints them)"
    assert json.loads(body) == request_of(gpus[0], short)["body"]
    assert "\n  " in body
    assert shown.endswith("\nif that is refused, the same with gpu.id 'NVIDIA A40'\n")
    assert sorted(root.rglob("*")) == before


def test_a_dry_run_shows_no_token(run: Run, root: Path, offline: None) -> None:
    with (root / ".env").open("a") as file:
        file.write("HF_TOKEN=hf_the-token\n")
    dry = ("deploy", "--model", "mine", "--dry-run")
    assert run(*dry, "--json").json["requests"][0]["body"]["env"]["HF_TOKEN"] == "***"
    assert '"HF_TOKEN": "***"' in run(*dry).out


BAD_SETTINGS = [
    ("NAME ALONE\n", "line 6: this is not NAME=value"),
    ("RUNPOD_API_KEY=\n", "RUNPOD_API_KEY is not set"),
    ("RUNPOD_API_KEY=ключ\n", "RUNPOD_API_KEY"),
    ("RUNPOD_API_URL=http://api.runpod.io/v2\n", "over http the key could be read"),
    ("RUNPOD_API_URL=nonsense\n", "not a URL"),
    ("PODKIT_MAX_HOURS=long\n", "PODKIT_MAX_HOURS is 'long'"),
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


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("volume",), "Missing command"),
        (("nonsense",), "No such command"),
        (("list", "--nonsense"), "No such option"),
        (("deploy",), "--model"),
        (("deploy", "--model", "other"), "no model 'other'"),
        (("deploy", "--model", "mine", "--max-price", "-1"), "PODKIT_MAX_PRICE"),
        (("deploy", "--model", "mine", "--boot-minutes", "0"), "PODKIT_BOOT_MINUTES"),
        (("stop",), "say which pods"),
        (("stop", "--all", "--yes", "abc"), "say which pods"),
        (("stop", "abc", "--keep", "--terminate"), "contradict"),
        (("volume", "create"), "--size"),
        (("volume", "create", "--size", "5"), "10<=x<=4096"),
        (("sandbox", "explode"), "explode"),
    ],
)
def test_wrong_usage_is_told_with_the_way_to_the_options(
    run: Run, offline: None, arguments: tuple[str, ...], what: str
) -> None:
    ended = failed(run, 2, *arguments)
    assert what in ended.err
    assert len(ended.err.splitlines()) == 2
    assert "  --help" not in ended.err


API_FAULTS: list[tuple[dict[str, Any], str]] = [
    (problem(401, "bad key"), "401: bad key"),
    (problem(403, "no access"), "403: no access"),
    (
        {"status_code": 403, "text": "<html>", "headers": {"Content-Type": "text/html"}},
        "an HTML page with status 403",
    ),
    (
        {"status_code": 502, "text": "<html>", "headers": {"Content-Type": "text/html"}},
        "an HTML page with status 502",
    ),
    (problem(500, "down\nfor\tnow"), "500: down for now"),
    ({"text": "{"}, "is not JSON"),
    ({"json": {"other": 1}}, "no list `pods`"),
    ({"json": {"pods": [{"name": "podkit-olmocr-0a1b2c"}]}}, "without `id`"),
]


@pytest.mark.parametrize(("fault", "what"), API_FAULTS)
@pytest.mark.parametrize("command", [("list",), ("deploy", "--model", "mine")])
def test_a_fault_of_the_api_is_told_in_one_line(
    api: mocking.Mocker, run: Run, command: tuple[str, ...], fault: dict[str, Any], what: str
) -> None:
    account(api, pods=fault)
    ended = failed(run, 1, *command)
    assert what in ended.err
    assert len([line for line in ended.err.splitlines() if line.strip()]) == 2


def test_an_answer_with_unknown_fields_is_no_fault(api: mocking.Mocker, run: Run) -> None:
    account(
        api,
        {**POD, "brand": "new"},
        pods={"json": {"pods": [{**POD, "brand": "new"}], "also": "new"}},
    )
    assert run("list").code == 0


def test_no_network_is_told_in_one_line(run: Run, root: Path, clock: Clock) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (root / ".env").open("a") as file:
        file.write(f"RUNPOD_API_URL=http://127.0.0.1:{port}/v2\n")
    assert "GET /pods: no connection" in failed(run, 1, "list").err
    assert len(clock.naps) == 4


WRONG_PLACES = [
    (("--gpu", "NVIDIA L40"), {}, "unknown GPU type 'NVIDIA L40'", "did you mean 'NVIDIA L40S'?"),
    (("--data-center", "EU-R0-1"), {}, "unknown data center 'EU-R0-1'", "did you mean 'EU-RO-1'?"),
    (("--data-center", "US-KS-2"), {}, "no network volume in US-KS-2", "volume create --size 100"),
    (
        ("--volume", "vol1", "--data-center", "US-KS-2"),
        {},
        "lies in EU-RO-1",
        "--data-center EU-RO-1",
    ),
    (("--volume", "vol9"), {}, "no network volume 'vol9'", "volume list"),
]


@pytest.mark.parametrize(("options", "changes", "what", "hint"), WRONG_PLACES)
def test_a_place_that_does_not_exist_is_answered_with_one_that_does(
    api: mocking.Mocker,
    run: Run,
    options: tuple[str, ...],
    changes: dict[str, Any],
    what: str,
    hint: str,
) -> None:
    account(api, **changes)
    ended = failed(run, 2, "deploy", "--model", "mine", *options)
    assert what in ended.err
    assert hint in ended.err
    assert {sent.method for sent in api.request_history} == {"GET"}


def test_no_free_gpu_is_exit_75_with_each_refusal_in_the_providers_words(
    api: mocking.Mocker, run: Run
) -> None:
    account(api)
    api.post(f"{API}/pods", **problem(400, NO_STOCK))
    ended = failed(
        run,
        75,
        "deploy",
        "--model",
        "mine",
        "--gpu",
        "NVIDIA L40S",
        "--gpu",
        "NVIDIA A100 80GB PCIe",
        "--json",
    )
    assert ended.json["error"]["code"] == "no-capacity"
    assert (
        f"NVIDIA L40S, $0.86/h, stock LOW: refused ({NO_STOCK}; CUDA 12.8, 13.0 (full))"
        in ended.err
    )
    assert ended.err.count(NO_STOCK) == 2
    assert "./deploy_mine.sh --wait-for-stock" in ended.json["error"]["hint"]
    assert len([sent for sent in api.request_history if sent.method == "POST"]) == 2


def test_refusals_without_a_known_text_put_the_request_in_doubt(
    api: mocking.Mocker, run: Run
) -> None:
    account(api)
    api.post(f"{API}/pods", **problem(400, "mounts are not allowed"))
    assert "the request itself may be at fault" in failed(run, 1, *DEPLOY).err


@pytest.mark.parametrize("status", [401, 402, 404, 413, 422])
def test_what_no_other_gpu_cures_stops_at_the_first(
    api: mocking.Mocker, run: Run, status: int
) -> None:
    account(api)
    api.post(f"{API}/pods", **problem(status, "so it is", "/field: why"))
    gpus = ("--gpu", "NVIDIA L40S", "--gpu", "NVIDIA A100 80GB PCIe")
    ended = failed(run, 1, "deploy", "--model", "mine", *gpus)
    assert f"podkit: POST /pods: {status}: so it is; /field: why" in ended.err
    assert len([sent for sent in api.request_history if sent.method == "POST"]) == 1


def test_a_catalogue_that_cannot_be_read_does_not_stop_a_deploy(
    api: mocking.Mocker, run: Run
) -> None:
    account(api, **{"catalog/gpus": problem(500)})
    granted(api)
    ended = run(*DEPLOY)
    assert ended.code == 0
    assert "prices and stock are unknown" in ended.err


def test_but_it_does_where_a_price_limit_is_set(api: mocking.Mocker, run: Run) -> None:
    account(api, **{"catalog/gpus": problem(500)})
    ended = failed(run, 1, *DEPLOY, "--max-price", "0.90")
    assert "prices could not be read" in ended.err
    assert {sent.method for sent in api.request_history} == {"GET"}


@pytest.mark.parametrize(
    "command",
    [("list",), ("deploy", "--model", "mine"), ("stop", "abc1"), ("wait", "abc"), ("doctor",)],
    ids=" ".join,
)
def test_a_failure_for_programs_is_one_object_at_the_end_of_stdout(
    api: mocking.Mocker, run: Run, command: tuple[str, ...]
) -> None:
    account(api, pods=problem(401, "bad key"))
    ended = failed(run, 1, *command, "--json")
    said = ended.json
    more = {"findings", "troubles"} if command == ("doctor",) else set()
    assert set(said) == {"schema", "ok", "error"} | more
    assert (said["schema"], said["ok"], set(said["error"])) == (
        1,
        False,
        {"code", "message", "hint"},
    )
    assert "bad key" in json.dumps(said)


def test_wrong_usage_with_json_is_such_an_object_too(run: Run) -> None:
    assert failed(run, 2, "stop", "--json").json["error"]["code"] == "usage"
    assert failed(run, 2, "list", "--json", "--nonsense").json["error"]["code"] == "usage"


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


def broken(*_: Any, **__: Any) -> str:
    raise ZeroDivisionError("oops")


def test_a_defect_is_one_line_and_its_traceback_goes_to_a_private_file_on_request(
    api: mocking.Mocker, run: Run, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    account(api, POD)
    monkeypatch.setattr(tables, "pod_table", broken)
    ended = failed(run, 1, "list")
    assert "a defect in podkit (ZeroDivisionError)" in ended.err
    assert "PODKIT_DEBUG=1" in ended.err
    log = root / ".podkit/debug.log"
    assert not log.exists()
    monkeypatch.setenv("PODKIT_DEBUG", "1")
    assert str(log) in failed(run, 1, "list").err
    assert "ZeroDivisionError: oops" in log.read_text()
    assert log.stat().st_mode & 0o777 == 0o600
    assert not [secret for secret in SECRETS if secret in log.read_text()]


def test_a_defect_whose_details_cannot_be_written_is_still_one_line(
    api: mocking.Mocker, run: Run, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    account(api, POD)
    monkeypatch.setattr(tables, "pod_table", broken)
    monkeypatch.setenv("PODKIT_DEBUG", "1")
    (root / ".podkit").write_text("a file in place of the folder")
    ended = failed(run, 1, "list")
    assert "a defect in podkit (ZeroDivisionError)" in ended.err
    assert f"could not be written to {root}/.podkit/debug.log" in ended.err


def test_a_sandbox_that_does_not_start_is_told_in_its_own_words(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from podkit_sandbox import control

    def broken(*_: Any, **__: Any) -> None:
        raise control.SandboxError("The sandbox did not start: no port")

    monkeypatch.setattr(control, "start", broken)
    for command in (("list", "--sandbox"), ("sandbox", "start")):
        assert "podkit: The sandbox did not start: no port" in failed(run, 1, *command).err


def test_commands_in_messages_are_those_that_work_in_the_sandbox(
    run: Run, api: mocking.Mocker, monkeypatch: pytest.MonkeyPatch
) -> None:
    from podkit_sandbox import control

    connection = control.Connection(API, "sandbox-key", 1)
    monkeypatch.setattr(control, "start", lambda *_, **__: connection)
    account(api)
    assert run("list", "--sandbox").err.endswith(
        "nothing is billed\nno pods; ./deploy_olmocr.sh --sandbox makes one\n"
    )
    assert api.last_request.headers["Authorization"] == "Bearer sandbox-key"


def test_a_process_of_its_own_fails_the_same_way() -> None:
    """Once for real: `python -m podkit`, with arguments that are refused before any setting is
    read.
    """
    ended = subprocess.run(
        [sys.executable, "-P", "-m", "podkit", "stop", "--keep", "--terminate", "x"],
        cwd="/", capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.splitlines() == [
        "podkit: --keep and --terminate contradict each other",
        "  next: give one of them",
    ]
    assert podkit.__version__ in subprocess.run(
        [sys.executable, "-P", "-m", "podkit", "--version"], capture_output=True, text=True, check=True, timeout=30
    ).stdout  # fmt: skip


def field_names(value: Any) -> set[str]:
    """Every field in it, at any depth; not the days, GPU types, models and data centers that are
    fields, too.
    """
    if isinstance(value, list):
        return set().union(*map(field_names, value))
    if not isinstance(value, dict):
        return set()
    return {name for name in value if re.fullmatch("[a-z_0-9]+", name)} | field_names(
        list(value.values())
    )


@pytest.mark.parametrize(
    "command",
    [
        ("list",), ("stop", "abc1"), ("doctor",), ("cost",), ("gpus", "--model", "mine"),
        ("deploy", "--model", "mine", "--no-wait"), ("deploy", "--model", "mine", "--new", "--plan"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_every_field_that_programs_get_is_documented(
    api: mocking.Mocker, run: Run, command: tuple[str, ...]
) -> None:
    text = (podkit.ROOT / "docs/json.md").read_text(encoding="utf-8").split("## Events")[0]
    charge = {
        "startTime": "2026-11-21T00:00:00Z",
        "endTime": "2026-11-22T00:00:00Z",
        "totalAmount": 1.0,
    }
    types = ("NVIDIA L40S", "NVIDIA A100 80GB PCIe", "NVIDIA GeForce RTX 4090")
    account(
        api,
        POD,
        **{"catalog/gpus": {"json": {"gpus": [{**GPU, "id": gpu_type} for gpu_type in types]}}},
    )
    granted(api)
    api.get(ONE, [{"json": POD}, problem(404)])
    api.delete(ONE, status_code=204)
    api.get(f"{API}/billing/pods", json={"records": [{**charge, "podId": POD["id"]}]})
    api.get(f"{API}/billing/network-volumes", json={"records": []})
    api.get(f"{ONE}/logs", text="")
    shown = run(*command, "--json").json
    assert shown["ok"], shown
    documented = set(re.findall(r"`([a-z_0-9]+)`", text))
    assert field_names(shown) - {"mine"} <= documented


def test_every_code_of_an_error_is_documented_and_no_other() -> None:
    text = (podkit.ROOT / "docs/json.md").read_text(encoding="utf-8")
    paragraph = text.split("`code` of an error is one of:")[1].split("\n\n")[0]

    def codes(kind: type[PodkitError]) -> set[str]:
        return {kind.code}.union(*map(codes, kind.__subclasses__()))

    assert set(re.findall(r"`([a-z-]+)`", paragraph)) == codes(PodkitError)
