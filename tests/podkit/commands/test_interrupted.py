"""A command that Ctrl-C ends names the pods that may go on billing."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest
import requests_mock as mocking

from podkit.commands.app import App
from podkit.commands.cli import cli
from podkit.errors import Interrupted
from podkit.ocr.wanted import Surroundings
from tests.podkit.samples import API, KEY, POD


def interrupted(*_: Any, **__: Any) -> NoReturn:
    raise Interrupted(signal.SIGINT)


@pytest.fixture
def told(
    tmp_path: Path,
    api: mocking.Mocker,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Callable[[list[str], str], str]:
    """What a command says that is interrupted in the function `broken`; the account has a pod."""

    def told(arguments: list[str], broken: str) -> str:
        api.get(f"{API}/pods", json={"pods": [POD]})
        monkeypatch.setattr(broken, interrupted)
        app = App(tmp_path, {"RUNPOD_API_KEY": KEY})
        with pytest.raises(Interrupted):
            cli.main(arguments, obj=app, prog_name="podkit", standalone_mode=False)
        return capfd.readouterr().err

    return told


@pytest.mark.parametrize(
    ("arguments", "broken", "said"),
    [
        (["stop", POD["id"]], "podkit.pods.ending.end", "is not ended yet"),
        (["wait"], "podkit.pods.readiness.wait_until_ready", "goes on at $0.86/h"),
    ],
)
def test_the_pods_that_are_left_are_named(
    told: Callable[[list[str], str], str], arguments: list[str], broken: str, said: str
) -> None:
    words = told(arguments, broken)
    assert f"pod {POD['id']} ({POD['name']}) {said}" in words
    assert f"./stop_pod.sh {POD['id']}" in words


@pytest.mark.parametrize(
    ("arguments", "broken"),
    [
        (["stop", "--all"], "podkit.commands.app.App.ask"),
        (["stop", POD["id"]], "podkit.runpod.client.RunpodClient.list_pods"),
        (["stop", "abc1"], "podkit.pods.ending.find"),
    ],
)
def test_a_stop_that_has_asked_for_no_end_says_that_nothing_was_ended(
    told: Callable[[list[str], str], str], arguments: list[str], broken: str
) -> None:
    words = told(arguments, broken)
    assert words.endswith("podkit: nothing was ended\n")
    assert "not ended yet" not in words


def test_a_deploy_in_the_sandbox_holds_up_none_in_the_account(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with App(tmp_path, sandbox=True).turn(), App(tmp_path).turn():
        assert capsys.readouterr().err == ""


def test_a_reading_that_is_interrupted_tells_programs_what_was_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_one_and_end(around: Surroundings, _: object) -> NoReturn:
        around.wrote(Path("a.md"))
        raise Interrupted(signal.SIGINT)

    monkeypatch.setattr("podkit.ocr.run.read_pdfs", read_one_and_end)
    app = App(tmp_path, {"RUNPOD_API_KEY": KEY})
    with pytest.raises(Interrupted) as ended:
        cli.main(["ocr", "a.pdf", "--json"], obj=app, prog_name="podkit", standalone_mode=False)
    assert ended.value.fields == {"markdown": ["a.md"]}
