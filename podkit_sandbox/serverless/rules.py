"""The rules of endpoints that the provider's schema does not express. Pure.

Sources: REST v2 document of 2026-08-20 and its descriptions.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from podkit_sandbox.catalog import CPUS, DATA_CENTERS, GPUS
from podkit_sandbox.wire import Problem

DEFAULT_IDLE_SECONDS = 10
DEFAULTS: dict[str, Any] = {
    "args": "",
    "disk": 20,
    "ports": [],
    "env": {},
    "registry": None,
    "dataCenterIds": [],
    "networkVolumes": [],
    "timeout": 0,  # documented as 300000, seen as 0
    "flashboot": "OFF",
}
RELEASED = {
    "image": "template.imageName",
    "args": "template.dockerArgs",
    "entrypoint": "template.dockerEntrypoint",
    "cmd": "template.dockerStartCmd",
    "disk": "template.containerDiskInGb",
    "ports": "template.ports",
    "env": "template.env",
    "registry": "template.containerRegistryAuthId",
    "gpu": "gpuIds",
    "cpu": "instanceIds",
    "dataCenterIds": "locations",
    "networkVolumes": "networkVolumeIds",
    "flashboot": "flashBootType",
}
"""The fields whose change makes a release, with their names in its diff."""


def new_settings(body: dict[str, Any]) -> dict[str, Any]:
    """The settings of a new endpoint, in the shape of the API's answer. Raises Problem."""
    if ("gpu" in body) == ("cpu" in body):
        raise Problem(400, "exactly one of gpu and cpu is needed")
    if "templateId" in body:
        raise Problem(404, "template not found")
    asked = body.get("workers", {})
    workers = {"min": asked.get("min", 0), "max": asked.get("max", 3)}
    settings = {**DEFAULTS, **body}
    settings["workers"] = _workers(workers, asked, body["type"], body["scaling"])
    if "gpu" in body:
        settings["gpu"] = _gpu({}, body["gpu"])
    else:
        settings["cpu"] = [_cpu(one) for one in body["cpu"]]
    _check(settings)
    return settings


def changed_settings(old: Mapping[str, Any], body: dict[str, Any]) -> dict[str, Any]:
    """The settings after a PATCH: fields are absolute values. Raises Problem."""
    if ("gpu" in body and "gpu" not in old) or ("cpu" in body and "cpu" not in old):
        raise Problem(400, "the compute family (GPU or CPU) of an endpoint cannot be changed")
    if "templateId" in body:
        raise Problem(404, "template not found")
    settings = {**old, **body}
    if old["type"] == "LOAD_BALANCER" and settings["scaling"]["type"] != "REQUEST_COUNT":
        raise Problem(
            422, "Request validation failed.", ["$.scaling: LOAD_BALANCER: REQUEST_COUNT"]
        )
    workers = {**old["workers"], **body.get("workers", {})}
    asked = body.get("workers", {})
    settings["workers"] = _workers(workers, asked, old["type"], settings["scaling"])
    if "gpu" in body:
        settings["gpu"] = _gpu(old["gpu"], body["gpu"])
    if "cpu" in body:
        settings["cpu"] = [_cpu(one) for one in body["cpu"]]
    _check(settings)
    return settings


def diff(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What a release changes, by the old internal names that the service shows."""
    rows = []
    for field, name in RELEASED.items():
        if old.get(field) != new.get(field):
            rows.append({"field": name, "old": old.get(field), "new": new.get(field)})
    return rows


def check_quota(total: int, others: int, quota: int) -> None:
    """Raises Problem 400 if the sum of max workers, `total`, is over the account's quota."""
    if total <= quota:
        return
    raise Problem(
        400,
        "Max workers across all endpoints must not exceed your workers quota "
        f"({quota}). Reduce the max workers for other endpoints or lower the max worker count "
        f"for this endpoint to at most {max(0, quota - others)}.",
    )


def eligible_gpus(gpu: Mapping[str, Any]) -> list[str]:
    """The GPU types of the pools but the excluded ones, in the order of the pools."""
    found = []
    for pool in gpu["pools"]:
        for id, row in GPUS.items():
            if row["pool"] == pool and id not in gpu.get("excludedTypes", []):
                found.append(id)
    return found


def _workers(
    workers: dict[str, int],
    asked: Mapping[str, int],
    type: str,
    scaling: Mapping[str, Any],
) -> dict[str, int]:
    """The limits of workers with their idle time-out, where that applies."""
    limits = {"min": workers["min"], "max": workers["max"]}
    if limits["min"] > limits["max"]:
        raise Problem(400, "workers.min must not be above workers.max")
    if type == "QUEUE" and scaling["type"] == "REQUEST_COUNT":
        if "idleTimeout" in asked:
            errors = ["$.workers.idleTimeout: does not apply to REQUEST_COUNT"]
            raise Problem(422, "Request validation failed.", errors)
        return limits
    idle = asked.get("idleTimeout", workers.get("idleTimeout", DEFAULT_IDLE_SECONDS))
    return {**limits, "idleTimeout": idle}


def _gpu(old: Mapping[str, Any], asked: Mapping[str, Any]) -> dict[str, Any]:
    """The GPU selection after a create or a PATCH; pools without exclusions clear these."""
    gpu = {"count": 1, "allowedCudaVersions": [], "minCudaVersion": None, **old}
    if "pools" in asked:
        gpu.pop("excludedTypes", None)
    gpu |= asked
    if gpu["minCudaVersion"] == "":
        gpu["minCudaVersion"] = None
    if gpu["allowedCudaVersions"] and gpu["minCudaVersion"]:
        raise Problem(400, "gpu.allowedCudaVersions and gpu.minCudaVersion exclude each other")
    pools = {row["pool"] for row in GPUS.values()}
    for pool in gpu["pools"]:
        if pool not in pools:
            raise Problem(400, f"gpu.pools: {pool!r} is no serverless pool")
    for id in gpu.get("excludedTypes", []):
        if id not in GPUS or GPUS[id]["pool"] not in gpu["pools"]:
            raise Problem(400, f"gpu.excludedTypes: {id!r} is not in a chosen pool")
    if not eligible_gpus(gpu):
        raise Problem(400, "gpu.excludedTypes leaves no GPU type")
    return gpu


def _cpu(asked: Mapping[str, Any]) -> dict[str, Any]:
    flavor = CPUS.get(asked["id"])
    if flavor is None:
        raise Problem(400, f"cpu.id {asked['id']!r} is not a known CPU flavor")
    count = asked["vcpuCount"]
    if count & (count - 1):
        raise Problem(400, "cpu.vcpuCount must be a power of two")
    if not flavor["vcpu"]["min"] <= count <= flavor["vcpu"]["max"]:
        raise Problem(400, f"cpu.vcpuCount {count} is not offered by {asked['id']}")
    return {**asked, "memory": max(1, int(count * flavor["ramGbPerVcpu"]))}


def _check(settings: Mapping[str, Any]) -> None:
    if not {*settings["dataCenterIds"]} <= {*DATA_CENTERS}:
        raise Problem(400, "dataCenterIds holds an unknown data center")
    if not _agrees(settings):
        raise Problem(400, "args and entrypoint or cmd must agree")


def _agrees(settings: Mapping[str, Any]) -> bool:
    """Whether `args`, if beside `entrypoint` or `cmd`, says the same as they do."""
    given = {name: settings[name] for name in ("entrypoint", "cmd") if settings.get(name)}
    if not given or not settings.get("args"):
        return True
    try:
        said = json.loads(settings["args"])
    except ValueError:
        return False
    if not isinstance(said, dict):
        return False
    return all(said.get(name) == words for name, words in given.items())


def check_volumes(ids: Iterable[str], volumes: Mapping[str, Mapping[str, Any]]) -> None:
    """Raises Problem for a volume that is not there, or two in one data center."""
    places = set()
    for id in ids:
        if id not in volumes:
            raise Problem(404, "network volume not found")
        place = volumes[id]["dataCenter"]
        if place in places:
            raise Problem(400, f"networkVolumes holds two volumes in {place}")
        places.add(place)
