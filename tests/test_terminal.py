"""A deploy in the sandbox as a person sees it: the real scripts on a pseudo-terminal,
and what programs read.
"""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import termios
from collections.abc import Iterator
from pathlib import Path

import pyte
import pytest

from tests.clones import Clone

pytestmark = pytest.mark.slow

GOLDEN = Path(__file__).with_name("terminal.txt")


@pytest.fixture
def empty(clone: Clone) -> Iterator[Clone]:
    """A clone whose sandbox has no pod and no keys yet, has learned from no boot,
    and takes three seconds to fetch a model.
    """
    clone.run("podkit.sh", "sandbox", "stop")
    for left in ("secrets.env", "boots.jsonl"):
        (clone.root / ".podkit/sandbox" / left).unlink(missing_ok=True)
    clone.run("podkit.sh", "sandbox", "start", env={"PODKIT_SANDBOX_HF_SECONDS": "3"})
    yield clone
    clone.run("podkit.sh", "sandbox", "stop")


def on_a_terminal(clone: Clone, *command: str) -> tuple[int, str, str]:
    """Exit code, stdout, and the last screen of a command whose stderr is a terminal."""
    screen = pyte.Screen(300, 40)
    stream = pyte.ByteStream(screen)
    master, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (40, 300))
    env = clone.environment(TERM="xterm-256color")
    script = [str(clone.root / command[0]), *command[1:]]
    with subprocess.Popen(
        script, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=terminal
    ) as child:
        os.close(terminal)
        while True:
            try:
                stream.feed(os.read(master, 4096))
            except OSError:  # the terminal's other end is closed
                break
        assert child.stdout
        out = child.stdout.read().decode()
        return child.wait(), out, "\n".join(row.rstrip() for row in screen.display).rstrip() + "\n"


def plain(screen: str) -> str:
    """The screen without what differs from run to run: ids, times, money, keys;
    phases that began at once in order.

    The API may answer before the last phases are in the log: these may be there or not.
    """
    for pattern, instead in (
        (r"\b[0-9a-f]{14}\b", "POD"),
        (r"podkit-(\w+)-[0-9a-f]{6}", r"podkit-\1-HEX"),
        (r"\d+:\d\d\b(?! UTC)", "0:00"),
        (r"(API key: )\S+", r"\1SECRET"),
        (r"(login:   )\S+  \S+", r"\1SECRET  SECRET"),
        (r"made .* and kept", "made SECRETS and kept"),
        (r"kept them in .*", "kept them in FILE"),
        (r"0:00 so far, about \$0\.\d\d so far", "0:00 so far"),
    ):
        screen = re.sub(pattern, instead, screen)
    lines = [line for line in screen.splitlines() if not re.match(r"\+ (load|warm-up) ", line)]
    phases = [number for number, line in enumerate(lines) if line.startswith("+ ")]
    for number, line in zip(phases, sorted(lines[number] for number in phases), strict=True):
        lines[number] = line
    return "\n".join(lines) + "\n"


def test_a_deploy_in_the_sandbox_looks_as_stored(empty: Clone) -> None:
    code, out, screen = on_a_terminal(empty, "deploy_olmocr.sh", "--sandbox")
    assert code == 0
    assert re.fullmatch(r"[0-9a-f]{14}\napi    http://\S+/v1\nwebui  http://\S+\n", out)
    if os.environ.get("GOLDEN") == "write":
        GOLDEN.write_text(plain(screen), encoding="utf-8")
    assert plain(screen) == GOLDEN.read_text(encoding="utf-8")


def test_the_events_of_a_deploy_come_before_its_result_and_count_the_bytes(empty: Clone) -> None:
    done = empty.run("deploy_olmocr.sh", "--sandbox", "--json")
    *events, result = [json.loads(line) for line in done.stdout.splitlines()]
    assert {(event["schema"], event["event"]) for event in events} == {(1, "progress")}
    assert [event["seconds"] for event in events] == sorted(event["seconds"] for event in events)
    assert {event["pod"]["id"] for event in events} == {result["pod"]["id"]}
    assert {phase["phase"] for phase in events[-1]["phases"]} >= {
        "placed",
        "fetch",
        "install",
        "webui",
        "ready",
    }
    assert all(phase["done"] for phase in events[-1]["phases"])
    assert result["ok"] is True
