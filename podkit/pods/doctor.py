"""What needs attention before, between and after deploys, each finding with its fix. Reads only.

What is asked of the API is asked side by side, so that a person waits for the slowest answer and
not for their sum."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from statistics import median

from podkit.errors import ApiError, PodkitError
from podkit.models.learned import LATEST, Boot
from podkit.pods.boot_log import VolumeUsed, parse_line
from podkit.pods.placement import choose_volume, plan_placement
from podkit.runpod.client import RunpodClient
from podkit.runpod.types import MIN_CUDA, GpuType, NetworkVolume, Pod
from podkit.settings import Settings
from podkit.text import stop_command

FULL_ENOUGH = 0.9
LOG_LINES = 1000
FASTER = 1.5
"""So many times faster another source must be: what a boot loads is partly in memory already."""
LATER_LINE_SECONDS = 0.3
"""How long a line that says more than the last one is waited for."""
TYPES_SHOWN = 6


@dataclass(frozen=True)
class Finding:
    """One thing looked at. `fix` is empty when it needs no attention."""

    what: str
    fix: str = ""


def examine(client: RunpodClient, settings: Settings, boots: Sequence[Boot] = ()) -> list[Finding]:
    """Look at the key, the volume, the stock, the pods, and how fast models came in these `boots`.
    What cannot be looked at is a finding, not an error."""
    with ThreadPoolExecutor(max_workers=3) as pool:
        pods_asked = pool.submit(client.list_pods)
        volumes_asked = pool.submit(client.list_volumes)
        catalog_asked = pool.submit(client.list_gpu_types, MIN_CUDA)
    try:
        pods = pods_asked.result()
        volumes = volumes_asked.result()
    except ApiError as error:
        return [Finding(error.message, error.hint)]
    findings = [
        Finding("the API answers in the expected shape, and the key may read pods and volumes")
    ]
    findings += _look(lambda: _volume(client, settings, volumes, pods))
    findings += _look(lambda: _stock(settings, catalog_asked))
    findings += slow_volume(boots)
    findings += pods_to_end(pods, client.now())
    return findings


def _look(look: Callable[[], Iterator[Finding]]) -> list[Finding]:
    found: list[Finding] = []
    try:
        found += look()
    except PodkitError as error:
        found.append(Finding(error.message, error.hint))
    return found


def _volume(
    client: RunpodClient, settings: Settings, volumes: Sequence[NetworkVolume], pods: Sequence[Pod]
) -> Iterator[Finding]:
    """The volume, and how full podkit's own folders make it, as far as a running pod has said so in
    its log."""
    volume = choose_volume(volumes, settings.data_center, settings.volume_id)
    what = f"network volume {volume.id} ({volume.name}), {volume.size_gb} GB"
    yield Finding(f"{what}, is in {settings.data_center}")
    mounting = [pod for pod in pods if pod.live and pod.ours and pod.volume_id == volume.id]
    used = volume_use(client, mounting)
    if used is None:
        yield Finding("no running pod reports how full the volume is")
        return
    fix = ""
    if used > volume.size_gb * FULL_ENOUGH:
        fix = "delete old folders of hf_cache on it, or enlarge it in the provider's console"
    yield Finding(f"podkit's folders hold {used:.1f} of its {volume.size_gb} GB", fix)


def volume_use(client: RunpodClient, pods: Sequence[Pod]) -> float | None:
    """GiB that podkit's folders hold of a volume, by the logs of the pods that mount it; None: none
    of them says."""
    told: queue.SimpleQueue[float | None] = queue.SimpleQueue()

    def read(pod: Pod) -> None:
        with suppress(ApiError):
            for line in client.pod_log(pod.id, "container", LOG_LINES, brief=True):
                event = parse_line(line.text)
                if isinstance(event, VolumeUsed):
                    told.put(event.gib)
        told.put(None)  # this one has told all

    for pod in pods:
        threading.Thread(target=read, args=[pod], daemon=True).start()
    used: float | None = None
    reading = len(pods)
    with suppress(queue.Empty):
        while reading:
            said = told.get(timeout=None if used is None else LATER_LINE_SECONDS)
            if said is None:
                reading -= 1
            else:
                used = said
    return used


def _stock(settings: Settings, catalog_asked: Future[list[GpuType]]) -> Iterator[Finding]:
    """What the data center has: a volume, once made, ties its pods to it."""
    catalog = catalog_asked.result()
    in_stock = _types_in_stock(catalog, settings.data_center)
    if in_stock:
        yield Finding(f"in stock in {settings.data_center}: {', '.join(in_stock)}")
    placement = plan_placement(settings, None, catalog)
    for candidate in placement.candidates:
        yield Finding(f"{candidate} in {settings.data_center}")
    for gpu_type, why in placement.skipped:
        yield Finding(f"{gpu_type} would be skipped: {why}")
    if not placement.candidates:
        yield Finding("no GPU type is left to try", placement.hint)
    elif all(candidate.stock == "NONE" for candidate in placement.candidates):
        yield Finding(
            "none of these GPU types is in stock now",
            "name another with --gpu or PODKIT_GPUS, or try later",
        )


def slow_volume(boots: Sequence[Boot]) -> Iterator[Finding]:
    """Whether another source gave models faster than boots load them from the network volume."""
    from_volume = _latest_median(
        [boot.load_mb_per_s for boot in boots if boot.source == "volume" and boot.load_mb_per_s]
    )
    for source in ("s3", "hf"):
        fetched = _latest_median([boot.fetch_mb_per_s for boot in boots if boot.source == source])
        if from_volume and fetched > from_volume * FASTER:
            what = f"models load from the network volume at {from_volume:.0f} MB/s"
            yield Finding(
                f"{what}, and {source} gave them at {fetched:.0f} MB/s",
                "a volume in another data center may be faster: ./podkit.sh volume create --help",
            )


def _latest_median(rates: Sequence[float]) -> float:
    return median(rates[-LATEST:]) if rates else 0.0


def _types_in_stock(catalog: Sequence[GpuType], data_center: str) -> list[str]:
    """`NVIDIA L40S LOW $0.86/h` for each GPU type that the data center has now, cheapest first, the
    first few."""
    there = []
    for gpu in catalog:
        if gpu.price is not None and gpu.stock.get(data_center, "NONE") != "NONE":
            there.append(gpu)
    there.sort(key=lambda gpu: (gpu.price, gpu.id))
    told = [f"{gpu.id} {gpu.stock[data_center]} ${gpu.price:.2f}/h" for gpu in there[:TYPES_SHOWN]]
    more = len(there) - TYPES_SHOWN
    if more > 0:
        told.append(f"and {more} more (./podkit.sh gpus)")
    return told


def pods_to_end(pods: Sequence[Pod], now: datetime) -> Iterator[Finding]:
    """Pods past their end time, and stopped or broken ones whose disk may still cost."""
    for pod in pods:
        name = f"pod {pod.label}"
        stop = stop_command(pod.id)
        if pod.live and pod.ends_at and pod.ends_at < now:
            yield Finding(f"{name} is past its end time and still billed", stop)
        elif not pod.live and pod.status != "TERMINATED":
            yield Finding(f"{name} is {pod.status}; its disk may still cost", f"{stop} --terminate")
    running = [pod for pod in pods if pod.live]
    rate = sum(pod.cost_per_hour for pod in running)
    yield Finding(f"pods running: {len(running)}, ${rate:.2f}/h in all")
