"""Waits that are told in advance: what a pod shows, logs and answers at which second. Run as a
program, it lives one.

python waits.py NAME        a poll at each line on stdin, so that whoever reads the terminal sets
the pace"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from podkit.commands.app import App
from podkit.errors import PodkitError
from podkit.interrupts import Interrupts
from podkit.pods.access import Access
from podkit.pods.made import MadePods
from podkit.pods.probes import Probe
from podkit.pods.readiness import World, wait_until_ready
from podkit.runpod.logs import LogLine
from podkit.runpod.types import Pod
from tests.podkit.pods.lines import moment
from tests.podkit.samples import CREATED, POD, pod

GIB = 2**30
BOOT: list[tuple[float, str]] = [
    (6, "phase=check event=start t=0.4"),
    (7, "phase=check event=done t=1.2"),
    (7, "phase=webui event=start t=1.3"),
    (7, "phase=fetch event=start t=1.3"),
    (7, "phase=install event=start t=1.3"),
    (20, f"phase=fetch event=progress t=14 bytes={GIB * 2} total={GIB * 9}"),
    (40, f"phase=fetch event=progress t=34 bytes={GIB * 6} total={GIB * 9}"),
    (51, "phase=webui event=done t=45.0"),
    (58, "phase=fetch event=done t=52.0"),
    (76, "phase=install event=done t=70.0"),
    (76, "phase=load event=start t=70.1"),
    (130, "phase=load event=done t=124.0"),
    (130, "phase=warm-up event=start t=124.0"),
    (134, "phase=warm-up event=done t=128.0"),
    (134, "phase=ready event=start t=128.0"),
    (134, "phase=ready event=done t=128.1"),
]
"""(second after the create, line) of a boot as it may go on a rented pod."""
NEVER = 10**9


def until(phase: str) -> list[tuple[float, str]]:
    """The boot up to the start of this phase."""
    last = next(
        number
        for number, (_, line) in enumerate(BOOT)
        if line.startswith(f"phase={phase} event=start")
    )
    return BOOT[: last + 1]


@dataclass
class Wait:
    """A pod whose container shows after `container` seconds, with these log lines, that serves from
    `serves` on."""

    log: list[tuple[float, str]] = field(default_factory=lambda: BOOT)
    system: list[tuple[float, str]] = field(default_factory=list)
    container: float = 5
    serves: float = 136
    ends: float = NEVER
    cut: tuple[float, float] = (NEVER, NEVER)

    def __post_init__(self) -> None:
        self.second = 0.0
        self.polls: Callable[[], None] = lambda: None

    def live(
        self, say: Callable[[str], None], showing: Callable[[], AbstractContextManager[Any]]
    ) -> tuple[Pod, Access]:
        client: Any = self
        world = World(
            client=client,
            new_suffix=str,
            say=say,
            here=str,
            made=MadePods(Path("/nonexistent/made.json")),
            follow=self.follow,
            new_probes=lambda: client,
            showing=showing,
            interrupts=Interrupts(),
        )
        return wait_until_ready(
            world, pod(runtime=None), "https://{pod_id}-{port}.proxy.runpod.net", 30
        )

    def clock(self) -> float:
        return CREATED.timestamp() + self.second

    def now(self) -> Any:
        return CREATED.fromtimestamp(self.clock(), CREATED.tzinfo)

    def sleep(self, seconds: float) -> None:
        self.polls()
        self.second += seconds

    def get_pod(self, _: str) -> Pod:
        runtime = {**POD["runtime"], "uptime": int(self.second - self.container)}
        shown = {"runtime": runtime if self.second >= self.container else None}
        return pod(**shown, status="RUNNING" if self.second < self.ends else "EXITED")

    def look(self, _: Access) -> tuple[Probe, Probe]:
        return Probe(self.second >= self.serves), Probe(self.second >= self.serves - 60)

    def follow(self, _: str, source: str) -> Any:
        return Reader(self, self.log if source == "container" else self.system)


@dataclass
class Reader:
    """A followed log; while it is cut, nothing comes, and then all that was missed."""

    wait: Wait
    left: list[tuple[float, str]]

    def lines(self) -> list[LogLine]:
        begin, end = self.wait.cut
        if begin <= self.wait.second < end:
            return []
        due = [(at, line) for at, line in self.left if at <= self.wait.second]
        self.left = self.left[len(due) :]
        # only our own count; a host's repeats count whatever they say
        return [LogLine(moment(at), "", f"podkit: {line}", "") for at, line in due]

    def close(self) -> None:
        pass


def hanging(log: list[tuple[float, str]]) -> Wait:
    """A pod that goes on telling something, but never what is waited for."""
    return Wait(log=[*log, *((at, "still there") for at in range(140, 2400, 20))], serves=NEVER)


WAITS = {
    "a boot that goes well": Wait(),
    "the log cannot be followed": Wait(cut=(0, NEVER)),
    "the log is cut for a minute": Wait(cut=(30, 90)),
    "no container": Wait(container=NEVER, log=[]),
    "no container, though the image is there": Wait(
        container=NEVER, log=[], system=[(9, "pulling image"), (200, "create container")]
    ),
    "no container, and the host repeats itself": Wait(
        container=NEVER, log=[], system=[(at, "error pulling image") for at in (9, 30, 60, 90)]
    ),
    "the host takes the pod away": Wait(ends=30),
    **{
        f"{phase} never ends": hanging(until(phase))
        for phase in ("check", "install", "load", "warm-up", "ready")
    },
    "fetch never ends": hanging([*until("fetch"), (60, "phase=webui event=done t=54")]),
    "webui never ends": hanging(until("webui")),
    "load never ends, and the log falls silent": Wait(log=until("load"), serves=NEVER),
    **{
        f"the pod dies in {phase}": Wait(
            log=[*until(phase), (140, f"fatal step={phase} reason=it broke fix=repair it")]
        )
        for phase in ("check", "install", "fetch", "webui", "load", "warm-up", "ready")
    },
}
for wait in WAITS.values():
    if wait.log is not BOOT:
        wait.serves = NEVER


def go_on_when_told() -> None:
    """Says on stdout that a poll has come, and waits for a line."""
    print("polled", flush=True)
    sys.stdin.readline()


def main(name: str) -> int:
    """Lives a wait as a command does, and ends with its exit code."""
    app = App()
    wait = WAITS[name]
    wait.polls = go_on_when_told
    try:
        app.say(f"created pod {POD['id']} ({POD['name']}) at $0.86/h")
        _, where = wait.live(app.say, app.showing)
        app.say(f"api    {where.api_url}")
    except PodkitError as error:
        return app.report_failure(error)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
