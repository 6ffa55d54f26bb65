"""How many replicas of an engine there are: KEDA's own objects, one a model.

A GPU server's CPU says nothing of its load, and an engine that is at zero has no metrics: what
wakes it is the gateway's count of requests that it holds.
"""

from __future__ import annotations

from podkit.export import objects
from podkit.export.engine import Engine
from podkit.export.objects import Object
from podkit.export.plan import Plan
from podkit.export.stack import deployment_name

COOLDOWN = 600
"""Seconds without work before the last replica ends."""
WAITING_PER_REPLICA = 5
RUNNING_PER_REPLICA = 1024
"""The most that a vLLM of this version runs at once (its --max-num-seqs on large GPUs): that
trigger adds no replica, it only keeps one that works from being ended.
"""
AUTHENTICATION = "managed-prometheus"


def scaled_target(plan: Plan, engine: Engine) -> Object:
    if plan.engine == "kaito":
        version = "kaito.sh/v1beta1"
        return {"apiVersion": version, "kind": "InferenceSet", "name": engine.served_name}
    name = f"engine-{engine.name}"
    if plan.has_router:
        name = deployment_name(engine.name)
    return {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}


def queries(engine: Engine) -> dict[str, int]:
    """What is asked of Prometheus, each with the value that one more replica is added for."""
    name = engine.served_name
    return {
        f'sum(gateway_waiting_requests{{model="{name}"}})': 1,
        f'sum(vllm:num_requests_waiting{{model_name="{name}"}})': WAITING_PER_REPLICA,
        f'sum(vllm:num_requests_running{{model_name="{name}"}})': RUNNING_PER_REPLICA,
    }


def trigger(plan: Plan, query: str, threshold: int) -> Object:
    found: Object = {
        "type": "prometheus",
        "metadata": {
            "serverAddress": plan.prometheus_url,
            "query": query,
            "threshold": str(threshold),
            "activationThreshold": "0",
        },
    }
    if plan.azure:
        found["authenticationRef"] = {"name": AUTHENTICATION}
    return found


def behavior() -> Object:
    """A replica is a GPU: one more a minute at most, one less in ten."""
    return {
        "scaleUp": {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}]},
        "scaleDown": {
            "stabilizationWindowSeconds": COOLDOWN,
            "policies": [{"type": "Pods", "value": 1, "periodSeconds": COOLDOWN}],
        },
    }


def scaled_objects(plan: Plan, most: int) -> list[Object]:
    """One for each model, up to `most` replicas; without Prometheus there is one."""
    found = []
    for engine in plan.engines:
        triggers = []
        for query, threshold in queries(engine).items():
            triggers.append(trigger(plan, query, threshold))
        found.append(
            {
                "apiVersion": "keda.sh/v1alpha1",
                "kind": "ScaledObject",
                "metadata": objects.metadata(f"engine-{engine.name}", "engine", engine.name),
                "spec": {
                    "scaleTargetRef": scaled_target(plan, engine),
                    "minReplicaCount": min(plan.least, most),
                    "maxReplicaCount": most,
                    "pollingInterval": 10,
                    "cooldownPeriod": COOLDOWN,
                    "fallback": {"failureThreshold": 3, "replicas": 1},
                    "advanced": {"horizontalPodAutoscalerConfig": {"behavior": behavior()}},
                    "triggers": triggers,
                },
            }
        )
    return found


def authentication(plan: Plan) -> list[Object]:
    """How KEDA signs in to Azure's Prometheus: the identity has the role Monitoring Data Reader."""
    if not plan.azure:
        return []
    identity = {"provider": "azure-workload", "identityId": plan.azure.client_id}
    return [
        {
            "apiVersion": "keda.sh/v1alpha1",
            "kind": "TriggerAuthentication",
            "metadata": objects.metadata(AUTHENTICATION, "engine"),
            "spec": {"podIdentity": identity},
        }
    ]
