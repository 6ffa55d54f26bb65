"""What a pod's appearances, log lines and probes add up to: its phases, and when waiting longer is of no use.

Pure: it is fed, and asks nobody anything. It must never fail a pod for a log that is missing: the log only tells more.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from podkit.errors import AGAIN, BadHost, PodFailed
from podkit.runpod.types import Pod

CONTAINER_SECONDS = 360.0
"""A host that shows no container for this long is bad (seen live, 2026-09)."""
PULL_SECONDS, PULL_LULL_SECONDS = 900.0, 120.0
RESTARTS_OF_A_LOOP, REPEATS_OF_A_LOOP = 2, 4
APPEAR_SECONDS = 60.0
"""An early 404 for a new pod is no proof of absence (read in a maintained client's source)."""
GONE_AFTER_LOOKS = 3
FAULT_SECONDS, LATE_SECONDS = 60.0, 60.0
"""A refused key or login that lasts this long is a fault; before that a changed password may be on its way in. A phase
that is too late is given as long for its last lines to come: the log, or this laptop, may have slept.
"""
BOOT_MARGIN_SECONDS = 120.0
PHASES = {
    "check": (0.1, f"its GPU or network volume hangs: {AGAIN}"),
    "install": (0.5, f"its host loads packages too slowly: {AGAIN}"),
    "fetch": (
        0.8,
        "the model comes too slowly: set HF_TOKEN for a better rate, or raise PODKIT_BOOT_MINUTES",
    ),
    "webui": (0.5, f"its host starts the chat page too slowly: {AGAIN}"),
    "load": (0.5, f"vLLM does not get up: {AGAIN}"),
    "warm-up": (0.2, f"vLLM answers no completion: {AGAIN}"),
    "ready": (
        0.2,
        "the pod serves, but its public URLs do not: the provider's proxy may have trouble; deploy again",
    ),
}
"""The phases that the pod's log tells: the share of the boot time that each may take, and what to do beyond it."""
BEFORE = {"load": ("check", "install", "fetch"), "warm-up": ("load",), "ready": tuple(PHASES)[:-1]}
"""The phases that must have ended, even if the lines that say so were lost, where one begins."""
PULLING = re.compile(r"pull|download|extract", re.IGNORECASE)
PHASE = re.compile(r"podkit: phase=(\S+) event=(\S+) t=([\d.]+)(?: bytes=(\d+) total=(\d+))?")
FATAL = re.compile(r"podkit: fatal step=(\S+) reason=(.*?)(?: fix=(.*))?$")


@dataclass(frozen=True)
class Step:
    """A phase and the seconds since the wait began at which it was seen to start and end; None: it goes on."""

    phase: str
    started: float
    ended: float | None = None

    def took(self, now: float) -> float:
        """Seconds, up to `now` if it goes on."""
        return (now if self.ended is None else self.ended) - self.started


@dataclass(frozen=True)
class Progress:
    """A wait at one moment: its phases in the order they began, seconds so far, USD that the pod has cost so far, and
    the bytes of the checkpoint that are fetched, of a total (0: nothing is being fetched).
    """

    pod: Pod
    steps: tuple[Step, ...]
    seconds: float
    spent: float
    fetched: int = 0
    total: int = 0

    @property
    def running(self) -> tuple[Step, ...]:
        return tuple(step for step in self.steps if step.ended is None)


class Watch:
    """Feed it, then check(). Moments are seconds of one clock; `started` is when the wait began."""

    def __init__(self, started: float, boot_minutes: float) -> None:
        self.started, self.has_container, self.failed = started, False, False
        self._reason = self._fix = ""
        self._boot_seconds = boot_minutes * 60
        self._steps = {"placed": Step("placed", 0.0)}
        self._bytes, self._looked = (0, 0), False
        self._since, self._boot_began, self._last_pull = started, float("inf"), float("-inf")
        self._fault_since: float | None = None
        self._late_since: float | None = None
        self._absences = self._restarts = self._uptime = 0
        self._system: Counter[str] = Counter()

    def see_serving(self, now: float) -> None:
        """Both public URLs work: nothing is waited for any more."""
        for phase in self._steps:
            self._end(phase, now)
        self._steps["ready"] = Step("ready", now - self.started, now - self.started)

    def progress(self, pod: Pod, now: float, spent: float) -> Progress:
        return Progress(pod, tuple(self._steps.values()), now - self.started, spent, *self._bytes)

    def see_pod(self, pod: Pod, now: float) -> None:
        self._looked, self._absences = True, 0
        if not pod.live:
            self._fail(f"it is {pod.status}")
        if pod.uptime is None:
            return
        if not self.has_container:
            self.has_container, self._since = True, now
            self._end("placed", now)
            self._begin("container", now)
        self._restarts += pod.uptime < self._uptime
        self._uptime = pod.uptime
        if self._restarts >= RESTARTS_OF_A_LOOP:
            self._fail(f"its container was restarted {self._restarts} times")

    def see_no_answer(self) -> None:
        """The API did not say what the pod is like: nothing is held against its host until it does."""
        self._looked = False

    def see_no_pod(self, now: float) -> None:
        self._absences += 1
        if self._absences >= GONE_AFTER_LOOKS and now - self.started > APPEAR_SECONDS:
            self._fail("it is gone: it ended itself, or someone ended it")

    def see_container_log(self, lines: Sequence[str], now: float) -> None:
        boots = [
            number for number, line in enumerate(lines) if "podkit: phase=check event=start" in line
        ]
        if boots:  # a boot begins, perhaps anew
            lines, self._boot_began, self._bytes = lines[boots[-1] :], float("inf"), (0, 0)
            self._steps = {name: step for name, step in self._steps.items() if name not in PHASES}
        told = [now - float(match[3]) for match in map(PHASE.search, lines) if match]
        self._boot_began = min([self._boot_began, *told])  # a line may come late, never early
        for line in lines:
            if match := PHASE.search(line):
                phase, event, at, fetched, total = match.groups()
                moment = self._boot_began + float(at)
                if event == "start":
                    for over in ("container", *BEFORE.get(phase, ())):
                        self._end(over, moment)
                    self._begin(phase, moment)
                elif event == "progress":
                    self._bytes = (int(fetched or 0), int(total or 0))
                elif phase != "ready":  # which lasts until the public URLs work
                    self._end(phase, moment)
                    self._bytes = (0, 0) if phase == "fetch" else self._bytes
            elif match := FATAL.search(line):
                self._fail(f"its {match[1]} failed: {match[2]}", match[3] or "")

    def see_system_log(self, lines: Iterable[str], now: float) -> None:
        for line in lines:
            if PULLING.search(line):
                self._last_pull = now
                continue
            self._system[line] += 1
            if self._system[line] >= REPEATS_OF_A_LOOP:
                self._fail(f"the host repeats: {line}")

    def see_fault(self, fault: str, now: float) -> None:
        """What a probe says is our own fault, such as a refused key; empty: nothing is."""
        self._fault_since = (self._fault_since or now) if fault else None
        if self._fault_since and now - self._fault_since > FAULT_SECONDS:
            self._fail(fault)

    def check(self, pod: Pod, now: float, *, log_follows: bool) -> None:
        """Raises PodFailed for a pod that will not serve, BadHost where the container should have started by now.

        While its log cannot be followed, the end of a phase may go unseen: then only the boot time as a whole counts.
        """
        waited = now - self._since
        late = [step for step in self._steps.values() if log_follows and self._is_late(step, now)]
        self._late_since = (self._late_since or now) if late else None
        if self._late_since and now - self._late_since > LATE_SECONDS:
            minutes = late[0].took(now - self.started) / 60
            self._fail(
                f"its phase {late[0].phase} has taken {minutes:.0f} minutes",
                PHASES[late[0].phase][1],
            )
        if (
            self.has_container or not self._looked
        ) and waited > self._boot_seconds + BOOT_MARGIN_SECONDS:
            self._fail(f"it was not ready {waited / 60:.0f} minutes after its container started")
        if self.failed:
            raise PodFailed(f"pod {pod.id}: {self._reason}", self._fix)
        pulling = now - self._last_pull < PULL_LULL_SECONDS
        if (
            self._looked
            and not self.has_container
            and waited > (PULL_SECONDS if pulling else CONTAINER_SECONDS)
        ):
            raise BadHost(f"pod {pod.id}: no container after {waited / 60:.0f} minutes")

    def _is_late(self, step: Step, now: float) -> bool:
        share, _ = PHASES.get(step.phase, (float("inf"), ""))
        return step.ended is None and step.took(now - self.started) > share * self._boot_seconds

    def _begin(self, phase: str, now: float) -> None:
        self._steps[phase] = Step(phase, now - self.started)

    def _end(self, phase: str, now: float) -> None:
        if (step := self._steps.get(phase)) and step.ended is None:
            self._steps[phase] = replace(step, ended=max(now - self.started, step.started))

    def _fail(self, reason: str, fix: str = "") -> None:
        if not self.failed:
            self.failed, self._reason, self._fix = True, reason, fix
