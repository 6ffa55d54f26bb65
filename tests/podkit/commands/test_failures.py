"""How commands fail: one line that says what, one that says what to do next, one code."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest
import requests_mock as mocking

from podkit.commands import tables
from tests.podkit.commands.desk import Run, account, failed, failed_as
from tests.podkit.samples import API, POD, SECRETS, Clock, problem

API_FAULTS: list[tuple[dict[str, Any], str]] = [
    (problem(401, "bad key"), "unauthorized"),
    (problem(403, "no access"), "forbidden"),
    (
        {"status_code": 403, "text": "<html>", "headers": {"Content-Type": "text/html"}},
        "edge",
    ),
    (
        {"status_code": 502, "text": "<html>", "headers": {"Content-Type": "text/html"}},
        "edge",
    ),
    (problem(500, "down\nfor\tnow"), "server-fault"),
    ({"text": "{"}, "bad-answer"),
    ({"json": {"other": 1}}, "bad-answer"),
    ({"json": {"pods": [{"name": "podkit-olmocr-0a1b2c"}]}}, "bad-answer"),
]


@pytest.mark.parametrize(("fault", "code"), API_FAULTS)
@pytest.mark.parametrize("command", [("list",), ("deploy", "--model", "mine")])
def test_a_fault_of_the_api_is_told_in_one_line(
    api: mocking.Mocker, run: Run, command: tuple[str, ...], fault: dict[str, Any], code: str
) -> None:
    account(api, pods=fault)
    failed_as(run, code, *command)
    ended = failed(run, 1, *command)
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
    failed_as(run, "unreachable", "list")
    assert len(clock.naps) == 4


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
    assert api.request_history[-1].headers["Authorization"] == "Bearer sandbox-key"
