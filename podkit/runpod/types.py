"""What podkit wants (PodSpec) and what the provider shows (Pod, GpuType, NetworkVolume).

Pure data: nothing here talks to anyone. `from_api` ignores keys it does not know, so that the
provider may add some, and raises an error where a key it needs is missing. Environment values of a
pod never appear in a repr.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

from podkit.errors import BadAnswer
from podkit.secret import Secret

LIVE = frozenset({"PROVISIONING", "STARTING", "RUNNING"})
NAME_PREFIX = "podkit-"
API_PORT = 8000
WEBUI_PORT = 3000
VOLUME_PATH = "/workspace"
IMAGE = "runpod/pytorch:1.1.0-cu1300-torch291-ubuntu2404"
"""In use on the service in September 2026; carries uv, Python 3.12 and a compiler. A tag, never
`latest`.
"""
MIN_CUDA = "13.0"
"""vLLM's wheels from 0.20 on are built for CUDA 13 (driver 580)."""
DISK_GB = 40
"""Container disk: vLLM's environment is 9 GB and Open WebUI's 1.3 GB (measured 2026-11-20), caches
beside them.
"""
VOLUME_PRICE_PER_GB_MONTH = 0.07
"""USD per GB and month of a network volume (provider's price list, November 2026)."""


@dataclass(frozen=True)
class PodSpec:
    """What varies between the pods that are asked for; `command` is the text that bash runs."""

    name: str
    gpu_type: str
    data_center: str
    volume_id: str
    command: str
    env: Mapping[str, str | Secret] = field(repr=False)


def create_body(spec: PodSpec, *, redacted: bool = False) -> dict[str, Any]:
    """The body of POST /v2/pods for `spec`; with `redacted`, secrets read `***`.

    `gpu.count` is always sent: without it the service answers the no-capacity 400 (seen live,
    2026-09).
    """

    def plain(value: str | Secret) -> str:
        return str(value) if redacted or isinstance(value, str) else value.reveal()

    return {
        "name": spec.name,
        "image": IMAGE,
        "cloud": "SECURE",
        "dataCenterIds": [spec.data_center],
        "gpu": {"id": spec.gpu_type, "count": 1, "minCudaVersion": MIN_CUDA},
        "disk": DISK_GB,
        "ports": [f"{API_PORT}/http", f"{WEBUI_PORT}/http"],
        "mounts": {"network": [{"volumeId": spec.volume_id, "path": VOLUME_PATH}]},
        "entrypoint": ["/bin/bash", "-c"],
        "cmd": [spec.command],
        "env": {name: plain(value) for name, value in spec.env.items()},
    }


@dataclass(frozen=True)
class Pod:
    """A pod as the API shows it.

    `cost_per_hour` is USD now, 0.0 when EXITED. `uptime` is seconds since the container started,
    None while it has not (the API's `runtime` is null). `public_ports` maps a private port to its
    public one.
    """

    id: str
    name: str
    status: str
    gpu_type: str
    data_center: str
    cost_per_hour: float
    created_at: datetime | None
    uptime: int | None
    volume_id: str
    persistent_disk: bool
    public_ports: Mapping[int, int]
    env: Mapping[str, str] = field(repr=False)

    @property
    def label(self) -> str:
        """How a message names it: its id, and its name if it has one."""
        if not self.name:
            return self.id
        return f"{self.id} ({self.name})"

    @property
    def live(self) -> bool:
        return self.status in LIVE

    @property
    def ours(self) -> bool:
        return self.name.startswith(NAME_PREFIX)

    @property
    def ends_at(self) -> datetime | None:
        return parse_time(self.env.get("PODKIT_ENDS_AT"))

    def hours(self, now: datetime) -> float:
        """How long ago it was made, below 0 if clocks differ; 0.0 where that is not known."""
        return (now - self.created_at).total_seconds() / 3600 if self.created_at else 0.0

    def spent(self, now: datetime) -> float:
        """USD at today's rate since it was made, approximate."""
        return max(self.hours(now), 0.0) * self.cost_per_hour

    @classmethod
    def from_api(cls, data: Any) -> Pod:
        """A pod of podkit's. Raises an error for any shape but the documented one."""
        runtime = _table(data, "runtime")
        mounts = _table(data, "mounts")
        network = mounts.get("network") or [{}]
        uptime = None
        if data.get("runtime") is not None:
            uptime = runtime.get("uptime", 0)
        public_ports = {}
        for port in runtime.get("ports") or []:
            if port.get("public"):
                public_ports[int(port["private"])] = int(port["public"])
        return cls(
            id=_text(data, "id"),
            name=_text(data, "name"),
            status=str(data.get("status") or "UNKNOWN"),
            gpu_type=str(_table(data, "gpu").get("id") or "-"),
            data_center=str(data.get("dataCenterId") or "-"),
            cost_per_hour=float(data.get("cost") or 0.0),
            created_at=parse_time(data.get("createdAt")),
            uptime=uptime,
            volume_id=str(network[0].get("volumeId") or ""),
            persistent_disk=bool(mounts.get("persistent")),
            public_ports=public_ports,
            env={str(name): str(value) for name, value in _table(data, "env").items()},
        )

    @classmethod
    def from_list(cls, data: Any) -> Pod:
        """Any pod of the account. One that others made may have any shape: it is shown as far as
        it can be read, so that it never stops a command about ours."""
        try:
            return cls.from_api(data)
        except (AttributeError, BadAnswer, LookupError, TypeError, ValueError, OverflowError):
            if not isinstance(data, dict) or str(data.get("name")).startswith(NAME_PREFIX):
                raise
            return cls._foreign(data)

    @classmethod
    def _foreign(cls, data: Mapping[str, Any]) -> Pod:
        """What can be read of a pod that somebody else made; nothing but its id is needed."""
        network = _table(data, "mounts").get("network")
        volume_id = ""
        if isinstance(network, list) and network and isinstance(network[0], dict):
            volume_id = str(network[0].get("volumeId") or "")
        return cls(
            id=_text(data, "id"),
            name=str(data.get("name") or ""),
            status=str(data.get("status") or "UNKNOWN"),
            gpu_type=str(_table(data, "gpu").get("id") or "-"),
            data_center=str(data.get("dataCenterId") or "-"),
            cost_per_hour=_number(data.get("cost")),
            created_at=parse_time(data.get("createdAt")),
            uptime=None,
            volume_id=volume_id,
            persistent_disk=True,
            public_ports={},
            env={},
        )


@dataclass(frozen=True)
class GpuType:
    """A GPU type of the catalogue: `memory` is GB, `price` is USD per hour on Secure Cloud, None if
    it is not sold there.

    `stock` maps a data center to NONE, LOW, MEDIUM or HIGH; `cuda_versions` lists (version, free
    now).
    """

    id: str
    memory: int
    price: float | None
    stock: Mapping[str, str]
    cuda_versions: tuple[tuple[str, bool], ...]

    @classmethod
    def from_api(cls, data: Any) -> GpuType:
        """A GPU type of the catalogue. Raises an error for any shape but the documented one."""
        listed = _table(data, "price").get("secure")
        price = None
        if listed and data.get("secure", True):
            price = float(listed)
        stock = {}
        for center in data.get("dataCenters") or []:
            stock[str(center["id"])] = str(center.get("availability") or "NONE")
        versions = []
        for cuda in data.get("cudaVersions") or []:
            versions.append((str(cuda["version"]), bool(cuda.get("available"))))
        return cls(_text(data, "id"), int(data["memory"]), price, stock, tuple(versions))


@dataclass(frozen=True)
class NetworkVolume:
    """A network volume: `size_gb` GB, in one data center forever."""

    id: str
    name: str
    size_gb: int
    data_center: str

    @classmethod
    def from_api(cls, data: Any) -> NetworkVolume:
        """A network volume. Raises an error for any shape but the documented one."""
        return cls(
            id=_text(data, "id"),
            name=str(data.get("name") or ""),
            size_gb=int(data.get("size") or 0),
            data_center=str(data.get("dataCenter") or ""),
        )

    def __str__(self) -> str:
        price = f"about ${monthly_price(self.size_gb):.2f} a month"
        return f"{self.id}  {self.name}  {self.size_gb} GB  {self.data_center}  {price}"


@dataclass(frozen=True)
class Charge:
    """What a pod, network volume or serverless endpoint (`kind` pod, networkVolume or endpoint) was
    billed for a day of UTC; today's is not final.
    """

    day: date
    kind: str
    resource_id: str
    usd: float

    @classmethod
    def from_api(cls, data: Any) -> Charge:
        """One entry of a bill. Raises an error for any shape but the documented one."""
        kind = "networkVolume"
        if "podId" in data:
            kind = "pod"
        day = date.fromisoformat(data["startTime"][:10])
        return cls(day, kind, _text(data, f"{kind}Id"), float(data["totalAmount"]))


def monthly_price(size_gb: int) -> float:
    """USD per month for a network volume of `size_gb` GB."""
    return size_gb * VOLUME_PRICE_PER_GB_MONTH


def parse_time(text: Any) -> datetime | None:
    """The moment an RFC 3339 text names, in UTC; None for anything else."""
    try:
        moment = datetime.fromisoformat(str(text))
        return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _table(data: Any, key: str) -> dict[str, Any]:
    value = data.get(key)
    if isinstance(value, dict):
        return value
    return {}


def _text(data: Any, key: str) -> str:
    value = data.get(key)
    if isinstance(value, str) and value:
        return value
    raise BadAnswer(f"the API sent an entry without `{key}`")


def _number(value: Any) -> float:
    """A number above 0 and not beyond all reason, 0.0 for anything else."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return 0.0
    if 0 < number < 1e6:
        return number
    return 0.0
