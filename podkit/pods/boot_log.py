"""What the lines of a pod's log say: each that podkit wrote becomes an event, the host's are about
a pull or not.

Pure. It must make nothing of a line that it does not know: vLLM, pip and the host write what they
like."""

from __future__ import annotations

import re
from dataclasses import dataclass

FIRST_PHASE = "check"
PHASE = re.compile(
    r"podkit: phase=(?P<phase>\S+) event=(?P<event>\S+) t=(?P<at>\d+(?:\.\d+)?)"
    r"(?: bytes=(?P<fetched>\d+) total=(?P<total>\d+))?"
)
FATAL = re.compile(r"podkit: fatal step=(?P<step>\S+) reason=(?P<reason>.*?)(?: fix=(?P<fix>.*))?$")
VOLUME_USE = re.compile(r"podkit: volume used_gib=(?P<gib>\d+(?:\.\d+)?)")
PULLING = re.compile(r"pull|download|extract", re.IGNORECASE)
FAILING = re.compile(r"error|fail|denied|refused|unauthorized|not found|timeout", re.IGNORECASE)


@dataclass(frozen=True)
class PhaseBegan:
    """A phase of the boot began, `at` seconds after the boot did."""

    phase: str
    at: float


@dataclass(frozen=True)
class PhaseEnded:
    """A phase of the boot ended, well or not, `at` seconds after the boot began."""

    phase: str
    at: float


@dataclass(frozen=True)
class Fetched:
    """So many bytes of the model's files, of `total`, are there `at` seconds after the boot
    began."""

    at: float
    fetched: int
    total: int


@dataclass(frozen=True)
class Fatal:
    """The boot gave up: why, and what to do about it."""

    step: str
    reason: str
    fix: str


@dataclass(frozen=True)
class VolumeUsed:
    """How much podkit's own folders hold of the network volume."""

    gib: float


Event = PhaseBegan | PhaseEnded | Fetched | Fatal | VolumeUsed


def parse_line(text: str) -> Event | None:
    """What a line of the container's log tells; None for one that is not podkit's."""
    if match := PHASE.search(text):
        return _phase_event(match)
    if match := FATAL.search(text):
        return Fatal(match["step"], match["reason"], match["fix"] or "")
    if match := VOLUME_USE.search(text):
        return VolumeUsed(float(match["gib"]))
    return None


def _phase_event(match: re.Match[str]) -> Event:
    phase = match["phase"]
    at = float(match["at"])
    if match["event"] == "start":
        return PhaseBegan(phase, at)
    if match["event"] == "progress":
        return Fetched(at, int(match["fetched"] or 0), int(match["total"] or 0))
    return PhaseEnded(phase, at)


def is_pull(text: str) -> bool:
    """Whether a line of the host's log says that an image is being pulled, and not that the pull
    failed."""
    return bool(PULLING.search(text)) and not FAILING.search(text)


def is_failed_pull(text: str) -> bool:
    """Whether a line of the host's log says that an image could not be pulled."""
    return bool(PULLING.search(text) and FAILING.search(text))
