"""What the README and .env.example say of settings and commands is what the code has."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import click

import podkit
from podkit.commands.cli import cli
from tests.podkit.commands.desk import every_command, subcommands

README = (podkit.ROOT / "README.md").read_text(encoding="utf-8")
EXAMPLE = (podkit.ROOT / ".env.example").read_text(encoding="utf-8")
CODE = "".join(
    (podkit.ROOT / "podkit" / name).read_text(encoding="utf-8")
    for name in ("settings.py", "commands/cli.py")
)
SETTING = re.compile(r"\b(?:RUNPOD|PODKIT|WEBUI|HF|PREFERRED)_[A-Z_]*[A-Z]\b")
NOT_FOR_THE_EXAMPLE = {
    "PODKIT_SANDBOX",
    "PODKIT_DEBUG",
    "RUNPOD_API_URL",
    "RUNPOD_JOBS_URL",
    "RUNPOD_PROXY_URL",
    "RUNPOD_S3_URL",
}


def first_cells(heading: str) -> str:
    """The first cell of each row of the table below a heading of the README."""
    section = README.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return "\n".join(line.split("|")[1] for line in section.splitlines() if line.startswith("| `"))


def assert_same(told: set[str], real: set[str], where: str, what: str) -> None:
    """Fails naming the file to change, and what to put in or take out."""
    assert not real - told, f"{where}: add {what} {sorted(real - told)}"
    assert not told - real, f"{where}: take out {what} {sorted(told - real)}, which is not there"


def commands(group: click.Group, before: str = "") -> set[str]:
    """Every command there is; one that takes an action as its argument counts once for each."""
    found: set[str] = set()
    for name, command in subcommands(group).items():
        actions: list[str] = []
        for part in command.params:
            if isinstance(part, click.Argument) and isinstance(part.type, click.Choice):
                actions += part.type.choices
        if isinstance(command, click.Group):
            found |= commands(command, f"{before}{name} ")
        else:
            found |= {f"{before}{name} {action}" for action in actions} or {before + name}
    return found


def test_every_setting_is_in_the_readme_and_every_one_there_is_real() -> None:
    told = set(SETTING.findall(first_cells("Settings")))
    real = set(re.findall(rf'"({SETTING.pattern})"', CODE))
    assert_same(told, real, "README.md, table of Settings", "the setting")


def test_the_example_of_an_env_file_names_every_setting_that_belongs_there() -> None:
    named = set(re.findall(r"^#?([A-Z_]+)=", EXAMPLE, re.MULTILINE))
    real = set(SETTING.findall(first_cells("Settings"))) - NOT_FOR_THE_EXAMPLE
    assert_same(named, real, ".env.example", "the setting")


def test_the_readme_lists_every_command_and_none_that_is_not_there() -> None:
    told: set[str] = set()
    for row in first_cells("Commands").splitlines():
        group = ""
        for text in re.findall(r"`(.+?)`", row):
            script, _, words = text.rpartition(".sh")
            name = " ".join(re.findall(r"\b[a-z]+\b", words))
            if script in ("", "./podkit"):
                group = group or name.split()[0]
                told.add(name if name.startswith(group) else f"{group} {name}")
            else:
                code = (podkit.ROOT / f"{script}.sh").read_text(encoding="utf-8")
                told |= set(re.findall(r"^podkit ((?:serverless )?\w+)", code, re.MULTILINE))
    assert_same(told, commands(cli), "README.md, table of Commands", "the command")


def test_the_shell_completion_of_the_readme_works() -> None:
    line = next(
        line.split("    #")[0].strip()
        for line in README.splitlines()
        if "_source podkit)" in line and "eval" in line
    )
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    ask = (
        "COMP_WORDS=(podkit lo) COMP_CWORD=1; _podkit_completion podkit; "
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "-c", f"{line}\n{ask}"],
        env={"PATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout.split(), done.stderr) == (["logs"], "")


def test_every_command_has_an_example_that_names_a_script() -> None:
    for command in every_command(cli):
        if isinstance(command, click.Group):
            continue
        examples = (command.help or "").partition("Examples:")[2].split("\n")
        shown = [line for line in examples if re.match(r'\s+(eval "\$\()?\./\w+\.sh', line)]
        assert shown, f"{command.name}: add `Examples:` to its docstring, as commands/cost.py has"


def test_every_command_with_json_is_described_for_programs() -> None:
    text = (podkit.ROOT / "docs/json.md").read_text(encoding="utf-8").split("## Events")[0]
    described = set(
        re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.*?) \|", text, re.MULTILINE)))
    )
    real = set()
    for name, entry in subcommands(cli).items():
        if any(part.name == "json" for part in entry.params):
            real.add(name)
    assert_same(described, real, "docs/json.md, the first table", "the command")
