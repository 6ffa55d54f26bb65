"""How a pod's limits are told."""

from __future__ import annotations

from datetime import timedelta, timezone

import pytest

from podkit.pods.lifetime import pod_lifetime, tell_lifetime
from tests.podkit.samples import CREATED, POD, pod

TWO_HOURS_EAST = timezone(timedelta(hours=2))


@pytest.mark.parametrize(
    ("idle", "hours", "told"),
    [
        (30, 12, "ends itself after 30 idle minutes, at the latest 02:00 (in 12 h)"),
        (7.5, 11.99, "ends itself after 7.5 idle minutes, at the latest 01:59 (in 12 h)"),
        (30, 0.5, "ends itself after 30 idle minutes, at the latest 14:30 (in 30 min)"),
        (30, 2.5, "ends itself after 30 idle minutes, at the latest 16:30 (in 2.5 h)"),
        (30, 84, "ends itself after 30 idle minutes, at the latest 2026-11-25 02:00 (in 3.5 days)"),
        (30, None, "ends itself after 30 idle minutes; it has no end time"),
        (0, 12, "ends itself at 02:00 (in 12 h)"),
        (0, None, "never ends itself"),
        (30, -1, "should have ended itself at 13:00"),
        (0, 0, "should have ended itself at 14:00"),
    ],
)
def test_the_limits_of_a_pod_are_told_in_local_time(
    idle: float, hours: float | None, told: str
) -> None:
    ends_at = None if hours is None else CREATED + timedelta(hours=hours)
    assert tell_lifetime(idle, ends_at, CREATED, TWO_HOURS_EAST) == told


@pytest.mark.parametrize(
    ("minutes", "told"),
    [
        ("45", "ends itself after 45 idle minutes, at the latest 02:00 (in 12 h)"),
        ("0", "ends itself at 02:00 (in 12 h)"),
        ("soon", "ends itself at 02:00 (in 12 h)"),
    ],
)
def test_a_pod_tells_its_own_limits(minutes: str, told: str) -> None:
    env = {**POD["env"], "PODKIT_IDLE_MINUTES": minutes}
    assert pod_lifetime(pod(env=env), CREATED, TWO_HOURS_EAST) == told
