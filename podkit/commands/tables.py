"""Tables that people read. They fit 80 columns; what does not is in `--wide` and JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from podkit.models.fit import Fit
from podkit.pods.access import access
from podkit.pods.lifetime import pod_lifetime
from podkit.pods.phases import READY
from podkit.pods.placement import Placement, short_gpu
from podkit.pods.request import ends_at
from podkit.runpod.types import GpuType, NetworkVolume, Pod, parse_time
from podkit.text import clip, fold, printable

LONGEST_NAME = 36
"""Characters of a name in a narrow table; podkit's own are shorter."""


@dataclass(frozen=True)
class Outlook:
    """What a deploy would do: the live pod that is there, or what it would try, in order."""

    there: Pod | None
    volume: NetworkVolume
    placement: Placement
    now: datetime
    idle_minutes: float


def columns(*rows: Sequence[str]) -> list[str]:
    """The rows as lines of text, in columns as wide as their widest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        lines.append("  ".join(cells).rstrip())
    return lines


def short_fit(fitting: Fit) -> str:
    """`fits x9`: nine requests of full length at once; `*` after what boots have shown."""
    mark = "*" if fitting.measured else ""
    if fitting.verdict == "no":
        return f"no{mark}"
    return f"{fitting.verdict} x{fitting.at_once}{mark}"


def pod_table(
    pods: Sequence[Pod],
    phases: Mapping[str, str],
    now: datetime,
    proxy_url: str,
    *,
    is_wide: bool,
) -> str:
    """A row a pod, below it its URLs and when it ends itself; the total rate at the foot.

    `phases` says by id how far a pod is that does not serve yet.
    """
    header = ["ID", "NAME", "STATUS", "$/H"]
    if is_wide:
        header += ["GPU", "AGE", "~$ SO FAR", "DATA CENTER", "VOLUME"]
    rows = [header]
    for pod in pods:
        name = pod.name or "-"
        row = [
            printable(pod.id),
            printable(name) if is_wide else clip(name, LONGEST_NAME),
            phases.get(pod.id) or pod.status,
            f"{pod.cost_per_hour:.2f}" if pod.cost_per_hour else "-",
        ]
        if is_wide:
            spent = pod.spent(now)
            row += [printable(pod.gpu_type), _age(pod, now), f"{spent:.2f}" if spent else "-"]
            row += [pod.data_center, pod.volume_id or "-"]
        rows.append(row)
    first, *lines = columns(*rows)
    told = [first]
    for line, pod in zip(lines, pods, strict=True):
        told.append(line)
        told += _below(pod, now, proxy_url, phases)
    total = sum(pod.cost_per_hour for pod in pods)
    if total:
        told.append(f"total: ${total:.2f}/h")
    return "\n".join(told)


def _below(pod: Pod, now: datetime, proxy_url: str, phases: Mapping[str, str]) -> list[str]:
    """What stands below a pod's row."""
    gpu = f"{printable(short_gpu(pod.gpu_type))} in {printable(pod.data_center)}"
    if not pod.ours:
        return [f"    not podkit's, {gpu}"]
    if not pod.live:
        return []
    lines = []
    where = access(pod, proxy_url)
    workspace = printable(pod.env.get("PODKIT_WORKSPACE", ""))
    if workspace:
        lines.append(f"    reads {workspace}: ./podkit.sh ocr status --workspace {workspace}")
    elif where.api_url:
        lines += [f"    api    {where.api_url}", f"    webui  {where.webui_url}"]
    if phases.get(pod.id, READY) != READY and not workspace:
        lines.append(f"    not ready yet: ./podkit.sh wait {pod.id}")
    spent = pod.spent(now)
    money = f", about ${spent:.2f} so far" if spent >= 0.005 else ""
    lines.append(f"    {gpu}, {_age(pod, now)} old{money}")
    return [*lines, f"    {pod_lifetime(pod, now)}"]


def _age(pod: Pod, now: datetime) -> str:
    hours = pod.hours(now)
    return f"{hours * 60:.0f} min" if hours < 2 else f"{hours:.1f} h"


def plan_table(outlook: Outlook, *, is_wide: bool) -> str:
    """A row a candidate in its place; then what is skipped, the volume, and a pod that is there."""
    rows = [["", "GPU", "$/H", "STOCK", "FIT", "ENDS", "AT MOST"]]
    if is_wide:
        rows[0] += ["MEMORY", "WHY HERE"]
    for place, one in enumerate(outlook.placement.candidates, 1):
        end = parse_time(ends_at(outlook.now, one.hours))
        most = f"${one.most:.2f}" if one.most else "no limit"
        row = [
            str(place),
            one.gpu_type if is_wide else short_gpu(one.gpu_type),
            f"{one.price:.2f}" if one.price else "?",
            one.stock or "?",
            _fit_of(one.fit, says_tokens=is_wide, is_wide=is_wide),
            f"{end.astimezone():%H:%M} ({_hours(one.hours)})" if end else "never",
            most if one.price else "?",
        ]
        if is_wide:
            row += [f"{one.memory_gb or '?'} GB", one.reason]
        rows.append(row)
    lines = columns(*rows)
    for gpu_type, why in outlook.placement.skipped:
        lines.append(fold(f"skipped {short_gpu(gpu_type)}: {why}"))
    if any(one.most for one in outlook.placement.candidates):
        lines.append("AT MOST: $/H, with 1 % and 1 cent of tolerance, until the pod ends itself")
    idle = f"each ends itself after {outlook.idle_minutes:g} idle minutes"
    lines.append(idle if outlook.idle_minutes else "none ends itself when idle")
    lines.append(f"network volume {outlook.volume}")
    there = outlook.there
    if there:
        what = f"pod {there.label} is there, ${there.cost_per_hour:.2f}/h"
        lines.append(fold(f"{what}: only --new makes another"))
        lines.append(fold(f"it {pod_lifetime(there, outlook.now)}"))
    return "\n".join(lines)


def _hours(hours: float) -> str:
    return f"{hours:.1f} h" if hours < 10 else f"{hours:.0f} h"


def _fit_of(fitting: Fit | None, *, says_tokens: bool, is_wide: bool) -> str:
    if fitting is None:
        return "?"
    if says_tokens and not is_wide and fitting.measured:
        return f"{replace(fitting, measured='')}*"
    return str(fitting) if says_tokens else short_fit(fitting)


def gpu_table(
    gpus: Sequence[GpuType],
    fits: Sequence[Mapping[str, Fit]],
    data_center: str,
    *,
    is_wide: bool,
) -> list[str]:
    """A line a GPU type, with how each model fits it, and its stock in one data center, or in each
    if that is empty.
    """
    header = ["GPU", "MEMORY", "$/H", *_fit_headers(fits[0], is_wide=is_wide), "STOCK"]
    rows = [[*header, "CUDA"] if is_wide else header]
    for gpu, fitting in zip(gpus, fits, strict=True):
        says_tokens = is_wide or (len(fitting) == 1 and bool(data_center))
        stock = gpu.stock.get(data_center, "NONE")
        if not data_center:
            stock = _stock_everywhere(gpu, is_wide=is_wide)
        row = [
            gpu.id if is_wide else short_gpu(gpu.id),
            f"{gpu.memory} GB",
            f"{gpu.price:.2f}" if gpu.price else "-",
        ]
        for one in fitting.values():
            row.append(_fit_of(one, says_tokens=says_tokens, is_wide=is_wide))
        row.append(stock)
        if is_wide:
            free = [version for version, is_free in gpu.cuda_versions if is_free]
            row.append(", ".join(free) or "-")
        rows.append(row)
    return columns(*rows)


def _fit_headers(models: Iterable[str], *, is_wide: bool) -> list[str]:
    names = list(models)
    return names if is_wide or len(names) != 1 else ["FIT"]


def _stock_everywhere(gpu: GpuType, *, is_wide: bool) -> str:
    """Where a GPU type is in stock; narrow: one data center, and in how many more."""
    there = [place for place, level in sorted(gpu.stock.items()) if level != "NONE"]
    if not there:
        return "NONE"
    if is_wide or len(there) == 1:
        return ", ".join(f"{place} {gpu.stock[place]}" for place in there)
    return f"{there[0]}, +{len(there) - 1}"
