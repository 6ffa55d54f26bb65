"""How the limits of a pod that is there already compare with those that a deploy asks for. Pure.

It must never let a limit that was given be dropped without a word.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from podkit.pods.placement import highest_tolerated_price
from podkit.runpod.types import Pod
from podkit.settings import Settings

SLACK_HOURS = 1 / 60
"""A minute between two clocks is no longer life."""


@dataclass(frozen=True)
class Difference:
    """A limit of the pod that is not the one asked for; `is_looser`: it may cost more by it."""

    text: str
    is_looser: bool


def compare_limits(
    pod: Pod,
    settings: Settings,
    now: datetime,
) -> list[Difference]:
    """Where the pod's limits differ from those that were given."""
    checks = {
        "PODKIT_MAX_PRICE": _price,
        "PODKIT_MAX_HOURS": _lifetime,
        "PODKIT_IDLE_MINUTES": _idle,
        "PODKIT_BOOT_MINUTES": _boot,
        "PODKIT_BUDGET": _budget,
    }
    found: list[Difference] = []
    for name, check in checks.items():
        if name in settings.given:
            found += check(pod, settings, now)
    return found


def _price(pod: Pod, settings: Settings, _now: datetime) -> Iterator[Difference]:
    limit = settings.max_price
    if limit is not None and pod.cost_per_hour > highest_tolerated_price(limit):
        what = f"it costs ${pod.cost_per_hour:.2f}/h, and at most ${limit:.2f}/h was asked for"
        yield Difference(what, is_looser=True)


def _lifetime(pod: Pod, settings: Settings, now: datetime) -> Iterator[Difference]:
    asked = settings.max_hours
    if pod.ends_at is None:
        if asked:
            yield Difference(f"it has no end time, and {asked:g} hours were asked for", True)
        return
    left = (pod.ends_at - now).total_seconds() / 3600
    has = f"it ends itself in {left:.1f} hours"
    if not asked:
        yield Difference(f"{has}, and no end was asked for", is_looser=False)
    elif abs(left - asked) > SLACK_HOURS:
        yield Difference(f"{has}, and {asked:g} were asked for", left > asked)


def _idle(pod: Pod, settings: Settings, _now: datetime) -> Iterator[Difference]:
    asked = settings.idle_minutes
    has = minutes_of(pod, "PODKIT_IDLE_MINUTES")
    if has is None or has == asked:
        return
    told = f"it ends itself after {has:g} idle minutes" if has else "it never ends itself when idle"
    wish = f"{asked:g} were asked for" if asked else "no idle limit was asked for"
    yield Difference(f"{told}, and {wish}", is_looser=bool(asked) and (has > asked or not has))


def _boot(pod: Pod, settings: Settings, _now: datetime) -> Iterator[Difference]:
    has = minutes_of(pod, "PODKIT_BOOT_MINUTES")
    if has is not None and has != settings.boot_minutes:
        what = f"its boot may take {has:g} minutes, and {settings.boot_minutes:g} were asked for"
        yield Difference(what, is_looser=False)


def _budget(pod: Pod, settings: Settings, now: datetime) -> Iterator[Difference]:
    budget = settings.budget
    if budget is None:
        return
    if pod.ends_at is None:
        yield Difference(f"it has no end time, and a budget of ${budget:.2f} was asked for", True)
        return
    hours = max((pod.ends_at - now).total_seconds() / 3600, 0.0)
    cost = hours * pod.cost_per_hour
    if cost > budget:
        what = f"until its end it may cost ${cost:.2f} more, and the budget is ${budget:.2f}"
        yield Difference(what, is_looser=True)


def minutes_of(pod: Pod, name: str) -> float | None:
    """A limit in the pod's own environment, in minutes; None if it does not say."""
    try:
        return float(pod.env.get(name, ""))
    except ValueError:
        return None
