"""Runs a script of an export with programs in the place of az and kubectl that note what they are
asked.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.podkit.export.tools import program

Tree = dict[str, str]
AZ = """\
#!{python}
import json, os, re, sys
words = sys.argv[1:]
with open(os.environ["NOTES"], "a") as notes:
    notes.write(json.dumps(words) + chr(10))
for word in words:
    if "/tmp." in word:
        assert os.stat(word.lstrip("@")).st_mode & 0o077 == 0, "a secret that others can read"
if "gateway-database-url" in words and "--file" in words:
    with open(words[words.index("--file") + 1]) as file:
        password = re.search(":([^:/@]+)@", file.read())
    kinds = ("[a-z]", "[A-Z]", "[0-9]", "[^a-zA-Z0-9]")
    if password and sum(bool(re.search(kind, password[1])) for kind in kinds) < 3:
        sys.exit("a password of less than three kinds of characters")
if words[0] == os.environ["REFUSED"]:
    sys.exit(1)
if "list-usage" in words:
    print(os.environ["USAGE"])
elif "--query" in words:
    print("a-value")
elif "show" in words:
    sys.exit(0 if os.environ["THERE"] == "yes" else 3)
"""
FREE = "0\t200"


@dataclass(frozen=True)
class Ran:
    """How a script ended, and the az commands that it ran."""

    code: int
    out: str
    err: str
    asked: list[list[str]]


def write(tree: Tree, folder: Path) -> None:
    for path, text in tree.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
        (folder / path).chmod(0o755)


def write_programs(folder: Path) -> Path:
    """The folder of az, which notes what it is asked, and of what does nothing."""
    programs = folder / "programs"
    programs.mkdir(exist_ok=True)
    (programs / "az").write_text(AZ.format(python=sys.executable))
    for name in ("kubectl", "sleep"):
        (programs / name).write_text("#!/bin/sh\n")
    for file in programs.iterdir():
        file.chmod(0o755)
    return programs


def run(
    folder: Path,
    script: str,
    there: str = "no",
    usage: str = FREE,
    text: str = "",
    refused: str = "",
) -> Ran:
    """Runs a script of the export in `folder` with programs that note what they are asked; az fails
    in the group of commands `refused`.
    """
    programs = write_programs(folder)
    notes = folder / "notes"
    notes.write_text("")
    given = {
        "PATH": f"{programs}:/usr/bin:/bin",
        "NOTES": str(notes),
        "THERE": there,
        "REFUSED": refused,
    }
    words = shlex.split(script)
    done = subprocess.run(
        [program("bash"), str(folder / words[0]), *words[1:]],
        capture_output=True,
        text=True,
        input=text,
        check=False,
        cwd=folder,
        env={
            **given,
            "USAGE": usage,
            "PODKIT": "/checkout",
            "MAIL": "me@example.org",
            "TMPDIR": str(folder),
        },
    )
    asked = [json.loads(line) for line in notes.read_text().splitlines()]
    return Ran(done.returncode, done.stdout, done.stderr, asked)


def options(asked: list[list[str]], *command: str) -> list[dict[str, list[str]]]:
    """The options of each az command that begins so."""
    found = []
    for words in asked:
        if words[: len(command)] == list(command):
            told: dict[str, list[str]] = {}
            for word in words[len(command) :]:
                if word.startswith("--"):
                    name = word
                    told[name] = []
                else:
                    told[name].append(word)
            found.append(told)
    return found
