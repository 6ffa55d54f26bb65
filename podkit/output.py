"""What people and programs read: tables, the JSON envelope, durations. Never a secret, but where `env` asks for it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from podkit.models import Pod
    from podkit.readiness import Access

SCHEMA = 1
"""Version of every JSON object that podkit prints; it changes when a field is renamed or removed."""


def envelope(command: str, **fields: Any) -> str:
    """The result object of a command that succeeded, as one line of JSON."""
    return json.dumps({"schema": SCHEMA, "ok": True, "command": command, **fields})


def failure(code: str, message: str, hint: str) -> str:
    """The result object of a command that failed."""
    return json.dumps({"schema": SCHEMA, "ok": False, "error": {"code": code, "message": message, "hint": hint}})


def pod_json(pod: Pod) -> dict[str, Any]:
    """A pod for programs: times in RFC 3339, cost in USD per hour, null for what is not known. No env values."""
    return {
        **{name: getattr(pod, name) for name in ("id", "name", "status", "data_center", "cost_per_hour")},
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


def pod_table(pods: Sequence[Pod], now: datetime, proxy_url: str) -> str:
    """The table of `list`: one row a pod, its URLs below it, the total rate at the foot."""
    from podkit.readiness import access  # brings requests along, which --help need not wait for

    header = ("ID", "NAME", "STATUS", "GPU", "DATA CENTER", "$/H", "AGE", "~$ SO FAR", "ENDS AT (UTC)")
    lines = []
    for row, pod in zip(columns(header, *(_row(pod, now) for pod in pods)), (None, *pods), strict=True):
        lines.append(row)
        if pod and pod.ours and pod.live and (where := access(pod, proxy_url)).api_url:
            lines += [f"    api    {where.api_url}", f"    webui  {where.webui_url}"]
    total = sum(pod.cost_per_hour for pod in pods)
    return "\n".join([*lines, f"total: ${total:.2f}/h  (~$ so far is age x rate, approximate)"])


def columns(*rows: Sequence[str]) -> list[str]:
    """The rows as lines of text, in columns as wide as their widest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def _row(pod: Pod, now: datetime) -> tuple[str, ...]:
    hours = (now - pod.created_at).total_seconds() / 3600 if pod.created_at else 0.0
    waiting = pod.live and pod.uptime is None
    return (
        pod.id,
        pod.name if pod.ours else f"{pod.name} (not podkit's)",
        f"{pod.status} (not ready)" if waiting else pod.status,
        pod.gpu_type,
        pod.data_center,
        f"{pod.cost_per_hour:.2f}",
        f"{hours * 60:.0f} min" if hours < 2 else f"{hours:.1f} h",
        f"{max(hours, 0.0) * pod.cost_per_hour:.2f}",
        f"{pod.ends_at:%Y-%m-%d %H:%M}" if pod.ends_at else "-",
    )


def _moment(moment: datetime | None) -> str | None:
    return moment.isoformat().replace("+00:00", "Z") if moment else None
