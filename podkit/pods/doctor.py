"""What needs attention before, between and after deploys, each finding with its fix. Reads only."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from podkit.errors import ApiError, PodkitError
from podkit.pods.placement import choose_volume, plan_placement
from podkit.runpod.client import RunpodClient
from podkit.runpod.types import MIN_CUDA, NetworkVolume, Pod
from podkit.settings import Settings

VOLUME_USE = re.compile(r"podkit: volume used_gib=([\d.]+)")
FULL_ENOUGH = 0.9


@dataclass(frozen=True)
class Finding:
    """One thing looked at. `fix` is empty when it needs no attention."""

    what: str
    fix: str = ""


def examine(client: RunpodClient, settings: Settings) -> Iterator[Finding]:
    """Look at the key, the volume, the stock and the pods. What cannot be looked at is a finding, not an error."""
    try:
        pods, volumes = client.list_pods(), client.list_volumes()
    except ApiError as error:
        yield Finding(error.message, error.hint)
        return
    yield Finding("the API answers in the expected shape, and the key may read pods and volumes")
    for look in (
        _volume(client, settings, volumes, pods),
        _stock(client, settings),
        pods_to_end(pods, client.now()),
    ):
        try:
            yield from look
        except PodkitError as error:
            yield Finding(error.message, error.hint)


def _volume(
    client: RunpodClient, settings: Settings, volumes: Sequence[NetworkVolume], pods: Sequence[Pod]
) -> Iterator[Finding]:
    """The volume, and how full podkit's own folders make it, as far as a running pod has said so in its log."""
    volume = choose_volume(volumes, settings.data_center, settings.volume_id)
    yield Finding(
        f"network volume {volume.id} ({volume.name}), {volume.size_gb} GB, is in {settings.data_center}"
    )
    used = []
    for pod in pods:
        if pod.live and pod.ours and pod.volume_id == volume.id:
            with suppress(ApiError):
                log = client.pod_log(pod.id, "container", 1000, brief=True)
                used += [float(match[1]) for line in log if (match := VOLUME_USE.search(line.text))]
    if used:
        full = used[-1] > volume.size_gb * FULL_ENOUGH
        fix = (
            "delete old folders of hf_cache on it, or enlarge it in the provider's console"
            if full
            else ""
        )
        yield Finding(f"podkit's folders hold {used[-1]:.1f} of its {volume.size_gb} GB", fix)
    else:
        yield Finding("no running pod reports how full the volume is")


def _stock(client: RunpodClient, settings: Settings) -> Iterator[Finding]:
    catalog = client.list_gpu_types(MIN_CUDA)
    placement = plan_placement(settings, None, catalog)
    yield from (
        Finding(f"{candidate} in {settings.data_center}") for candidate in placement.candidates
    )
    yield from (
        Finding(f"{gpu_type} would be skipped: {why}") for gpu_type, why in placement.skipped
    )
    if not placement.candidates:
        yield Finding("no GPU type is left to try", placement.hint)
    elif all(candidate.stock == "NONE" for candidate in placement.candidates):
        yield Finding(
            "none of these GPU types is in stock now",
            "name another with --gpu or PODKIT_GPUS, or try later",
        )


def pods_to_end(pods: Sequence[Pod], now: datetime) -> Iterator[Finding]:
    """Pods past their end time, and stopped or broken ones whose disk may still cost."""
    for pod in pods:
        name, stop = f"pod {pod.id} ({pod.name})", f"./stop_pod.sh {pod.id}"
        if pod.live and pod.ends_at and pod.ends_at < now:
            yield Finding(f"{name} is past its end time and still billed", stop)
        elif not pod.live and pod.status != "TERMINATED":
            yield Finding(f"{name} is {pod.status}; its disk may still cost", f"{stop} --terminate")
    running = [pod for pod in pods if pod.live]
    yield Finding(
        f"pods running: {len(running)}, ${sum(pod.cost_per_hour for pod in running):.2f}/h in all"
    )
