"""Engine `kaito`: an InferenceSet for each model, for which KAITO makes the nodes (0.12.0).

It has no field for a checkpoint's revision: what runs is the newest. The export's README says so.
"""

from __future__ import annotations

from collections.abc import Sequence

from podkit.export import objects
from podkit.export.engine import Engine
from podkit.export.objects import Object
from podkit.export.plan import Plan

POD_PORT = 5000
CREATED_BY = "inferenceset.kaito.sh/created-by"
"""The label that KAITO puts on the pods of an InferenceSet (pkg/workspace/manifests, 2026-08)."""
NOT_FOR_KAITO = ("--host", "--port", "--served-model-name", "--safetensors-load-strategy")
"""It sets the first three itself, and downloads the checkpoint to the node's own disk."""


def kaito_objects(plan: Plan) -> list[Object]:
    found = []
    for engine in plan.engines:
        config = f"engine-{engine.name}"
        flags = objects.dump({"vllm": flag_values(engine.flags_without(*NOT_FOR_KAITO))})
        found.append(objects.config_map(config, "engine", {"inference_config.yaml": flags}))
        found.append(inference_set(plan, engine, config))
        found.append(replicas_service(engine))
    return found


def inference_set(plan: Plan, engine: Engine, config: str) -> Object:
    name = engine.served_name
    return {
        "apiVersion": "kaito.sh/v1beta1",
        "kind": "InferenceSet",
        "metadata": objects.metadata(name, "engine", engine.name),
        "spec": {
            "replicas": max(plan.least, 1),
            "nodeCountLimit": plan.most,
            "labelSelector": {"matchLabels": {"apps": name}},
            "template": {
                "resource": {"instanceType": plan.gpu.size},
                "inference": {"preset": {"name": engine.repo}, "config": config},
            },
        },
    }


def replicas_service(engine: Engine) -> Object:
    """All replicas of a model at one address, with the port of the other engines."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": objects.metadata(f"engine-{engine.name}", "engine", engine.name),
        "spec": {
            "selector": {CREATED_BY: engine.served_name},
            "ports": [{"name": "http", "port": 8000, "targetPort": POD_PORT}],
        },
    }


def flag_values(flags: Sequence[str]) -> dict[str, str | bool]:
    """Flags as KAITO's file has them: names without dashes, true for one that has no value."""
    found: dict[str, str | bool] = {}
    name = ""
    for word in flags:
        if word.startswith("--"):
            name = word.removeprefix("--")
            found[name] = True
        elif found[name] is True:
            found[name] = word
        else:
            found[name] = f"{found[name]} {word}"
    return found
