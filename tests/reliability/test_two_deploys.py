"""Two deploys of one model at the same moment: one pod, or two if both were told so,
and nobody else's pod touched.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from podkit_sandbox import control
from tests.reliability.live import Checkout, Ended, LiveSandbox

pytestmark = pytest.mark.slow
OTHERS = ("someone-elses", "podkit-qwen3vl-aaaaaa", "podkit-olmocr-mini-aaaaaa")


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveSandbox]:
    running = LiveSandbox(tmp_path_factory.mktemp("sandbox"))
    yield running
    control.stop(running.folder)


@pytest.fixture(scope="module")
def checkouts(tmp_path_factory: pytest.TempPathFactory) -> list[Checkout]:
    return [Checkout.new(tmp_path_factory.mktemp("checkout")) for _ in range(2)]


@pytest.mark.parametrize("laptops", [1, 2])
@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ((), {}),
        (("--new",), {}),
        (("--no-wait",), {}),
        ((), {"fault": "delay", "seconds": 1.0, "times": 1}),
        ((), {"fault": "list-lag", "seconds": 1.0}),
    ],
    ids=["plain", "new", "no-wait", "the first is answered last", "lists lag"],
)
def test_two_deploys_at_once_make_one_pod_or_two_if_told_so(
    sandbox: LiveSandbox,
    checkouts: list[Checkout],
    laptops: int,
    options: tuple[str, ...],
    fault: dict[str, Any],
) -> None:
    others = {sandbox.create(name): name for name in OTHERS}
    env = {
        "RUNPOD_API_URL": sandbox.connection.api_url,
        "RUNPOD_API_KEY": sandbox.connection.api_key,
        "RUNPOD_PROXY_URL": "http://127.0.0.1:{public_port}",
    }
    sandbox.scenario([{"call": "POST /pods", **fault}] if fault else [])
    deploys = [
        checkouts[n % laptops].start("deploy", "--model", "olmocr", "--json", *options, **env)
        for n in (0, 1)
    ]
    ended = [Ended.of(deploy) for deploy in deploys]
    assert [one.code for one in ended] == [0, 0], [one.said for one in ended]
    alive = sandbox.alive()
    sandbox.clear()
    for checkout in checkouts:
        checkout.forget()
    assert others.items() <= alive.items()
    mine = alive.keys() - others.keys()
    assert len(mine) == (2 if "--new" in options else 1), [one.said for one in ended]
    assert {one.pod_id for one in ended} == mine
