"""Takes a pod that is there already: says how it differs from what was asked for, and refuses one
whose limits are looser.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from podkit.errors import UsageError
from podkit.models.spec import Model, served_by_pod
from podkit.pods.limits import compare_limits
from podkit.pods.wishes import Wishes
from podkit.runpod.types import Pod
from podkit.settings import Settings

DIFFERS = "it differs from what was asked for"


def say_differences(
    pod: Pod,
    settings: Settings,
    model: Model,
    say: Callable[[str], None],
) -> None:
    """Say what a pod is, and where it is not what was asked for."""
    say(f"pod {pod.label} is already there, ${pod.cost_per_hour:.2f}/h; --new makes another")
    served = served_by_pod(pod.env)
    checkpoint = served.checkpoint if served else "unknown"
    for what, has, wanted in (
        ("GPU", pod.gpu_type, settings.gpus),
        ("data center", pod.data_center, (settings.data_center,)),
        ("volume", pod.volume_id, (settings.volume_id or pod.volume_id,)),
        ("checkpoint", checkpoint, (model.checkpoint,)),
    ):
        if has not in wanted:
            say(f"{DIFFERS}: {what} is {has}, not {' or '.join(wanted)}")


def check_limits(
    pod: Pod,
    settings: Settings,
    wishes: Wishes,
    model: str,
    now: datetime,
    say: Callable[[str], None],
) -> None:
    """Say which limits differ. Raises UsageError if the pod's are looser and that is not wished."""
    looser = []
    for one in compare_limits(pod, settings, now):
        if one.is_looser:
            looser.append(one.text)
        if wishes.adopt or not one.is_looser:
            say(f"{DIFFERS}: {one.text}")
    if looser and not wishes.adopt:
        hint = (
            f"./deploy_{model}.sh --adopt takes it as it is; "
            f"./deploy_{model}.sh --new, with the same limits, makes another"
        )
        what = f"pod {pod.label} does not keep the limits asked for"
        raise UsageError(f"{what}: {'; '.join(looser)}", hint)
