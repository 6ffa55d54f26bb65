"""podkit_gateway in the cluster: accounts, keys and limits before the engines, and Redis, by which
its replicas count limits together. The only part that the world reaches beside the chat page.
"""

from __future__ import annotations

import json

from podkit.export import objects
from podkit.export.objects import Object
from podkit.export.plan import Plan
from podkit.export.vault import service_account, vault_mount, vault_volume

PORT = 8080
METRICS_PORT = 9100
REDIS_PORT = 6379
REDIS_IMAGE = "docker.io/valkey/valkey:8.1.4-alpine"
HOLD_SECONDS = 900
"""How long a request waits for an engine that is at zero: node, image, model and compiler."""
LEAST_REPLICAS = 2
MOST_REPLICAS = 6
SETTINGS = "gateway-settings"


def backend_url(plan: Plan, name: str) -> str:
    """Where the gateway finds a model."""
    if plan.has_router:
        return "http://models-router-service/v1"
    return f"http://engine-{name}:8000/v1"


def gateway_toml(plan: Plan) -> str:
    """The gateway's file of models and backends."""
    lines = ["# Made by an export of podkit."]
    for engine in plan.engines:
        lines += ["", f"[models.{json.dumps(engine.served_name)}]", f'backends = ["{engine.name}"]']
        lines.append(f"context = {engine.max_len}")
        if plan.least == 0:
            lines.append(f"hold_seconds = {HOLD_SECONDS}")
        lines += ["", f"[backends.{engine.name}]", f'url = "{backend_url(plan, engine.name)}"']
        if plan.engine != "kaito":
            lines.append('key_env = "ENGINE_KEY"')
        if plan.least == 0:
            lines.append("asleep = true")
    return "\n".join(lines) + "\n"


def gateway_objects(plan: Plan) -> list[Object]:
    """What all overlays have of the gateway."""
    files = {"gateway.toml": gateway_toml(plan)}
    return [
        service_account(plan, "gateway"),
        objects.config_map("gateway-models", "gateway", files),
        gateway_deployment(plan),
        objects.service("gateway", "gateway", {"http": PORT, "metrics": METRICS_PORT}),
        redis_deployment(plan),
        objects.service("redis", "redis", {"redis": REDIS_PORT}),
    ]


def gateway_deployment(plan: Plan) -> Object:
    mounts = [
        {"name": "models", "mountPath": "/etc/podkit", "readOnly": True},
        objects.SCRATCH_MOUNT,
    ]
    volumes: list[Object] = [
        {"name": "models", "configMap": {"name": "gateway-models"}},
        objects.SCRATCH,
    ]
    if plan.azure:
        mounts.append(vault_mount())
        volumes.append(vault_volume("gateway"))
    serve = {
        **gateway_container(plan, "serve", mounts),
        "resources": objects.resources("500m", "512Mi"),
        "ports": [
            {"name": "http", "containerPort": PORT},
            {"name": "metrics", "containerPort": METRICS_PORT},
        ],
        "readinessProbe": objects.http_probe("/health", PORT, 5, 2),
        "livenessProbe": objects.http_probe("/health", PORT, 10, 6),
    }
    spec = objects.pod(
        [serve],
        initContainers=[gateway_container(plan, "migrate", mounts)],
        serviceAccountName="gateway",
        terminationGracePeriodSeconds=90,
        topologySpreadConstraints=[spread("gateway")],
        volumes=volumes,
    )
    return objects.deployment("gateway", "gateway", spec)


def gateway_container(plan: Plan, command: str, mounts: list[Object]) -> Object:
    """A container that runs one command of podkit-gateway with its settings."""
    return {
        "name": "gateway" if command == "serve" else command,
        "image": plan.image(plan.gateway_image),
        "args": [command],
        "env": [
            objects.secret_env("GATEWAY_DATABASE_URL", "gateway", "database-url"),
            objects.secret_env("GATEWAY_TOKEN_KEYS", "gateway", "token-keys"),
            objects.secret_env("ENGINE_KEY", "engine", "key"),
        ],
        "envFrom": [{"configMapRef": {"name": SETTINGS}}],
        "securityContext": objects.RESTRICTED,
        "resources": objects.resources("100m", "256Mi"),
        "volumeMounts": mounts,
    }


def spread(part: str) -> Object:
    """The replicas of a part are on different nodes where that is possible."""
    return {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": objects.labels(part)},
    }


def redis_deployment(plan: Plan) -> Object:
    """It keeps nothing on disk: a restart forgets the last minute's counts, and no more."""
    container = {
        "name": "redis",
        "image": plan.image(REDIS_IMAGE),
        "args": ["valkey-server", "--save", "", "--appendonly", "no", "--maxmemory", "200mb"],
        "ports": [{"name": "redis", "containerPort": REDIS_PORT}],
        "securityContext": {**objects.RESTRICTED, "runAsUser": 999, "runAsGroup": 999},
        "resources": objects.resources("50m", "256Mi"),
        "readinessProbe": {"tcpSocket": {"port": REDIS_PORT}, "periodSeconds": 5},
    }
    return objects.deployment("redis", "redis", objects.pod([container]), replicas=1)


def gateway_settings(plan: Plan, public_url: str, replicas: int) -> dict[str, str]:
    """The gateway's settings, of which an overlay decides some."""
    return {
        "GATEWAY_CONFIG": "/etc/podkit/gateway.toml",
        "GATEWAY_PUBLIC_URL": public_url,
        "GATEWAY_REDIS_URL": f"redis://redis:{REDIS_PORT}/0",
        "GATEWAY_REPLICAS": str(replicas),
        "GATEWAY_TRUSTED_PROXIES": plan.pod_network,
    }


def gateway_autoscaler() -> list[Object]:
    """By CPU, which says something here: the gateway has no GPU to wait for."""
    target = {"type": "Utilization", "averageUtilization": 70}
    autoscaler: Object = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": objects.metadata("gateway", "gateway"),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "gateway"},
            "minReplicas": LEAST_REPLICAS,
            "maxReplicas": MOST_REPLICAS,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
        },
    }
    return [autoscaler, objects.disruption_budget("gateway", "gateway", minAvailable=1)]
