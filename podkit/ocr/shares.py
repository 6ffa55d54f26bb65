"""How the pods of a fleet share one budget. Pure.

What is promised to one pod must never be promised to another.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import datetime

from podkit.pods.placement import ENDING_SECONDS
from podkit.runpod.types import Pod


def cost_to_its_end(pod: Pod, now: datetime) -> float:
    """USD that a pod has cost when it ends itself; infinite for one without an end time."""
    if pod.ends_at is None:
        return math.inf
    begins = min(pod.created_at or now, now)
    return pod.cost_per_hour * (pod.ends_at - begins).total_seconds() / 3600


def cost_if_ended(pod: Pod, now: datetime) -> float:
    """USD that a pod has cost if it is ended now, which may take a minute."""
    return pod.spent(now) + pod.cost_per_hour * ENDING_SECONDS / 3600


def share(budget: float | None, promised: Iterable[float], pods_to_come: int) -> float | None:
    """USD for each of the pods to come, None without a budget."""
    if budget is None:
        return None
    return max(budget - sum(promised), 0.0) / pods_to_come
