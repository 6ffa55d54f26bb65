"""Engine `plain`: a Deployment and a Service for each model, and the gateway before them."""

from __future__ import annotations

from podkit.export import objects
from podkit.export.engine import LOCAL, PORT, STORE, Engine
from podkit.export.objects import Object
from podkit.export.plan import Plan

STARTUP_FAILURES = 180
"""Of a probe every 10 s: half an hour, as a pod has for its boot. The first one compiles."""
STORE_CLAIM = "model-store"


def engine_image(version: str) -> str:
    return f"docker.io/vllm/vllm-openai:v{version}"


def volumes() -> list[Object]:
    """Checkpoints, read only; what the engine compiles; and memory that its processes share."""
    return [
        {"name": "models", "persistentVolumeClaim": {"claimName": STORE_CLAIM, "readOnly": True}},
        {"name": "cache", "emptyDir": {}},
        {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "4Gi"}},
    ]


def mounts() -> list[Object]:
    return [
        {"name": "models", "mountPath": STORE, "readOnly": True},
        {"name": "cache", "mountPath": LOCAL},
        {"name": "shm", "mountPath": "/dev/shm"},  # noqa: S108 - in a container
    ]


def engine_container(plan: Plan, engine: Engine, image: str) -> Object:
    key = objects.secret_env("VLLM_API_KEY", "engine", "key")
    return {
        "name": "vllm",
        "image": plan.image(image),
        "imagePullPolicy": "IfNotPresent",
        "command": engine.command,
        "env": [key, *objects.plain_env(engine.env)],
        "ports": [{"name": "http", "containerPort": PORT}],
        "securityContext": objects.LOCKED,
        "resources": objects.resources(plan.gpu.cpu, plan.gpu.memory, gpus=1),
        "startupProbe": objects.http_probe("/health", PORT, 10, STARTUP_FAILURES),
        "readinessProbe": objects.http_probe("/health", PORT, 5, 3),
        "livenessProbe": objects.http_probe("/health", PORT, 10, 6),
        "volumeMounts": mounts(),
    }


def engine_objects(plan: Plan, image: str) -> list[Object]:
    """A model's Deployment has no number of replicas: KEDA decides that."""
    found = []
    for engine in plan.engines:
        spec = objects.pod(
            [engine_container(plan, engine, image)],
            nodeSelector={objects.GPU_LABEL: plan.gpu.name},
            tolerations=objects.GPU_TOLERATIONS,
            terminationGracePeriodSeconds=60,
            volumes=volumes(),
        )
        name = f"engine-{engine.name}"
        rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
        found.append(objects.deployment(name, "engine", spec, engine.name, strategy=rolling))
        found.append(objects.service(name, "engine", {"http": PORT}, engine.name))
    return found


def engine_budgets(plan: Plan) -> list[Object]:
    """Only for several replicas: a budget of a single one lets no node ever be drained."""
    if plan.most == 1 or plan.engine == "kaito":
        return []
    found = []
    for engine in plan.engines:
        budget = objects.disruption_budget(
            f"engine-{engine.name}", "engine", engine.name, maxUnavailable=1
        )
        found.append(budget)
    return found
