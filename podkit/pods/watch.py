"""What a pod's appearances, log lines and probes add up to: its phases, and when waiting longer is
of no use.

Pure: it is fed, and asks nobody anything. It must never fail a pod for a log that is missing: the
log only tells more."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

from podkit.errors import AGAIN, BadHost, PodFailed
from podkit.pods.boot_log import (
    FIRST_PHASE,
    Event,
    Fatal,
    Fetched,
    PhaseBegan,
    PhaseEnded,
    is_failed_pull,
    is_pull,
    parse_line,
)
from podkit.runpod.logs import LogLine
from podkit.runpod.types import Pod

CONTAINER_SECONDS = 360.0
"""A host that says something else than that it pulls, and then shows no container for so long, is
bad."""
PULL_SECONDS = 900.0
"""So long a container may take on any other host: pulls of 5 to 13 minutes are normal (seen live,
2026-10)."""
RESTARTS_OF_A_LOOP = 2
REPEATS_OF_A_LOOP = 4
NOISE_SECONDS = 30
"""A smaller fall of the uptime is no restart (seen live, 2026-10)."""
APPEAR_SECONDS = 60.0
"""An early 404 for a new pod is no proof of absence (read in a maintained client's source)."""
GONE_AFTER_LOOKS = 3
FAULT_SECONDS = 60.0
"""A refused key or login that lasts so long is a fault; before that a changed password may be on
its way in."""
LATE_SECONDS = 60.0
"""A phase that takes too long is given so long for its last lines to come: the log, or this laptop,
may have slept."""
SPEAKING_SECONDS = 60.0
"""A log without a line for so long may have been cut, and what it would tell is then not known."""
BOOT_MARGIN_SECONDS = 120.0
RATE_SECONDS = 60.0
"""The rate of a fetch is that of the last so many seconds."""
PHASES = {
    "check": (0.1, f"its GPU or network volume hangs: {AGAIN}"),
    "install": (0.5, f"its host loads packages too slowly: {AGAIN}"),
    "fetch": (
        0.8,
        "the model comes too slowly: set HF_TOKEN for a better rate, or raise --boot-minutes"
        " (PODKIT_BOOT_MINUTES)",
    ),
    "webui": (0.5, f"its host starts the chat page too slowly: {AGAIN}"),
    "load": (0.5, f"vLLM does not get up: {AGAIN}"),
    "warm-up": (0.2, f"vLLM answers no completion: {AGAIN}"),
    "ready": (
        0.2,
        "the pod serves, but its public URLs do not: the provider's proxy may have trouble;"
        " deploy again",
    ),
}
"""The phases that the pod's log tells: the share of the boot time that each may take, and what to
do beyond it."""
BEFORE = {"load": ("check", "install", "fetch"), "warm-up": ("load",), "ready": tuple(PHASES)[:-1]}
"""The phases that must have ended, even if the lines that say so were lost, where one begins."""


@dataclass(frozen=True)
class Step:
    """A phase and the seconds since the wait began at which it was seen to start and end; None: it
    goes on."""

    phase: str
    started: float
    ended: float | None = None

    def took(self, now: float) -> float:
        """Seconds, up to `now` if it goes on."""
        return (now if self.ended is None else self.ended) - self.started


@dataclass(frozen=True)
class Progress:
    """A wait at one moment.

    Its phases in the order they began, seconds so far, USD that the pod has cost so far, and the
    bytes of the checkpoint that are fetched, of a total (0: nothing is being fetched), at so many
    bytes per second (0: not known)."""

    pod: Pod
    steps: tuple[Step, ...]
    seconds: float
    spent: float
    fetched: int = 0
    total: int = 0
    rate: float = 0.0

    @property
    def running(self) -> tuple[Step, ...]:
        return tuple(step for step in self.steps if step.ended is None)


class BootWatch:
    """Feed it, then check(). Moments are seconds of one clock; `started` is when the wait began."""

    def __init__(self, started: float, boot_minutes: float) -> None:
        self.started = started
        self.has_container = False
        self.failed = False
        self._reason = ""
        self._fix = ""
        self._blames_host = False
        self._boot_seconds = boot_minutes * 60
        self._steps = {"placed": Step("placed", 0.0)}
        self._fetched: deque[Fetched] = deque()
        self._looked = False
        self._since = started
        self._boot_began = float("inf")
        self._spoke_at = float("-inf")
        self._past_pull_since: float | None = None
        self._fault_since: float | None = None
        self._late_since: float | None = None
        self._over_since: float | None = None
        self._absences = 0
        self._uptime = 0
        self._falls = 0
        self._boots = 0
        self._system: dict[str, set[str]] = {}

    def see_serving(self, now: float) -> None:
        """Both public URLs work: nothing is waited for any more."""
        for phase in self._steps:
            self._end(phase, now)
        self._steps["ready"] = Step("ready", now - self.started, now - self.started)

    def progress(self, pod: Pod, now: float, spent: float) -> Progress:
        steps = tuple(self._steps.values())
        seconds = now - self.started
        if not self._fetched:
            return Progress(pod, steps, seconds, spent)
        first = self._fetched[0]
        last = self._fetched[-1]
        rate = (last.fetched - first.fetched) / max(last.at - first.at, 1.0)
        if now - self._boot_began - last.at > RATE_SECONDS:
            rate = 0.0
        return Progress(pod, steps, seconds, spent, last.fetched, last.total, max(rate, 0.0))

    def see_pod(self, pod: Pod, now: float) -> None:
        self._looked = True
        self._absences = 0
        if not pod.live:
            self._fail(f"it is {pod.status}")
        if (
            not pod.uptime
        ):  # a runtime of 0 s was shown for 23 hours by a host that crashed (2026-10)
            return
        self.see_container(now)
        if pod.uptime < self._uptime - NOISE_SECONDS:
            self._falls += 1
            self._check_restarts()
        self._uptime = pod.uptime

    def see_container(self, now: float) -> None:
        """Something came from inside: the uptime counts, a line of its log, or an answer to a
        probe."""
        if self.has_container:
            return
        self.has_container = True
        self._since = now
        self._end("placed", now)
        self._begin("container", now)

    def see_no_answer(self) -> None:
        """The API did not say what the pod is like: nothing is held against its host until it
        does."""
        self._looked = False

    def see_no_pod(self, now: float) -> None:
        self._absences += 1
        if self._absences >= GONE_AFTER_LOOKS and now - self.started > APPEAR_SECONDS:
            self._fail("it is gone: it ended itself, or someone ended it")

    def see_container_log(self, lines: Sequence[LogLine], now: float) -> None:
        if not lines:
            return
        self._spoke_at = now
        self.see_container(now)
        events = self._of_last_boot([parse_line(line.text) for line in lines])
        for event in events:
            if isinstance(event, PhaseBegan | PhaseEnded | Fetched):
                # a line may come late, never early
                self._boot_began = min(self._boot_began, now - event.at)
        for event in events:
            self._see_event(event)

    def see_system_log(self, lines: Sequence[LogLine], now: float) -> None:
        for line in lines:
            if is_pull(line.text):
                self._past_pull_since = None
                continue
            self._past_pull_since = self._past_pull_since or now
            times = self._system.setdefault(line.text, set())
            times.add(line.ts)  # a replay brings the same times again
            if len(times) >= REPEATS_OF_A_LOOP and not self.failed:
                self._fail(f"the host repeats: {line.text}")
                self._blames_host = is_failed_pull(line.text)

    def see_fault(self, fault: str, now: float) -> None:
        """What a probe says is our own fault, such as a refused key; empty: nothing is."""
        self._fault_since = (self._fault_since or now) if fault else None
        if self._fault_since and now - self._fault_since > FAULT_SECONDS:
            self._fail(fault)

    def check(self, pod: Pod, now: float) -> None:
        """Raises PodFailed for a pod that will not serve, BadHost for a host that starts no
        container."""
        self._check_phases(now)
        self._check_boot_time(now)
        if self.failed:
            kind = BadHost if self._blames_host else PodFailed
            raise kind(f"pod {pod.id}: {self._reason}", self._fix)
        if self._looked and not self.has_container and self._is_host_silent(now):
            minutes = (now - self.started) / 60
            raise BadHost(f"pod {pod.id}: no container after {minutes:.0f} minutes")

    def _check_phases(self, now: float) -> None:
        """Without fresh lines the end of a phase may go unseen: then only the boot time as a whole
        counts."""
        late = None
        if now - self._spoke_at <= SPEAKING_SECONDS:
            late = next((step for step in self._steps.values() if self._is_late(step, now)), None)
        if late is None:
            self._late_since = None
            return
        self._late_since = self._late_since or now
        if now - self._late_since > LATE_SECONDS:
            minutes = late.took(now - self.started) / 60
            fix = PHASES[late.phase][1]
            self._fail(f"its phase {late.phase} has taken {minutes:.0f} minutes", fix)

    def _check_boot_time(self, now: float) -> None:
        waited = now - self._since
        counts = self.has_container or not self._looked
        if not counts or waited <= self._boot_seconds + BOOT_MARGIN_SECONDS:
            self._over_since = None
            return
        self._over_since = self._over_since or now
        if now - self._over_since > LATE_SECONDS:
            self._fail(f"it was not ready {waited / 60:.0f} minutes after its container started")

    def _check_restarts(self) -> None:
        """A restart may show as a fall of the uptime, as a new first phase, or as both."""
        restarts = max(self._falls, self._boots - 1)
        if restarts >= RESTARTS_OF_A_LOOP:
            self._fail(f"its container was restarted {restarts} times")

    def _is_host_silent(self, now: float) -> bool:
        if now - self.started > PULL_SECONDS:
            return True
        return self._past_pull_since is not None and now - self._past_pull_since > CONTAINER_SECONDS

    def _is_late(self, step: Step, now: float) -> bool:
        if step.ended is not None or step.phase not in PHASES:
            return False
        share, _ = PHASES[step.phase]
        return step.took(now - self.started) > share * self._boot_seconds

    def _of_last_boot(self, events: Sequence[Event | None]) -> Sequence[Event | None]:
        """The events from the start of the last boot on; a start among them begins the phases
        again."""
        starts = []
        for number, event in enumerate(events):
            if isinstance(event, PhaseBegan) and event.phase == FIRST_PHASE:
                starts.append(number)
        if not starts:
            return events
        self._boots += 1  # what comes at once is the past, told in one piece: it counts once
        self._check_restarts()
        self._boot_began = float("inf")
        self._fetched.clear()
        for phase in PHASES:
            self._steps.pop(phase, None)
        return events[starts[-1] :]

    def _see_event(self, event: Event | None) -> None:
        match event:
            case PhaseBegan(phase, at):
                moment = self._boot_began + at
                for over in ("container", *BEFORE.get(phase, ())):
                    self._end(over, moment)
                self._begin(phase, moment)
            case PhaseEnded("ready", _):
                pass  # it lasts until the public URLs work
            case PhaseEnded(phase, at):
                self._end(phase, self._boot_began + at)
                if phase == "fetch":
                    self._fetched.clear()
            case Fetched(at, _, _):
                self._fetched.append(event)
                while self._fetched[0].at < at - RATE_SECONDS:
                    self._fetched.popleft()
            case Fatal(step, reason, fix):
                self._fail(f"its {step} failed: {reason}", fix)

    def _begin(self, phase: str, now: float) -> None:
        self._steps[phase] = Step(phase, now - self.started)

    def _end(self, phase: str, now: float) -> None:
        step = self._steps.get(phase)
        if step and step.ended is None:
            self._steps[phase] = replace(step, ended=max(now - self.started, step.started))

    def _fail(self, reason: str, fix: str = "") -> None:
        if not self.failed:
            self.failed = True
            self._reason = reason
            self._fix = fix
