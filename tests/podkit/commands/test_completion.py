"""What Tab offers, and what it never does."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import click
import pytest
import requests_mock as mocking

import podkit
from podkit.commands.app import App
from podkit.commands.completion import complete_gpu_type, complete_pod, words_of
from tests.podkit.samples import API, KEY, POD

pytestmark = pytest.mark.slow

SCRIPTS = sorted(podkit.ROOT.glob("*.sh"))
PATH = f"{Path(sys.executable).parent}:/usr/bin:/bin"


def offered(root: Path, environ: dict[str, str], typed: str = "") -> list[str]:
    """The pods that Tab offers."""
    command = click.Command("stop")
    context = click.Context(command, obj=App(root, environ))
    return complete_pod(context, click.Argument(["pod_id"]), typed)


def test_pods_are_offered_by_id_and_name(api: mocking.Mocker, tmp_path: Path) -> None:
    api.get(f"{API}/pods", json={"pods": [POD]})
    environ = {"RUNPOD_API_KEY": KEY, "RUNPOD_API_URL": API}
    assert offered(tmp_path, environ) == [POD["id"], POD["name"]]
    assert offered(tmp_path, environ, "podkit-") == [POD["name"]]


def test_a_sandbox_that_does_not_run_is_not_started(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert offered(tmp_path, {"PODKIT_SANDBOX": "1"}) == []
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr() == ("", "")


def test_an_api_that_does_not_answer_is_given_up_and_nothing_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is tried again for a minute and a half elsewhere: this test would take as long."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/v2"
        assert offered(tmp_path, {"RUNPOD_API_KEY": KEY, "RUNPOD_API_URL": url}) == []
    assert capsys.readouterr() == ("", "")


def test_a_failure_of_the_api_is_not_tried_again(api: mocking.Mocker, tmp_path: Path) -> None:
    api.get(f"{API}/pods", status_code=503)
    assert offered(tmp_path, {"RUNPOD_API_KEY": KEY, "RUNPOD_API_URL": API}) == []
    assert api.call_count == 1


def test_without_a_key_nothing_is_offered_or_asked(api: mocking.Mocker, tmp_path: Path) -> None:
    context = click.Context(click.Command("deploy"), obj=App(tmp_path, {}))
    assert complete_gpu_type(context, click.Argument(["gpu"]), "") == []
    assert api.call_count == 0


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_each_script_stands_for_the_words_it_gives_podkit(script: Path) -> None:
    words = " ".join(words_of(podkit.ROOT, f"/some/where/{script.name} --no"))
    line = f'podkit {words} "$@"' if words else 'podkit "$@"'
    assert line in script.read_text() or script.name == "run_tests.sh"


@pytest.mark.parametrize(
    ("typed", "offered_words"),
    [
        (("podkit", "lo"), ["logs"]),
        (("./podkit.sh", "lo"), ["logs"]),
        (("./deploy_olmocr.sh", "--budg"), ["--budget"]),
        (("/a/path/deploy_olmocr.sh", "--budg"), ["--budget"]),
        (("./chat.sh", "--conti"), ["--continue"]),
    ],
)
def test_bash_offers_what_podkit_and_the_scripts_take(
    typed: tuple[str, str], offered_words: list[str]
) -> None:
    """As bash does it: by the function that is set for the name of what was typed."""
    name = typed[0].rpartition("/")[2]
    ask = (
        'eval "$(_PODKIT_COMPLETE=bash_source podkit)"; '
        f"complete -p {name} >/dev/null && COMP_WORDS=({' '.join(typed)}) COMP_CWORD=1; "
        f'_podkit_completion {typed[0]}; printf "%s\\n" "${{COMPREPLY[@]}}"'
    )
    done = subprocess.run(
        ["bash", "-c", ask],
        env={"PATH": PATH, "HOME": "/nonexistent"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout.split(), done.stderr) == (offered_words, "")
