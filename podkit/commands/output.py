"""What people and programs read: tables, the JSON envelope, durations. Never a secret, but where `env` asks for it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

from podkit.errors import PodkitError
from podkit.models.fit import Needs, fit

if TYPE_CHECKING:
    from podkit.pods.access import Access
    from podkit.pods.placement import Candidate, Placement
    from podkit.runpod.types import GpuType, NetworkVolume, Pod

SCHEMA = 1
"""Version of every JSON object that podkit prints; it changes when a field is renamed or removed."""


def envelope(command: str, **fields: Any) -> str:
    """The result object of a command that succeeded, as one line of JSON."""
    return json.dumps({"schema": SCHEMA, "ok": True, "command": command, **fields})


def event(name: str, **fields: Any) -> str:
    """What happens while a command is at work, as one line of JSON."""
    return json.dumps({"schema": SCHEMA, "event": name, **fields})


def failure(error: PodkitError) -> str:
    """The result object of a command that failed, with what it has to show all the same."""
    told = {"code": error.code, "message": error.message, "hint": error.hint}
    return json.dumps({"schema": SCHEMA, "ok": False, "error": told, **error.fields})


def pod_json(pod: Pod) -> dict[str, Any]:
    """A pod for programs: times in RFC 3339, cost in USD per hour, null for what is not known. No env values."""
    return {
        **{
            name: getattr(pod, name)
            for name in ("id", "name", "status", "data_center", "cost_per_hour")
        },
        "ready_container": pod.uptime is not None,
        "gpu": pod.gpu_type,
        "created_at": _moment(pod.created_at),
        "ends_at": _moment(pod.ends_at),
        "network_volume": pod.volume_id or None,
        "podkit": pod.ours,
    }


def served_json(pod: Pod, where: Access) -> dict[str, Any]:
    """The fields that `deploy` and `wait` end with."""
    return {
        "pod": pod_json(pod),
        "api_url": where.api_url or None,
        "webui_url": where.webui_url or None,
        "model": where.model,
        "ends_at": _moment(pod.ends_at),
    }


def plan_table(
    there: Pod | None, volume: NetworkVolume, placement: Placement, now: datetime
) -> str:
    """The table of `deploy --plan`: a row a candidate in its place, then what is skipped, the volume, a live pod."""
    from podkit.pods.request import ends_at

    rows = [("", "GPU", "MEMORY", "PRICE", "STOCK", "FIT", "ENDS AT (UTC)", "AT MOST", "WHY HERE")]
    for place, one in enumerate(placement.candidates, 1):
        known = (f"{one.memory_gb or '?'} GB", one.quote, one.stock or "?", str(one.fit or "?"))
        end = ends_at(now, one.hours)[:16].replace("T", " ") or "never"
        most = f"${one.most:.2f}" if one.most else "no limit" if one.price else "?"
        rows.append((str(place), one.gpu_type, *known, end, most, one.reason))
    lines = [
        *columns(*rows),
        *(f"skipped {gpu_type}: {why}" for gpu_type, why in placement.skipped),
    ]
    lines.append(f"network volume {volume}")
    if there:
        lines.append(
            f"pod {there.id} ({there.name}) is there, ${there.cost_per_hour:.2f}/h: only --new makes another"
        )
    return "\n".join(lines)


def plan_json(
    there: Pod | None, volume: NetworkVolume, placement: Placement, now: datetime
) -> dict[str, Any]:
    """plan_table() for programs: the fields of a Candidate, null for what is not known and for an end that is never."""
    from podkit.pods.request import ends_at
    from podkit.runpod.types import monthly_price

    def made(one: Candidate) -> dict[str, Any]:
        return asdict(one) | {"cost_at_most": one.most, "ends_at": ends_at(now, one.hours) or None}

    return {
        "candidates": [made(one) for one in placement.candidates],
        "skipped": [{"gpu_type": gpu_type, "reason": why} for gpu_type, why in placement.skipped],
        "network_volume": asdict(volume)
        | {"price_per_month": round(monthly_price(volume.size_gb), 2)},
        "pod": pod_json(there) if there else None,
    }


def pod_table(pods: Sequence[Pod], now: datetime, proxy_url: str, phases: Mapping[str, str]) -> str:
    """The table of `list`: one row a pod, below it its URLs and limits, the total rate at the foot.

    `phases` has what the pods are at, by id, as phases_of() gives it.
    """
    header = ("ID", "NAME", "STATUS", "GPU", "DATA CENTER", "$/H", "AGE", "~$ SO FAR")
    heading, *rows = columns(header, *(_row(pod, now, phases) for pod in pods))
    lines = [heading]
    for row, pod in zip(rows, pods, strict=True):
        lines.append(row)
        lines += _below(pod, now, proxy_url, phases)
    total = sum(pod.cost_per_hour for pod in pods)
    return "\n".join([*lines, f"total: ${total:.2f}/h  (~$ so far is age x rate, approximate)"])


def _below(pod: Pod, now: datetime, proxy_url: str, phases: Mapping[str, str]) -> Iterator[str]:
    from podkit.pods.access import access
    from podkit.pods.lifetime import pod_lifetime
    from podkit.pods.phases import READY

    if not (pod.ours and pod.live):
        return
    where = access(pod, proxy_url)
    if where.api_url:
        yield f"    api    {where.api_url}"
        yield f"    webui  {where.webui_url}"
    if phases.get(pod.id) not in (None, READY):
        yield f"    not ready yet: ./podkit.sh wait {pod.id}"
    yield f"    {pod_lifetime(pod, now)}"


def gpu_json(gpu: GpuType, needs: Mapping[str, Needs]) -> dict[str, Any]:
    """A GPU type for programs: memory in GB, price in USD per hour (null: not known), stock by data center, each CUDA
    version with whether a host is free, and by model the fields of a Fit."""
    return {
        **asdict(gpu),
        "fit": {name: asdict(fit(need, gpu.memory)) for name, need in needs.items()},
    }


def gpu_table(gpus: Sequence[GpuType], needs: Mapping[str, Needs], data_center: str) -> list[str]:
    """The lines of `gpus` and `fit`: one a GPU type, with its stock in one data center, or in each if that is empty."""
    rows = [("GPU", "MEMORY", "$/H", "CUDA", *needs, "STOCK")]
    for gpu in gpus:
        price = f"{gpu.price:.2f}" if gpu.price else "-"
        cuda = ", ".join(version for version, free in gpu.cuda_versions if free) or "-"
        fits = (str(fit(need, gpu.memory)) for need in needs.values())
        stock = (
            ", ".join(f"{place} {level}" for place, level in sorted(gpu.stock.items())) or "NONE"
        )
        rows.append(
            (
                gpu.id,
                f"{gpu.memory} GB",
                price,
                cuda,
                *fits,
                gpu.stock[data_center] if data_center else stock,
            )
        )
    return columns(*rows)


def columns(*rows: Sequence[str]) -> list[str]:
    """The rows as lines of text, in columns as wide as their widest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def _row(pod: Pod, now: datetime, phases: Mapping[str, str]) -> tuple[str, ...]:
    hours = pod.hours(now)
    return (
        pod.id,
        pod.name if pod.ours else f"{pod.name} (not podkit's)",
        phases.get(pod.id, pod.status),
        pod.gpu_type,
        pod.data_center,
        f"{pod.cost_per_hour:.2f}",
        f"{hours * 60:.0f} min" if hours < 2 else f"{hours:.1f} h",
        f"{pod.spent(now):.2f}" if pod.live else "-",
    )


def _moment(moment: datetime | None) -> str | None:
    return moment.isoformat().replace("+00:00", "Z") if moment else None
