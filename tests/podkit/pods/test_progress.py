"""How a wait is shown: a live block on a terminal, plain lines, and events for programs; compared
with stored ones."""

from __future__ import annotations

import copy
import json
import os
import pty
import re
import select
import subprocess
import sys
import termios
from contextlib import nullcontext, suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from subprocess import PIPE
from typing import Any

import pyte
import pytest

import podkit
from podkit.commands import result
from podkit.errors import PodkitError
from podkit.pods.progress import Changes, event, line
from podkit.pods.watch import Progress, Step
from tests.podkit.pods.waits import WAITS, Wait
from tests.podkit.samples import SECRETS, pod

GOLDEN = Path(__file__).with_name("golden")
PROGRESS = Progress(
    pod(),
    (Step("placed", 0, 40), Step("install", 44), Step("fetch", 50)),
    108,
    0.0258,
    3 << 30,
    9 << 30,
    100 << 20,
)


def compare(name: str, text: str) -> None:
    """Compares with the stored text; with GOLDEN=write in the environment, stores it instead."""
    file = GOLDEN / name
    if os.environ.get("GOLDEN") == "write":
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8")


def told(wait: Wait) -> list[str]:
    """The plain lines of a wait, and the two that it ends with when it fails."""
    wait = copy.copy(wait)
    said: list[str] = []
    try:
        wait.live(
            said.append, lambda: nullcontext(Changes(lambda progress: said.append(line(progress))))
        )
    except PodkitError as error:
        said += [f"podkit: {error.message}", f"  next: {error.hint}"]
    return said


def test_every_wait_is_told_in_plain_lines_as_stored() -> None:
    text = ""
    for name, wait in WAITS.items():
        lines = told(wait)
        ticks = [
            number
            for number, one in enumerate(lines)
            if number and _phases(one) == _phases(lines[number - 1])
        ]
        kept = [one for number, one in enumerate(lines) if number not in ticks]
        text += f"## {name} ({len(ticks)} lines more, one every 30 s)\n" + "\n".join(kept) + "\n\n"
    compare("waits.txt", text)


def _phases(line: str) -> list[str]:
    return re.findall(r"[a-z-]+", re.sub(r"\(.*?\)|  about.*", "", line))


@pytest.mark.slow
def test_nobody_waits_longer_than_30_seconds_for_a_line() -> None:
    for name, wait in WAITS.items():
        moments = [
            int(m[1]) * 60 + int(m[2])
            for one in told(wait)
            if (m := re.match(r"(\d+):(\d\d)  ", one))
        ]
        assert all(later - sooner <= 30 for sooner, later in pairwise(moments)), name


def test_a_line_and_an_event_of_the_same_moment() -> None:
    fetch = "fetch 0:58 (3.0 of 9.0 GiB, 100 MiB/s, 1:01 left)"
    assert line(PROGRESS) == f"1:48  install 1:04, {fetch}  about $0.03 so far"
    assert event(PROGRESS) == {
        "pod": {"id": pod().id, "name": pod().name},
        "seconds": 108,
        "cost_so_far": 0.0258,
        "phases": [
            {"phase": "placed", "seconds": 40, "done": True},
            {"phase": "install", "seconds": 64, "done": False},
            {"phase": "fetch", "seconds": 58, "done": False},
        ],
        "fetched_bytes": 3 << 30,
        "total_bytes": 9 << 30,
        "bytes_per_second": 100 << 20,
    }


def test_a_rate_that_is_not_known_and_money_that_rounds_to_nothing_are_not_shown() -> None:
    early = replace(PROGRESS, spent=0.0049, rate=0.0)
    assert line(early) == "1:48  install 1:04, fetch 0:58 (3.0 of 9.0 GiB)"
    assert "$0.01" in line(replace(early, spent=0.005))


def test_every_field_of_an_event_is_documented_and_no_other_is() -> None:
    text = (podkit.ROOT / "docs/json.md").read_text(encoding="utf-8")
    table = text.split("## Events")[1].split("\n## ")[0]
    documented = set(re.findall(r"^\| `([a-z_.\[\]]+)`", table, re.MULTILINE))
    sent = json.loads(result.event("progress", **event(PROGRESS)))
    fields = set(sent) - {"pod", "phases"} | {f"pod.{name}" for name in sent["pod"]}
    assert documented == fields | {f"phases[].{name}" for name in sent["phases"][0]}


class Terminal:
    """A wait on a pseudo-terminal, poll by poll, and the screen that a person sees."""

    def __init__(self, name: str, **environment: str) -> None:
        self.screen = pyte.Screen(90, 24)
        self._stream = pyte.ByteStream(self.screen)
        self._terminal, terminal = pty.openpty()
        termios.tcsetwinsize(terminal, (24, 90))
        env = {
            "TERM": "xterm-256color",
            "PYTHONUTF8": "1",
            "PYTHONPATH": str(podkit.ROOT),
            **environment,
        }
        program = [sys.executable, str(Path(__file__).with_name("waits.py")), name]
        self._child = subprocess.Popen(program, env=env, stdin=PIPE, stdout=PIPE, stderr=terminal)
        os.close(terminal)
        self._read()

    def polls(self, count: int) -> str:
        """The screen, so many polls later."""
        for _ in range(count):
            self._go_on()
        return self.seen()

    def end(self) -> int:
        """Lets it go on to its end; the exit code."""
        while self._child.poll() is None:
            self._go_on()
        self._child.communicate()
        return self._child.returncode

    def seen(self) -> str:
        return "\n".join(row.rstrip() for row in self.screen.display).rstrip() + "\n"

    def _go_on(self) -> None:
        assert self._child.stdin
        with suppress(BrokenPipeError):
            self._child.stdin.write(b"\n")
            self._child.stdin.flush()
        self._read()

    def _read(self) -> None:
        """Draws what comes, until the program says on stdout that it is at its next poll, or
        ends."""
        said = self._child.stdout
        assert said
        either: list[Any] = [said, self._terminal]
        while (ready := select.select(either, [], [], 10)[0]) != [said]:
            assert ready, "nothing comes"
            try:
                self._stream.feed(os.read(self._terminal, 4096))
            except OSError:  # the program has ended
                break
        said.readline()


@pytest.fixture
def terminal() -> Terminal:
    return Terminal("a boot that goes well")


def test_a_terminal_shows_the_whole_wait_as_stored(terminal: Terminal) -> None:
    text = ""
    now = 0
    for second in (0, 6, 40, 80, 134):
        text += f"## after {second} seconds\n{terminal.polls((second - now) // 2)}\n"
        now = second
    assert terminal.end() == 0
    text += f"## at the end\n{terminal.seen()}"
    assert not [secret for secret in SECRETS if secret in text]
    compare("screens.txt", text)


@pytest.mark.slow
def test_a_failure_leaves_the_block_and_says_what_to_do_next() -> None:
    terminal = Terminal("the pod dies in load")
    assert terminal.end() == 1
    compare("screen_of_a_failure.txt", terminal.seen())


@pytest.mark.slow
def test_the_cursor_is_there_again_when_the_wait_is_over(terminal: Terminal) -> None:
    terminal.polls(2)
    assert terminal.screen.cursor.hidden
    terminal.end()
    assert not terminal.screen.cursor.hidden


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_a_terminal_that_wants_no_drawing_gets_plain_lines(environment: dict[str, str]) -> None:
    terminal = Terminal("a boot that goes well", **environment)
    screen = terminal.polls(4)
    terminal.end()
    assert "0:00  placed 0:00" in screen
    assert "* placed" not in screen
