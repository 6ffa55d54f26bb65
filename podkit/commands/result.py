"""What a command hands back, and the one place that prints it: as text for people, as one JSON
object for programs. Never a secret, but where `env` asks for it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from podkit.errors import PodkitError

if TYPE_CHECKING:
    from podkit.runpod.types import Pod

SCHEMA = 1
"""Version of every JSON object that is printed; it changes when a field is renamed or removed."""


class Result(Protocol):
    """The result of a command."""

    def fields(self) -> Mapping[str, Any]:
        """What programs get, beside `schema`, `ok` and `command`."""

    def text(self) -> str:
        """What people get on stdout; empty for nothing."""


@dataclass(frozen=True)
class Plain:
    """A result that needs no class of its own."""

    shown: str
    told: Mapping[str, Any]

    def fields(self) -> Mapping[str, Any]:
        return self.told

    def text(self) -> str:
        return self.shown


def envelope(command: str, result: Result) -> str:
    """The result object of a command that succeeded, as one line of JSON."""
    return json.dumps({"schema": SCHEMA, "ok": True, "command": command, **result.fields()})


def event(name: str, /, **fields: Any) -> str:
    """What happens while a command is at work, as one line of JSON."""
    return json.dumps({"schema": SCHEMA, "event": name, **fields})


def failure(error: PodkitError) -> str:
    """The result object of a command that failed, with what it has to show all the same."""
    told = {"code": error.code, "message": error.message, "hint": error.hint}
    return json.dumps({"schema": SCHEMA, "ok": False, "error": told, **error.fields})


def pod_fields(pod: Pod) -> dict[str, Any]:
    """A pod for programs: times in RFC 3339, cost in USD per hour, null for what is not known.

    No values of its environment.
    """
    return {
        "id": pod.id,
        "name": pod.name,
        "status": pod.status,
        "data_center": pod.data_center,
        "cost_per_hour": pod.cost_per_hour,
        "ready_container": pod.uptime is not None,
        "gpu": pod.gpu_type,
        "created_at": moment(pod.created_at),
        "ends_at": moment(pod.ends_at),
        "network_volume": pod.volume_id or None,
        "podkit": pod.ours,
    }


def moment(at: datetime | None) -> str | None:
    """RFC 3339 in UTC, null for what is not known."""
    return at.isoformat().replace("+00:00", "Z") if at else None
