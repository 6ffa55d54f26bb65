"""The shapes of request bodies that the API documents, and its rules on top. Must never know an account."""

import re
from collections.abc import Iterator
from typing import Any

from podkit_sandbox.catalog import GPUS, PLACES

FILLED, CUDA, PORT = re.compile(".+"), re.compile(r"\d+\.\d+"), re.compile(r"\d+/(http|tcp|udp)")
GPU = {"id!": str, "allowedCudaVersions": [CUDA], "minCudaVersion": CUDA}
GPU |= {"count": range(1, 1000), "minRamPerGpu": range(1, 10_000), "minVcpuCountPerGpu": range(1, 1000)}
POD = {"name!": FILLED, "cloud": {"SECURE", "COMMUNITY"}, "disk": range(1, 100_000), "cpu": dict, "env": {"*": str}}
POD |= {"gpu": GPU, "ports": [PORT], "registry": (str, type(None))}
POD |= {"image": str, "args": str, "templateId": str, "cmd": [str], "entrypoint": [str], "dataCenterIds": [str]}
POD |= {"globalNetworking": bool, "startJupyter": bool, "startSsh": bool}
DISK, NETWORK = {"size!": range(10, 100_000), "path!": str}, {"volumeId!": str, "path!": str}
POD["mounts"] = {"persistent": DISK, "network": [NETWORK]}
VOLUME = {
    "name!": re.compile(".+"),
    "size!": range(10, 4097),
    "dataCenter!": str,
    "type": {"STANDARD", "HIGH_PERFORMANCE"},
}
ACTION = {"action!": {"start", "stop", "restart", "terminate"}}


def errors(value: Any, spec: Any, at: str = "$") -> Iterator[str]:
    """What is wrong with a value, in the provider's manner: `$.gpu.count: must be from 1 to 999`."""
    if isinstance(spec, dict):
        yield from _object(value, spec, at)
    elif isinstance(spec, list):
        if not isinstance(value, list):
            yield f"{at}: must be an array"
        else:
            for n, item in enumerate(value):
                yield from errors(item, spec[0], f"{at}[{n}]")
    elif isinstance(spec, set):
        if not isinstance(value, str) or value not in spec:
            yield f"{at}: must be one of {', '.join(sorted(spec))}"
    elif isinstance(spec, range):
        if type(value) is not int or value not in spec:
            yield f"{at}: must be an integer from {spec.start} to {spec.stop - 1}"
    elif isinstance(spec, re.Pattern):
        if not isinstance(value, str) or not spec.fullmatch(value):
            yield f"{at}: must match {spec.pattern}"
    elif not isinstance(value, spec):
        yield f"{at}: wrong type"


def broken_rule(body: dict[str, Any], places: list[str], home: str | None) -> str | None:
    """The rule that a well-formed create request breaks, in words; `home` is its volume's data center."""
    gpu = body.get("gpu", {})
    rules = {
        "exactly one of gpu or cpu must be set, and the sandbox has GPU pods only": not gpu or "cpu" in body,
        "image is required": "image" not in body,
        f"gpu.id {gpu.get('id')!r} is not a known GPU type": gpu.get("id") not in GPUS,
        "dataCenterIds holds an unknown data center": not {*places} <= {*PLACES},
        "env may have at most 50 variables": len(body.get("env", {})) > 50,
        "mounts.persistent and mounts.network are mutually exclusive": len(body.get("mounts", {})) > 1,
        "gpu.allowedCudaVersions and gpu.minCudaVersion are mutually exclusive": bool(
            gpu.get("allowedCudaVersions") and "minCudaVersion" in gpu
        ),
        f"the network volume is in {home}": home is not None and home not in places,
    }
    return next((text for text, broken in rules.items() if broken), None)


def _object(value: Any, spec: dict[str, Any], at: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{at}: must be an object"
        return
    known = {key.rstrip("!"): inner for key, inner in spec.items()}
    for key in spec:
        if key.endswith("!") and key[:-1] not in value:
            yield f"{at}: missing property '{key[:-1]}'"
    for key, item in value.items():
        if "*" not in known and key not in known:
            yield f"{at}: additional properties '{key}' not allowed"
        else:
            yield from errors(item, known.get(key, known.get("*")), f"{at}.{key}")
