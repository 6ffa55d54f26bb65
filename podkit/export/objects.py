"""What the manifests share: labels, the security of a pod, and YAML that reads well.

An object is a plain dict; nothing here knows what is exported.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from podkit.export.plan import NAMESPACE

Object = dict[str, Any]
PART = "podkit.dev/part"
"""The label by which policies, services and monitors find the pods of a part."""
MODEL = "podkit.dev/model"
GPU_LABEL = "podkit.dev/gpu"
LOCKED: Object = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
"""Security of a container whose image wants root."""
RESTRICTED: Object = {**LOCKED, "runAsNonRoot": True, "readOnlyRootFilesystem": True}
SCRATCH: Object = {"name": "scratch", "emptyDir": {}}
SCRATCH_MOUNT: Object = {"name": "scratch", "mountPath": "/tmp"}  # noqa: S108 - in a container
GPU_TOLERATIONS: list[Object] = [
    {"key": "sku", "operator": "Equal", "value": "gpu", "effect": "NoSchedule"},
    {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"},
]
SPOT: Object = {
    "key": "kubernetes.azure.com/scalesetpriority",
    "operator": "Equal",
    "value": "spot",
    "effect": "NoSchedule",
}


class Dumper(yaml.SafeDumper):
    """Writes a text of several lines as a block, and nothing by reference."""

    def ignore_aliases(self, _data: Any) -> bool:
        return True


def _text(dumper: Dumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


Dumper.add_representer(str, _text)


def dump(*objects: Object) -> str:
    """The objects as YAML documents, keys in the order they were given."""
    return yaml.dump_all(objects, Dumper=Dumper, sort_keys=False, width=100)


def labels(part: str, model: str = "") -> dict[str, str]:
    found = {"app.kubernetes.io/part-of": "podkit", PART: part}
    if model:
        found[MODEL] = model
    return found


def metadata(name: str, part: str, model: str = "", namespace: str = NAMESPACE) -> Object:
    return {"name": name, "namespace": namespace, "labels": labels(part, model)}


def config_map(name: str, part: str, data: Mapping[str, str]) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(name, part),
        "data": dict(data),
    }


def secret_env(name: str, secret: str, key: str, optional: bool = False) -> Object:
    """An environment variable whose value is in a Secret."""
    reference: Object = {"name": secret, "key": key}
    if optional:
        reference["optional"] = True
    return {"name": name, "valueFrom": {"secretKeyRef": reference}}


def plain_env(values: Mapping[str, str]) -> list[Object]:
    return [{"name": name, "value": value} for name, value in values.items()]


def resources(cpu: str, memory: str, gpus: int = 0) -> Object:
    """What a container asks for; memory and GPUs are also its limits."""
    asked: Object = {"cpu": cpu, "memory": memory}
    limits: Object = {"memory": memory}
    if gpus:
        asked["nvidia.com/gpu"] = gpus
        limits["nvidia.com/gpu"] = gpus
    return {"requests": asked, "limits": limits}


def http_probe(path: str, port: int, every: int, failures: int) -> Object:
    """A probe by HTTP, once in `every` seconds, that gives up after so many failures."""
    return {
        "httpGet": {"path": path, "port": port},
        "periodSeconds": every,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    }


def pod(containers: Sequence[Object], **more: Any) -> Object:
    """The spec of a pod without a token of the cluster's API.

    Without links: for a Service `gateway` Kubernetes would set GATEWAY_PORT, which podkit-gateway
    refuses as no setting of its own.
    """
    security = {"seccompProfile": {"type": "RuntimeDefault"}, **more.pop("security", {})}
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": security,
        "containers": list(containers),
        **more,
    }


def deployment(name: str, part: str, spec: Object, model: str = "", **more: Any) -> Object:
    found = labels(part, model)
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(name, part, model),
        "spec": {
            **more,
            "selector": {"matchLabels": found},
            "template": {"metadata": {"labels": found}, "spec": spec},
        },
    }


def service(name: str, part: str, ports: Mapping[str, int], model: str = "") -> Object:
    listed = [{"name": word, "port": port, "targetPort": port} for word, port in ports.items()]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(name, part, model),
        "spec": {"selector": labels(part, model), "ports": listed},
    }


def job(name: str, part: str, spec: Object, **more: Any) -> Object:
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata(name, part),
        "spec": {
            **more,
            "template": {"metadata": {"labels": labels(part)}, "spec": spec},
        },
    }


def claim(name: str, part: str, gib: int, mode: str, storage_class: str = "") -> Object:
    spec: Object = {
        "accessModes": [mode],
        "resources": {"requests": {"storage": f"{gib}Gi"}},
    }
    if storage_class:
        spec["storageClassName"] = storage_class
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": metadata(name, part),
        "spec": spec,
    }


def disruption_budget(name: str, part: str, model: str = "", **budget: int) -> Object:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata(name, part, model),
        "spec": {**budget, "selector": {"matchLabels": labels(part, model)}},
    }
