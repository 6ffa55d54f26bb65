"""What an AKS node with a GPU needs and does not have: NVIDIA's device plugin, and the exporter of
its figures. Default GPU pools bring the driver only (AKS documentation, 2026-07).
"""

from __future__ import annotations

from podkit.export import objects
from podkit.export.objects import Object
from podkit.export.plan import Plan

NAMESPACE = "gpu-nodes"
DEVICE_PLUGIN = "nvcr.io/nvidia/k8s-device-plugin:v0.18.0"
EXPORTER = "nvcr.io/nvidia/k8s/dcgm-exporter:4.4.1-4.6.0-ubuntu22.04"
EXPORTER_PORT = 9400
PLUGINS = "/var/lib/kubelet/device-plugins"


def gpu_node_objects(plan: Plan) -> list[Object]:
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        device_plugin(plan),
        *figures(plan),
    ]


def device_plugin(plan: Plan) -> Object:
    """Tells the cluster that a node has `nvidia.com/gpu`."""
    container = {
        "name": "device-plugin",
        "image": plan.image(DEVICE_PLUGIN),
        "env": objects.plain_env({"FAIL_ON_INIT_ERROR": "false"}),
        "securityContext": objects.LOCKED,
        "resources": objects.resources("50m", "100Mi"),
        "volumeMounts": [{"name": "kubelet", "mountPath": PLUGINS}],
    }
    return on_every_gpu_node(
        "device-plugin",
        container,
        volumes=[{"name": "kubelet", "hostPath": {"path": PLUGINS}}],
        priorityClassName="system-node-critical",
    )


def figures(plan: Plan) -> list[Object]:
    """The GPUs' use, memory and faults, and who reads them."""
    container = {
        "name": "exporter",
        "image": plan.image(EXPORTER),
        "ports": [{"name": "metrics", "containerPort": EXPORTER_PORT}],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"], "add": ["SYS_ADMIN"]},
        },
        "resources": objects.resources("50m", "512Mi"),
    }
    name = "dcgm-exporter"
    monitor = {
        "apiVersion": "azmonitoring.coreos.com/v1",
        "kind": "PodMonitor",
        "metadata": objects.metadata(name, name, namespace=NAMESPACE),
        "spec": {
            "selector": {"matchLabels": {objects.PART: name}},
            "podMetricsEndpoints": [{"port": "metrics"}],
        },
    }
    return [on_every_gpu_node(name, container), monitor]


def on_every_gpu_node(name: str, container: Object, **more: object) -> Object:
    gpu_node = {"key": objects.GPU_LABEL, "operator": "Exists"}
    terms = [{"matchExpressions": [gpu_node]}]
    node = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
    spec = objects.pod(
        [container],
        affinity={"nodeAffinity": node},
        tolerations=[*objects.GPU_TOLERATIONS, objects.SPOT],
        **more,
    )
    found = objects.labels(name)
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": objects.metadata(name, name, namespace=NAMESPACE),
        "spec": {
            "selector": {"matchLabels": found},
            "template": {"metadata": {"labels": found}, "spec": spec},
        },
    }
