"""A sample of the property test through real sockets,
against sandboxes whose pods are real processes.

podkit's clock runs a hundred times faster than the sandbox's: an hour is 36 seconds, and the
faults' own times shrink with it. What is in doubt here is the way of errors through requests,
urllib3 and the kernel.
"""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from itertools import chain
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest
import requests
from hypothesis import HealthCheck, Phase, given, settings
from requests.adapters import HTTPAdapter

from podkit.interrupts import Interrupts
from podkit.pods.made import MadePods
from podkit.pods.probes import Probes
from podkit.pods.progress import Changes, line
from podkit.pods.readiness import World
from podkit.runpod.client import RunpodClient
from podkit.runpod.http import growing_backoff
from podkit.secret import Secret
from podkit.settings import SANDBOX_PROXY_URL, Settings
from podkit_sandbox import control
from tests.reliability.checker import allowed, clear, commands, ended_badly, may_exist
from tests.reliability.live import START, LiveSandbox
from tests.reliability.schedules import plans
from tests.reliability.transport import MODEL, LogReader, Outcome, Plan, deploy, stop

pytestmark = pytest.mark.slow

DEPLOYS = 50
SANDBOXES = 4
SPEED = 100.0


class FastClock:
    def __init__(self) -> None:
        self._start = time.time()

    def __call__(self) -> float:
        return self._start + (time.time() - self._start) * SPEED

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds / SPEED)


class ClockOfSleeps:
    """Stands still while the sandbox takes its time to answer."""

    def __init__(self) -> None:
        self._now = time.time()

    def __call__(self) -> float:
        return self._now

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds / SPEED)
        self._now += seconds


class Hasty(HTTPAdapter):
    """Gives up as much earlier as the clock is faster."""

    def send(
        self, request: requests.PreparedRequest, *_: Any, timeout: Any = None, **more: Any
    ) -> requests.Response:
        return super().send(request, timeout=(timeout[0], timeout[1] / SPEED), **more)


def faster(rule: Any) -> dict[str, Any]:
    changes = {
        name: rule[name] / SPEED
        for name in ("seconds",)
        if name in rule and rule["fault"] != "clock-skew"
    }
    return {**rule, **changes, **({"retry_after": 1} if rule["fault"] == "429" else {})}


def play(sandbox: LiveSandbox, plan: Plan) -> list[str]:
    """The guarantees that one deploy, and the stops that it told of, broke."""
    clock = FastClock()
    said: list[str] = []
    client, world = surroundings(sandbox, plan, clock, said)
    wanted = Settings(
        sandbox.connection.api_url,
        SANDBOX_PROXY_URL,
        Secret(sandbox.connection.api_key),
        Path(".env"),
        gpus=plan.gpus,
    )
    faults: dict[str, Any] = {"stock": {"EU-RO-1": dict(plan.stock)}, "seed": plan.seed}
    faults["rules"] = [faster(rule) for rule in plan.rules]
    sandbox.scenario(**faults)
    outcome = deploy(wanted, replace(MODEL, command=START), world, plan, said)
    text = f"{outcome.said}\n{outcome.report}"
    broken = ended_badly(outcome) + losses(sandbox.alive(), plan, outcome, text)
    patient = client_of(sandbox, requests.Session(), ClockOfSleeps(), random.Random(plan.seed))
    for trouble, stopping in ((faults, client), ({}, patient)):
        sandbox.scenario(**trouble)
        for target in commands(outcome):
            broken += ended_badly(stop(stopping, target))
    lost = [pod_id for pod_id in sandbox.alive() if pod_id in outcome.report]
    broken += [f"{pod_id} outlived its stop command" for pod_id in lost]
    sandbox.clear()
    return [f"{reason}\n{plan}\n{text}" for reason in broken]


def losses(alive: dict[str, str], plan: Plan, outcome: Outcome, text: str) -> list[str]:
    """The pods that live after a deploy and should not, or that nobody was told of."""
    broken = []
    kept = [
        pod_id
        for pod_id in alive
        if pod_id in outcome.report and not may_exist(pod_id, alive[pod_id], text)
    ]
    for pod_id in alive.keys() - kept:
        if is_lost(plan, pod_id, alive[pod_id], outcome):
            broken.append(f"{pod_id} lives and is not mentioned")
    if len(kept) > allowed(plan, outcome):
        broken.append(f"pods beyond the one asked for: {kept}")
    return broken


def client_of(
    sandbox: LiveSandbox,
    session: requests.Session,
    clock: FastClock | ClockOfSleeps,
    rng: random.Random,
) -> RunpodClient:
    return RunpodClient(
        session,
        sandbox.connection.api_url,
        Secret(sandbox.connection.api_key),
        clock=clock,
        sleep=clock.sleep,
        backoff=growing_backoff(rng.random),
    )


def surroundings(
    sandbox: LiveSandbox, plan: Plan, clock: FastClock, said: list[str]
) -> tuple[RunpodClient, World]:
    rng = random.Random(plan.seed)
    session = requests.Session()
    session.mount(sandbox.connection.api_url, Hasty())
    client = client_of(sandbox, session, clock, rng)

    def follow(pod_id: str, source: str) -> Any:
        return LogReader(client, pod_id, source, clock)

    return client, World(
        client=client,
        new_suffix=lambda: f"{rng.randrange(16**6):06x}",
        say=said.append,
        here=str,
        made=MadePods(sandbox.folder / "made.json"),
        follow=follow,
        new_probes=lambda: Probes(session, clock),
        showing=lambda: nullcontext(Changes(lambda progress: said.append(line(progress)))),
        interrupts=Interrupts(),
    )


def is_lost(plan: Plan, pod_id: str, name: str, outcome: Outcome) -> bool:
    """Whether a pod that lives should have been mentioned: twins that nobody announced need not."""
    text = f"{outcome.said}\n{outcome.report}"
    has_twins = any(rule["fault"] == "twin" for rule in plan.rules)
    unannounced = has_twins and clear(name, outcome)
    return not may_exist(pod_id, name, text) and not unannounced


def sample() -> list[Plan]:
    """The first plans that hypothesis draws, the same ones each time."""
    drawn: list[Plan] = []

    @settings(
        max_examples=DEPLOYS,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(plans)
    def draw(plan: Plan) -> None:
        drawn.append(replace(plan, signal=None, other_laptop=None))

    draw()
    return drawn


def test_fifty_deploys_through_real_sockets_lose_no_pod_and_make_none_too_many(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    free: SimpleQueue[LiveSandbox] = SimpleQueue()
    sandboxes = [LiveSandbox(tmp_path_factory.mktemp("sandbox")) for _ in range(SANDBOXES)]
    for sandbox in sandboxes:
        free.put(sandbox)

    def turn(plan: Plan) -> list[str]:
        sandbox = free.get()
        try:
            return play(sandbox, plan)
        finally:
            free.put(sandbox)

    try:
        with ThreadPoolExecutor(SANDBOXES) as pool:
            broken = list(chain.from_iterable(pool.map(turn, sample())))
    finally:
        for sandbox in sandboxes:
            control.stop(sandbox.folder)
    assert not broken, "\n\n".join(broken)
