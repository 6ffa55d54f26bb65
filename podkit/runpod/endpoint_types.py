"""What the provider shows of serverless endpoints: pure data, nothing here talks to anyone.

Endpoints of an account may be anybody's, so all but an id may be missing. Environment values, which
the API shows in clear in settings and in releases, never appear in a repr.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from podkit.runpod.types import parse_time


@dataclass(frozen=True)
class Endpoint:
    """A serverless endpoint. `max_workers` counts against the account's quota, used or not.

    `urls` are the addresses of the job API by name (run, status, ...), with `{job_id}` to fill in.
    `settings` is the whole answer, as far as it is settings: what a PATCH may change.
    """

    id: str
    name: str
    min_workers: int
    max_workers: int
    created_at: datetime | None
    urls: Mapping[str, str]
    settings: Mapping[str, Any] = field(repr=False)

    @classmethod
    def from_api(cls, data: Any) -> Endpoint:
        """An endpoint of the account. Raises an error for one without an id."""
        workers = data.get("workers") or {}
        settings = dict(data)
        for shown in ("id", "createdAt", "requestUrls"):
            settings.pop(shown, None)
        return cls(
            id=str(data["id"]),
            name=str(data.get("name") or ""),
            min_workers=int(workers.get("min") or 0),
            max_workers=int(workers.get("max") or 0),
            created_at=parse_time(data.get("createdAt")),
            urls={str(name): str(url) for name, url in (data.get("requestUrls") or {}).items()},
            settings=settings,
        )


@dataclass(frozen=True)
class Worker:
    """A worker of an endpoint; its id is also that of its pod.

    `status` is RUNNING (has a job), IDLE, INITIALIZING, THROTTLED (waits for a host) or UNHEALTHY
    (crashes again and again). A `stale` one runs an older release. `uptime` is seconds, None before
    it runs.
    """

    id: str
    status: str
    stale: bool
    version: int | None
    gpu_type: str
    data_center: str
    uptime: int | None

    @classmethod
    def from_api(cls, data: Any) -> Worker:
        """A worker of the list. Raises an error for one without an id."""
        return cls(
            id=str(data["id"]),
            status=str(data.get("status") or "UNKNOWN"),
            stale=bool(data.get("isStale")),
            version=data.get("version"),
            gpu_type=str(data.get("gpuTypeId") or "-"),
            data_center=str(data.get("dataCenterId") or "-"),
            uptime=data.get("uptimeSeconds"),
        )


@dataclass(frozen=True)
class ReleasedChange:
    """One field that a release changed, by the provider's old internal name (`template.imageName`).

    Both values are as the API shows them: those of `template.env` hold secrets.
    """

    name: str
    old: Any = field(repr=False)
    new: Any = field(repr=False)


@dataclass(frozen=True)
class Release:
    """One version of an endpoint's container settings; `source` is MANUAL or GIT_BUILD."""

    id: str
    version: int | None
    source: str
    created_at: datetime | None
    changes: tuple[ReleasedChange, ...]

    @classmethod
    def from_api(cls, data: Any) -> Release:
        """A release of the list. Raises an error for one without an id."""
        changes = []
        for entry in data.get("diff") or []:
            change = ReleasedChange(str(entry["field"]), entry.get("old"), entry.get("new"))
            changes.append(change)
        return cls(
            id=str(data["id"]),
            version=data.get("version"),
            source=str(data.get("source") or "UNKNOWN"),
            created_at=parse_time(data.get("createdAt")),
            changes=tuple(changes),
        )


@dataclass(frozen=True)
class Rollout:
    """How far the newest release has come. It is done when it is no longer `in_progress`: an
    endpoint without workers is done at 0 of 0.
    """

    version: int | None
    in_progress: bool
    workers_on_latest: int
    workers: int

    @classmethod
    def from_api(cls, data: Any) -> Rollout:
        """The summary in the list of releases. Raises an error if there is none."""
        summary = data["rollout"]
        return cls(
            version=data.get("endpointVersion"),
            in_progress=bool(summary["inProgress"]),
            workers_on_latest=int(summary.get("workersOnLatest") or 0),
            workers=int(summary.get("workersTotal") or 0),
        )


@dataclass(frozen=True)
class WorkerGpu:
    """A GPU type that workers may run on.

    `pool` is what an endpoint asks for, empty if the type is in none; `price` is USD per hour of a
    worker, None if not sold; `memory` is GB; `stock` maps a data center to NONE, LOW, MEDIUM, HIGH.
    """

    id: str
    pool: str
    memory: int
    price: float | None
    stock: Mapping[str, str]

    @classmethod
    def from_api(cls, data: Any) -> WorkerGpu:
        """A GPU type of the catalogue. Raises an error for one without an id."""
        price = (data.get("price") or {}).get("serverless")
        stock = {}
        for center in data.get("dataCenters") or []:
            stock[str(center["id"])] = str(center.get("availability") or "NONE")
        return cls(
            id=str(data["id"]),
            pool=str(data.get("pool") or ""),
            memory=int(data.get("memory") or 0),
            price=float(price) if price else None,
            stock=stock,
        )


@dataclass(frozen=True)
class WorkerCpu:
    """A CPU flavor that workers may run on; `price` is USD per vCPU and hour, None if not sold."""

    id: str
    most_vcpu: int
    price: float | None

    @classmethod
    def from_api(cls, data: Any) -> WorkerCpu:
        """A flavor of the catalogue. Raises an error for one without an id."""
        price = (data.get("price") or {}).get("serverlessPerVcpu")
        return cls(
            id=str(data["id"]),
            most_vcpu=int((data.get("vcpu") or {}).get("max") or 0),
            price=float(price) if price else None,
        )


@dataclass(frozen=True)
class EndpointCharge:
    """What an endpoint was billed for a day of UTC, in USD; today's is not final."""

    day: date
    endpoint_id: str
    usd: float

    @classmethod
    def from_api(cls, data: Any) -> EndpointCharge:
        """One entry of a bill. Raises an error for any shape but the documented one."""
        day = date.fromisoformat(data["startTime"][:10])
        return cls(day, str(data["serverlessId"]), float(data["totalAmount"]))
