"""The real deploy process meets real signals at and between its API calls: what it leaves is said,
one stop away.
"""

from __future__ import annotations

import itertools
import json
import os
import pty
import random
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any

import pytest

from podkit.commands.app import App
from podkit.commands.cli import cli
from podkit.errors import PodkitError
from podkit_sandbox import control
from tests.reliability.live import Checkout, Ended, LiveSandbox, own_environment
from tests.waiting import LONG

WORKERS = 4
DEPLOY = ("deploy", "--model", "olmocr", "--sandbox")
pytestmark = pytest.mark.slow
CALLS = [
    ("GET /pods", 0),
    ("GET /network-volumes", 0),
    ("GET /catalog/gpus", 0),
    ("POST /pods", 0),
    ("GET /pods", 1),
    ("GET /pods/{id}/logs", 0),
    ("GET /pods/{id}", 0),
    ("GET /pods/{id}", 1),
    ("GET /pods", 2),
    ("GET /pods", 3),
]
"""Every API call of a deploy that nothing disturbs, in order, and how many like it come before."""
BEYOND = ("GET /pods", 4)
HANDLED = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
STOP_HERE = re.compile(r"\./stop_pod\.sh --sandbox (\S+)")
Desk = tuple[Checkout, LiveSandbox]


@pytest.fixture(scope="module")
def desks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Desk]]:
    """A checkout with a sandbox of its own for each worker."""
    made = []
    for _ in range(WORKERS):
        checkout = Checkout.new(tmp_path_factory.mktemp("checkout"))
        made.append((checkout, LiveSandbox(checkout.root / ".podkit/sandbox")))
    yield made
    for _, sandbox in made:
        control.stop(sandbox.folder)


@pytest.fixture
def desk(desks: list[Desk]) -> Iterator[Desk]:
    checkout, sandbox = desks[0]
    yield checkout, sandbox
    sandbox.clear()
    checkout.forget()


def for_each(desks: list[Desk], cases: list[Any], check: Callable[[Desk, Any], str]) -> None:
    """Check every case on some free desk; `check` returns what is wrong."""
    free: SimpleQueue[Desk] = SimpleQueue()
    for desk in desks:
        free.put(desk)

    def turn(case: Any) -> str:
        desk = free.get()
        try:
            wrong = check(desk, case)
            return f"{case}: {wrong}" if wrong else ""
        finally:
            desk[1].clear()
            desk[0].forget()
            free.put(desk)

    with ThreadPoolExecutor(len(desks)) as pool:
        broken = [wrong for wrong in pool.map(turn, cases) if wrong]
    assert not broken, "\n\n".join(broken)


def kill(desk: Desk, number: int, call: str, after: int, when: str, *options: str) -> Ended:
    """A deploy that gets the signal before or after the effect of that API call.

    A deploy that stalls between two looks may make one call less, and gets no signal: another is
    made.
    """
    checkout, sandbox = desk
    for _ in range(2):
        ended = aim(desk, number, call, after, when, *options)
        if ended.code != 0:
            return ended
        sandbox.clear()
        checkout.forget()
    return aim(desk, number, call, after, when, *options)


def aim(desk: Desk, number: int, call: str, after: int, when: str, *options: str) -> Ended:
    """A deploy that gets the signal if it makes that API call."""
    checkout, sandbox = desk
    rule = {"call": call, "after": after, "times": 1, "fault": "signal", "when": when}
    sandbox.scenario(
        [{**rule, "signal": signal.Signals(number).name, "pid_file": str(checkout.pid_file)}]
    )
    return checkout.run(*DEPLOY, *options)


def wrong_after(desk: Desk, number: int, ended: Ended) -> str:
    """What is wrong after a deploy that a signal ended: a pod that is neither said nor listed,
    or outlives its stop.
    """
    checkout, sandbox = desk
    alive = sandbox.alive()
    if ended.code != (-number if number == signal.SIGKILL else 128 + number):
        return f"exit code {ended.code}\n{ended.said}"
    # After a kill it is the list that tells.
    told = [*alive] if number == signal.SIGKILL else STOP_HERE.findall(ended.said)
    for pod_id, name in alive.items():
        if pod_id not in told and name not in told:
            return f"{pod_id} not mentioned\n{ended.said}"
    if not alive:
        return ""
    wrong = stop(checkout, told)
    left = sandbox.alive()
    return f"left after the stop: {left}\n{wrong}" if wrong or left else ""


def stop(checkout: Checkout, pods: list[str]) -> str:
    """Why `stop` could not end these pods; in this process, as another takes half a second."""
    app = App(checkout.root, own_environment())
    try:
        cli.main(["stop", *pods, "--sandbox"], obj=app, prog_name="podkit", standalone_mode=False)
    except PodkitError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("number", [*HANDLED, signal.SIGKILL], ids=lambda number: number.name)
def test_a_signal_at_any_api_call_leaves_no_pod_unmentioned(
    desks: list[Desk], number: signal.Signals
) -> None:
    cases = [(*call, when) for call, when in itertools.product(CALLS, ("before", "after"))]
    for_each(desks, cases, lambda desk, case: wrong_after(desk, number, kill(desk, number, *case)))


def test_a_signal_between_api_calls_leaves_no_pod_unmentioned(desks: list[Desk]) -> None:
    rng = random.Random(4)
    cases = [(number, rng.uniform(0.0, 3.3)) for number in [*HANDLED, signal.SIGKILL] * 4]

    def check(desk: Desk, case: tuple[signal.Signals, float]) -> str:
        number, moment = case
        deploy = desk[0].start(*DEPLOY)
        assert deploy.stderr
        # Once it has said a word it handles signals, however slow the machine is.
        first = os.read(deploy.stderr.fileno(), 65536).decode()
        time.sleep(moment)  # the moment is the point: nothing tells when it is between two calls
        deploy.send_signal(number)
        later = Ended.of(deploy)
        ended = Ended(later.code, later.out, first + later.said)
        # All was said, and Python itself was ending.
        over = ended.code == -number and "end it now: " in ended.said
        return "" if ended.code == 0 or over else wrong_after(desk, number, ended)

    for_each(desks, cases, check)


def test_a_deploy_lists_pods_no_more_often_than_the_kill_test_knows(desk: Desk) -> None:
    assert aim(desk, signal.SIGKILL, *BEYOND, "before").code == 0


def test_a_terminal_that_is_closed_on_the_live_block_is_a_hangup_like_any_other(desk: Desk) -> None:
    checkout, sandbox = desk
    command = [
        sys.executable,
        "-P",
        "-m",
        "podkit",
        "deploy",
        "--model",
        "olmocr",
        "--sandbox",
        "--rm-on-interrupt",
    ]
    master, terminal = pty.openpty()
    # The first terminal that the leader of a new session opens is the one that hangs it up.
    opening = ["/bin/sh", "-c", 'exec "$@" <>"$0" >&0 2>&0', os.ttyname(terminal)]
    deploy = subprocess.Popen(
        [*opening, *command],
        cwd=checkout.root,
        env={**own_environment(), "PYTHONPATH": str(checkout.root), "TERM": "xterm"},
        start_new_session=True,
    )
    shown = b""
    while b"placed" not in shown:
        assert select.select([master], [], [], LONG)[0], shown
        shown += os.read(master, 4096)
    os.close(terminal)
    os.close(master)
    assert deploy.wait(LONG) == 128 + signal.SIGHUP
    assert sandbox.alive() == {}


def test_rm_on_interrupt_ends_the_pod(desks: list[Desk]) -> None:
    cases = [
        ("POST /pods", 0, "before"),
        ("POST /pods", 0, "after"),
        ("GET /pods/{id}", 1, "after"),
    ]

    def check(desk: Desk, case: tuple[str, int, str]) -> str:
        ended = kill(desk, signal.SIGTERM, *case, "--rm-on-interrupt")
        alive = desk[1].alive()
        return "" if ended.code == 143 and not alive else f"{ended.code}, {alive}\n{ended.said}"

    for_each(desks, cases, check)


def test_a_second_signal_leaves_at_once_and_says_the_same(desk: Desk) -> None:
    checkout, sandbox = desk
    hit = {"fault": "signal", "signal": "SIGINT", "pid_file": str(checkout.pid_file), "times": 1}
    sandbox.scenario(
        [{"call": "POST /pods", **hit}, {"call": "POST /pods", "fault": "delay", "seconds": 60}]
    )
    deploy = checkout.start(*DEPLOY)
    assert deploy.stderr
    said = ""
    while "again to leave at once" not in said:
        line = deploy.stderr.readline()
        assert line, said
        said += line
    signalled = time.monotonic()
    deploy.send_signal(signal.SIGINT)
    ended = Ended.of(deploy)
    assert ended.code == 130
    assert time.monotonic() - signalled < 50
    (name,) = sandbox.alive().values()
    assert f"a pod named {name} may exist" in ended.said
    assert STOP_HERE.findall(ended.said) == [name]
    assert checkout.run("stop", name, "--sandbox").code == 0
    assert not sandbox.alive()


def test_the_pod_of_a_killed_deploy_is_adopted_by_the_next(desk: Desk) -> None:
    checkout, sandbox = desk
    kill(desk, signal.SIGKILL, "POST /pods", 0, "after")
    (pod_id,) = sandbox.alive()
    assert pod_id in checkout.run("list", "--sandbox").out
    ended = checkout.run(*DEPLOY, "--json")
    assert ended.code == 0, ended.said
    assert ended.pod_id == pod_id
    assert [*sandbox.alive()] == [pod_id]


def test_a_deploy_whose_terminal_is_gone_still_ends_its_pod(desk: Desk) -> None:
    checkout, sandbox = desk
    hit = {
        "fault": "signal",
        "signal": "SIGHUP",
        "pid_file": str(checkout.pid_file),
        "times": 1,
        "when": "after",
    }
    sandbox.scenario([{"call": "GET /pods/{id}", **hit}])
    deploy = checkout.start(*DEPLOY, "--rm-on-interrupt")
    assert deploy.stderr
    deploy.stderr.close()
    deploy.stderr = None
    assert deploy.wait(LONG) == 129
    assert not sandbox.alive()


def test_the_json_of_an_interrupted_deploy_is_its_last_line(desk: Desk) -> None:
    ended = kill(desk, signal.SIGINT, "POST /pods", 0, "after", "--json")
    failure = json.loads(ended.out.splitlines()[-1])
    assert failure["ok"] is False
    assert failure["error"]["code"] == "interrupted"
