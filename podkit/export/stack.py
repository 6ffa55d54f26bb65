"""Engine `production-stack`: values of the chart vllm-stack 0.1.12.

Every value that stands here against the chart's default has its reason in docs/kubernetes.md.
"""

from __future__ import annotations

from podkit.export import objects
from podkit.export.engine import Engine
from podkit.export.engines import STARTUP_FAILURES, engine_image, mounts, volumes
from podkit.export.objects import Object
from podkit.export.plan import NAMESPACE, Plan

CHART = "0.1.12"
REPOSITORY = "https://vllm-project.github.io/production-stack"
RELEASE = "models"
ROUTER = "ghcr.io/vllm-project/production-stack/router:v0.1.12"
FROM_CHART = ("--host", "--port", "--max-model-len", "--gpu-memory-utilization")
"""Flags that the chart writes itself."""


def install_words() -> list[str]:
    """The command that installs the chart with these values, or brings it to them."""
    return [
        *("helm", "upgrade", "--install", RELEASE, "vllm-stack"),
        *("--repo", REPOSITORY, "--version", CHART),
        *("--namespace", NAMESPACE, "--values", "engines/vllm-stack.yaml"),
    ]


def deployment_name(name: str) -> str:
    """The Deployment that the chart makes of a model."""
    return f"{RELEASE}-{name}-deployment-vllm"


def values(plan: Plan, version: str) -> Object:
    """values.yaml for vLLM of this version."""
    models = [model_values(plan, engine, version) for engine in plan.engines]
    return {
        "servingEngineSpec": {
            "runtimeClassName": "",
            "labels": part_labels("engine"),
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
            },
            "vllmApiKey": {"secretName": "engine", "secretKey": "key"},
            "tolerations": objects.GPU_TOLERATIONS,
            "imagePullPolicy": "IfNotPresent",
            "startupProbe": probe(10, STARTUP_FAILURES),
            "readinessProbe": probe(5, 3),
            "livenessProbe": probe(10, 6),
            "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
            "containerSecurityContext": objects.LOCKED,
            "serviceMonitor": {"enabled": False},
            "modelSpec": models,
        },
        "routerSpec": router_values(plan),
    }


def part_labels(part: str) -> dict[str, str]:
    """Ours, in place of all that the chart gives."""
    return {objects.PART: part, "environment": "podkit", "release": RELEASE}


def probe(every: int, failures: int) -> Object:
    return {
        "initialDelaySeconds": 15,
        "periodSeconds": every,
        "failureThreshold": failures,
        "httpGet": {"path": "/health", "port": 8000},
    }


def model_values(plan: Plan, engine: Engine, version: str) -> Object:
    """One model. KEDA is our own: the chart's asks by a label that vLLM does not have."""
    env = {}
    for name, value in engine.env.items():
        if name != "HF_HOME":  # the chart sets it, to a folder that is always there
            env[name] = value
    budget: Object = {"enabled": False}
    if plan.most > 1:
        budget = {"enabled": True, "maxUnavailable": "1"}
    selector = {"key": objects.GPU_LABEL, "operator": "In", "values": [plan.gpu.name]}
    return {
        "name": engine.name,
        **image_values(plan.image(engine_image(version))),
        "modelURL": engine.path,
        "replicaCount": max(plan.least, 1),
        "podLabels": {objects.MODEL: engine.name},
        "resources": objects.resources(plan.gpu.cpu, plan.gpu.memory, gpus=1),
        "nodeSelectorTerms": [{"matchExpressions": [selector]}],
        "pdb": budget,
        "env": objects.plain_env(env),
        "extraVolumes": volumes(),
        "extraVolumeMounts": mounts(),
        "vllmConfig": {
            "enablePrefixCaching": True,
            "maxModelLen": engine.max_len,
            "gpuMemoryUtilization": engine_value(engine, "--gpu-memory-utilization"),
            "extraArgs": engine.flags_without(*FROM_CHART),
        },
    }


def engine_value(engine: Engine, flag: str) -> str:
    return engine.flags[engine.flags.index(flag) + 1]


def image_values(image: str) -> Object:
    """An image as the chart has it, which puts a colon between the two: a tag may have a digest."""
    repository, _, tag = image.partition(":")
    return {"repository": repository, "tag": tag}


def router_values(plan: Plan) -> Object:
    """The router asks nobody for a key and adds the engines' own: only the gateway may reach it."""
    return {
        **image_values(plan.image(ROUTER)),
        "imagePullPolicy": "IfNotPresent",
        "replicaCount": 1,
        "routingLogic": "roundrobin",
        "labels": part_labels("router"),
        "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
        "containerSecurityContext": objects.LOCKED,
        "resources": objects.resources("500m", "1Gi"),
        "route": {"main": {"enabled": False}},
    }
