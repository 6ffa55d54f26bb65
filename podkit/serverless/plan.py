"""What an endpoint is to be, how that differs from what it is, and what the difference does. Pure.

Values of `env` are compared, and never shown: the API gives them in clear, secrets too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from podkit.runpod.endpoint_types import WorkerGpu
from podkit.secret import Secret
from podkit.serverless.config import Service, expand_env
from podkit.serverless.pools import gpu_selection

SERVICE_VARIABLE = "PODKIT_SERVICE"
"""Holds the block's name: an endpoint without it was not made by podkit."""
CREATE_VARIABLE = "PODKIT_DEPLOY"
"""Holds a text of its own for every create, by which an unclear one is recognised. It stays as it
is for the endpoint's life: a change would be a release."""
AT_ONCE = "at once"
NEW_RELEASE = "new release, workers replaced"
NEW_ENDPOINT = "needs a new endpoint"
REACHING_AT_ONCE = ("name", "workers", "scaling", "timeout")
"""What the autoscaler obeys without a release (REST v2 document of 2026-08-20)."""
IMMUTABLE = ("type", "compute")
EMPTY: dict[str, Any] = {
    "dataCenterIds": [],
    "networkVolumes": [],
    "cmd": [],
    "registry": None,
}
"""What a PATCH sends to clear a field that the config does not have."""
DEFAULT_MAX_WORKERS = 3
DEFAULT_IDLE_SECONDS = 10


@dataclass(frozen=True)
class Change:
    """One field that differs, by its name in the API; `old` and `new` are None where it is absent.

    `effect` is AT_ONCE, NEW_RELEASE or NEW_ENDPOINT. Of a variable both read `***`.
    """

    field: str
    old: Any
    new: Any
    effect: str


@dataclass(frozen=True)
class Plan:
    """The difference between an endpoint and its config, and the PATCH that ends it.

    `body` is empty if there is nothing to do, or if a change needs a new endpoint.
    """

    changes: tuple[Change, ...]
    body: Mapping[str, Any] = field(repr=False)

    @property
    def replaces_workers(self) -> bool:
        """Whether running workers give way to new ones."""
        return any(change.effect == NEW_RELEASE for change in self.changes)

    @property
    def needs_new_endpoint(self) -> bool:
        """Whether the service refuses the change for this endpoint's whole life."""
        return any(change.effect == NEW_ENDPOINT for change in self.changes)


def desired_settings(
    service: Service,
    environment: Mapping[str, str],
    catalogue: Sequence[WorkerGpu],
) -> dict[str, Any]:
    """The settings that the service wants, in the API's form; filled-in variables are Secrets.

    `timeout` and `flashboot` are always among them: the service's own defaults are not those of its
    document (0 instead of 300000, seen in autumn 2026), or slow. Raises UsageError for a variable
    that is missing, or for GPU types that cannot be had.
    """
    wanted: dict[str, Any] = {
        "name": service.endpoint_name,
        "type": "QUEUE",
        "image": service.image,
        "workers": {"min": service.min_workers, "max": service.max_workers},
        "timeout": round(service.execution_timeout * 1000),
        "flashboot": _flashboot(service.flashboot),
        "disk": service.disk_gb,
        "env": {
            **expand_env(service.block, service.env, environment),
            SERVICE_VARIABLE: service.block,
        },
    }
    if service.idle_timeout is not None:
        wanted["workers"]["idleTimeout"] = service.idle_timeout
    if service.requests_per_worker is None:
        wanted["scaling"] = {"type": "QUEUE_DELAY", "queueDelay": service.queue_delay}
    else:
        wanted["scaling"] = {"type": "REQUEST_COUNT", "requestCount": service.requests_per_worker}
    if service.cpu:
        wanted["cpu"] = [{"id": cpu.flavor, "vcpuCount": cpu.vcpu} for cpu in service.cpu]
    else:
        wanted["gpu"] = gpu_selection(service, catalogue)
    optional = {
        "dataCenterIds": list(service.data_centers),
        "networkVolumes": list(service.network_volumes),
        "cmd": list(service.command),
        "registry": service.registry,
    }
    return wanted | {name: value for name, value in optional.items() if value}


def create_body(desired: Mapping[str, Any], nonce: str) -> dict[str, Any]:
    """The settings of an endpoint that is new: `nonce` recognises it after an unclear answer."""
    return {**desired, "env": {**desired["env"], CREATE_VARIABLE: nonce}}


def request_body(settings: Mapping[str, Any], *, redacted: bool = False) -> dict[str, Any]:
    """The settings as they are sent; with `redacted`, as they are shown: secrets read `***`."""
    body = dict(settings)
    if "env" in body:
        body["env"] = {name: _plain(value, redacted) for name, value in body["env"].items()}
    return body


def plan_change(desired: Mapping[str, Any], actual: Mapping[str, Any]) -> Plan:
    """What differs between the desired settings and those that the API shows, and the PATCH.

    The PATCH holds only fields that differ, each whole, as the API replaces them whole.
    """
    new = normal_form(desired)
    old = normal_form(actual)
    changes = []
    for name in sorted({*old, *new}):
        if old.get(name) != new.get(name):
            changes.append(_change(name, old.get(name), new.get(name)))
    plan = Plan(tuple(changes), {})
    if plan.needs_new_endpoint:
        return plan
    body: dict[str, Any] = {}
    for name in dict.fromkeys(change.field.partition(".")[0] for change in changes):
        body[name] = desired.get(name, EMPTY.get(name))
    if "env" in body:
        kept = {CREATE_VARIABLE: (actual.get("env") or {}).get(CREATE_VARIABLE)}
        body["env"] = {**desired["env"], **{name: value for name, value in kept.items() if value}}
    if "gpu" in body:
        body["gpu"] = _changed_gpu(desired["gpu"], actual["gpu"])
    return Plan(tuple(changes), body)


def normal_form(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a request or an answer, made comparable: flat, what is unordered sorted, and what
    is absent as the service understands it. Values of `env` are in clear."""
    scaling = settings.get("scaling") or {}
    workers = settings.get("workers") or {}
    idle = workers.get("idleTimeout") or DEFAULT_IDLE_SECONDS
    if scaling.get("type") == "REQUEST_COUNT":
        idle = None
    form = {
        "name": settings.get("name"),
        "type": settings.get("type") or "QUEUE",
        "image": settings.get("image"),
        "workers.min": workers.get("min", 0),
        "workers.max": workers.get("max", DEFAULT_MAX_WORKERS),
        "workers.idleTimeout": idle,
        "scaling": dict(scaling),
        "timeout": settings.get("timeout") or 0,
        "flashboot": settings.get("flashboot") or "OFF",
        "dataCenterIds": sorted(settings.get("dataCenterIds") or []),
        "networkVolumes": sorted(settings.get("networkVolumes") or []),
        "disk": settings.get("disk"),
        "cmd": list(settings.get("cmd") or []),
        "registry": settings.get("registry") or None,
        **_normal_compute(settings),
    }
    for name, value in (settings.get("env") or {}).items():
        if name != CREATE_VARIABLE:
            form[f"env.{name}"] = _plain(value, redacted=False)
    return form


def _normal_compute(settings: Mapping[str, Any]) -> dict[str, Any]:
    if settings.get("cpu"):
        pairs = [f"{cpu['id']} x {cpu['vcpuCount']}" for cpu in settings["cpu"]]
        return {"compute": "CPU", "cpu": sorted(pairs)}
    gpu = settings.get("gpu") or {}
    return {
        "compute": "GPU",
        "gpu.pools": sorted(gpu.get("pools") or []),
        "gpu.excludedTypes": sorted(gpu.get("excludedTypes") or []),
        "gpu.count": gpu.get("count") or 1,
        "gpu.minCudaVersion": gpu.get("minCudaVersion") or None,
        "gpu.allowedCudaVersions": sorted(gpu.get("allowedCudaVersions") or []),
    }


def _changed_gpu(desired: Mapping[str, Any], actual: Mapping[str, Any]) -> dict[str, Any]:
    """The `gpu` of a PATCH. Pools without exclusions clear these; a CUDA limit is cleared by hand,
    and both kinds of it are never sent at once."""
    gpu = dict(desired)
    if actual.get("minCudaVersion") and "minCudaVersion" not in desired:
        gpu["minCudaVersion"] = ""
    if actual.get("allowedCudaVersions"):
        gpu["allowedCudaVersions"] = []
    return gpu


def _change(name: str, old: Any, new: Any) -> Change:
    effect = NEW_RELEASE
    top = name.partition(".")[0]
    if top in REACHING_AT_ONCE:
        effect = AT_ONCE
    elif top in IMMUTABLE:
        effect = NEW_ENDPOINT
    if top == "env":
        old = "***" if old is not None else None
        new = "***" if new is not None else None
    return Change(name, old, new, effect)


def _flashboot(wanted: bool | str) -> str:
    if wanted == "priority":
        return "PRIORITY_FLASHBOOT"
    return "FLASHBOOT" if wanted else "OFF"


def _plain(value: str | Secret, redacted: bool) -> str:
    if isinstance(value, str):
        return value
    return str(value) if redacted else value.reveal()
