"""The commands from the outside: which there are, and how wrong usage is answered."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import click
import pytest

import podkit
import podkit.commands
from podkit.commands.app import App
from podkit.commands.cli import cli
from podkit.commands.deploy import deploy
from podkit.setting_names import OPTIONS
from tests.podkit.commands.desk import Run, every_command, failed, subcommands


def test_without_a_command_its_commands_are_shown_by_what_they_are_for(run: Run) -> None:
    shown = run()
    assert shown.code == 0
    assert re.search(r"^A pod's life:\n  deploy  ", shown.out, re.MULTILINE)


def test_the_list_of_commands_is_whole_on_80_columns(run: Run) -> None:
    shown = run().out
    assert "..." not in shown.partition("\n\n")[2]
    assert [line for line in shown.splitlines() if len(line) > 80] == []


def test_every_command_that_is_written_can_be_called() -> None:
    written = set()
    for file in Path(podkit.commands.__path__[0]).glob("*.py"):
        module = import_module(f"podkit.commands.{file.stem}")
        written |= {one for one in vars(module).values() if isinstance(one, click.Command)}
    assert written == {cli, *every_command(cli)}


def names_with_sandbox(group: click.Group, before: str = "") -> Iterator[str]:
    """The whole name of every command below a group that takes --sandbox."""
    for name, one in subcommands(group).items():
        if isinstance(one, click.Group):
            yield from names_with_sandbox(one, f"{before}{name} ")
        elif any("--sandbox" in parameter.opts for parameter in one.params):
            yield before + name


def test_in_the_sandbox_a_command_in_a_message_is_told_so_behind_its_whole_name() -> None:
    names = [name for name in names_with_sandbox(cli) if not name.startswith("sandbox ")]
    assert {"list", "volume list", "model publish", "serverless jobs wait"} <= set(names)
    app = App(sandbox=True)
    for name in names:
        command = f"./podkit.sh {name}"
        assert app.here(f"{command} ID shows it") == f"{command} --sandbox ID shows it"


def test_a_command_loads_itself_and_no_other() -> None:
    code = (
        "import sys; from podkit.commands.cli import cli; "
        "cli(sys.argv[1:], obj=__import__('podkit.commands.app').commands.app.App(), "
        "prog_name='podkit', standalone_mode=False); "
        "print(*(name for name in sys.modules if name.startswith('podkit.commands.')))"
    )
    shared = {"app", "cli", "completion", "lazy_group", "options", "result"}
    for arguments, own in ((["list", "--help"], {"list_pods"}), ([], set())):
        ended = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            capture_output=True,
            text=True,
            check=True,
        )
        loaded = {name.rpartition(".")[2] for name in ended.stdout.splitlines()[-1].split()}
        assert loaded - shared == own


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


@pytest.mark.parametrize("key", [("--api-key", "rpa_a-key"), ("--api-key=rpa_a-key",)])
def test_a_key_in_a_command_line_is_refused_with_the_place_for_it(
    run: Run, offline: None, key: tuple[str, ...]
) -> None:
    ended = failed(run, 2, "serverless", "deploy", *key)
    assert "RUNPOD_API_KEY=..." in ended.err
    assert "rpa_a-key" not in ended.err


def test_the_options_of_settings_are_those_of_deploy() -> None:
    options = {}
    for parameter in deploy.params:
        name = "PODKIT_GPUS" if parameter.name == "gpus" else str(parameter.name)
        if name.isupper():
            options[name] = parameter.opts[0]
    assert options == OPTIONS


@pytest.mark.slow
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


def test_messages_are_folded_to_a_persons_terminal_alone(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    told = "one thing after another; " * 6
    App().say(told)
    assert capfd.readouterr().err == f"{told}\n"
    monkeypatch.setattr(App, "is_terminal", lambda _: True)
    monkeypatch.setattr("podkit.commands.app.width_of_terminal", lambda _: 60)
    App().say(told)
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 3
    assert max(map(len, lines)) <= 60
