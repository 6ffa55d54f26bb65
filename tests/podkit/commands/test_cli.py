"""The commands from the outside: which there are, and how wrong usage is answered."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

import podkit
from podkit.commands.deploy import deploy
from podkit.setting_names import OPTIONS
from tests.podkit.commands.desk import Run, failed


def test_without_a_command_its_commands_are_shown_by_what_they_are_for(run: Run) -> None:
    shown = run()
    assert shown.code == 0
    assert re.search(r"^A pod's life:\n  deploy  ", shown.out, re.MULTILINE)


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("volume",), "Missing command"),
        (("nonsense",), "No such command"),
        (("list", "--nonsense"), "No such option"),
        (("deploy",), "--model"),
        (("deploy", "--model", "other"), "no model 'other'"),
        (("deploy", "--model", "mine", "--max-price", "-1"), "--max-price is '-1'"),
        (("deploy", "--model", "mine", "--boot-minutes", "0"), "--boot-minutes is '0'"),
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


def test_the_options_of_settings_are_those_of_deploy() -> None:
    options = {}
    for parameter in deploy.params:
        name = "PODKIT_GPUS" if parameter.name == "gpus" else str(parameter.name)
        if name.isupper():
            options[name] = parameter.opts[0]
    assert options == OPTIONS


def test_a_process_of_its_own_fails_the_same_way() -> None:
    """Once for real: `python -m podkit`, with arguments that are refused before any setting is
    read.
    """
    ended = subprocess.run(
        [sys.executable, "-P", "-m", "podkit", "stop", "--keep", "--terminate", "x"],
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.splitlines() == [
        "podkit: --keep and --terminate contradict each other",
        "  next: give one of them",
    ]
    shown = subprocess.run(
        [sys.executable, "-P", "-m", "podkit", "--version"],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert podkit.__version__ in shown.stdout
