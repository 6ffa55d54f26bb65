"""How a pod's limits are told to a person, everywhere in the same words: those that will happen, in
local time."""

from __future__ import annotations

from datetime import datetime, tzinfo

from podkit.pods.limits import minutes_of
from podkit.runpod.types import Pod

HOURS_WITHOUT_DATE = 24
"""A moment that is nearer than this is told without its date."""


def tell_lifetime(
    idle_minutes: float,
    ends_at: datetime | None,
    now: datetime,
    zone: tzinfo | None = None,
) -> str:
    """`ends itself after 30 idle minutes, at the latest 02:50 (in 12 h)`.

    0 idle minutes, or no end, is a limit that is off. `zone` is that of the moment shown; None:
    this machine's."""
    if ends_at is None:
        if not idle_minutes:
            return "never ends itself"
        return f"ends itself after {idle_minutes:g} idle minutes; it has no end time"
    end = _moment(ends_at, now, zone)
    if ends_at <= now:
        return f"should have ended itself at {end}"
    if not idle_minutes:
        return f"ends itself at {end}"
    return f"ends itself after {idle_minutes:g} idle minutes, at the latest {end}"


def pod_lifetime(pod: Pod, now: datetime, zone: tzinfo | None = None) -> str:
    """tell_lifetime() of a pod, by its own environment."""
    return tell_lifetime(idle_minutes_of(pod), pod.ends_at, now, zone)


def idle_minutes_of(pod: Pod) -> float:
    """After how many minutes without use a pod ends itself; 0: never, or not known."""
    return minutes_of(pod, "PODKIT_IDLE_MINUTES") or 0.0


def _moment(ends_at: datetime, now: datetime, zone: tzinfo | None) -> str:
    """`02:50 (in 12 h)`, or `2026-11-25 02:50 (in 3.5 days)`."""
    local = ends_at.astimezone(zone)
    hours = (ends_at - now).total_seconds() / 3600
    clock_time = f"{local:%H:%M}"
    if abs(hours) >= HOURS_WITHOUT_DATE:
        clock_time = f"{local:%Y-%m-%d %H:%M}"
    if hours <= 0:
        return clock_time
    if hours < 2:
        return f"{clock_time} (in {hours * 60:.0f} min)"
    if hours <= HOURS_WITHOUT_DATE * 2:
        return f"{clock_time} (in {_short(hours)} h)"
    return f"{clock_time} (in {_short(hours / 24)} days)"


def _short(number: float) -> str:
    """`12` for 12.0 and 11.98, `12.5` for 12.5."""
    return f"{round(number, 1):g}"
