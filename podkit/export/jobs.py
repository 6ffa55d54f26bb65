"""What runs once: fetching the checkpoints, the smoke test, and OCR of a folder by a fleet.

Each Job's program is a file of files/ or, the fleet's, of startup/, put into a ConfigMap beside it.
"""

from __future__ import annotations

import math
from pathlib import Path

from podkit import ROOT
from podkit.export import objects
from podkit.export.engine import LOCAL, STORE, Engine
from podkit.export.engines import STORE_CLAIM, mounts, volumes
from podkit.export.objects import Object
from podkit.export.plan import Plan

FILES = Path(__file__).with_name("files")
READER = ROOT / "startup/read_workspace.py"
LEAST_STORE_GIB = 100
"""The smallest share of Azure Files' premium tier."""
NFS_CLASS = "podkit-nfs"
IS_HEALTHY = "import urllib.request as ask; ask.urlopen('http://127.0.0.1:8000/health')"
OCR_PODS = 4
FAILURES: list[Object] = [
    {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
    {
        "action": "FailIndex",
        "onExitCodes": {"containerName": "ocr", "operator": "In", "values": [1]},
    },
]
"""A pod whose node was taken away starts again, however often; one that gave up what it cannot read
does not: its GPU would be paid for the same end.
"""
USER = 10001


def program(name: str) -> str:
    return (FILES / name).read_text(encoding="utf-8")


def program_volume(name: str) -> Object:
    return {"name": "program", "configMap": {"name": name}}


DOCUMENTS_MOUNT: Object = {"name": "documents", "mountPath": "/documents"}
DOCUMENTS_VOLUME: Object = {
    "name": "documents",
    "persistentVolumeClaim": {"claimName": "documents"},
}
PROGRAM_MOUNT: Object = {"name": "program", "mountPath": "/program", "readOnly": True}


def store_objects(plan: Plan) -> list[Object]:
    """The shared folder of checkpoints: room for two revisions of each."""
    if plan.engine == "kaito":
        return []
    weights = sum(engine.weights_gib for engine in plan.engines)
    gib = max(LEAST_STORE_GIB, math.ceil(weights * 2.5 / 10) * 10)
    return [objects.claim(STORE_CLAIM, "fetch", gib, "ReadWriteMany", plan.storage_class)]


def nfs_class() -> Object:
    """Azure Files by NFS, which many nodes mount at once; a share ends with its claim."""
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": NFS_CLASS},
        "provisioner": "file.csi.azure.com",
        "parameters": {"protocol": "nfs", "skuName": "Premium_LRS"},
        "reclaimPolicy": "Delete",
        "allowVolumeExpansion": True,
        "mountOptions": ["nconnect=4"],
    }


def fetch_objects(plan: Plan) -> list[Object]:
    """Brings each model's pinned revision into the store, whole or not at all."""
    wanted = ""
    for engine in plan.engines:
        wanted += f"{engine.repo} {engine.revision} {engine.folder}\n"
    files = {"fetch.sh": program("fetch.sh"), "models.txt": wanted}
    container = {
        "name": "fetch",
        "image": plan.image(plan.jobs_image),
        "command": ["sh", "/program/fetch.sh", "/program/models.txt", STORE],
        "env": [
            objects.secret_env("HF_TOKEN", "hugging-face", "token", optional=True),
            *objects.plain_env({"HOME": "/tmp"}),  # noqa: S108 - in a container
        ],
        "securityContext": {**objects.RESTRICTED, "runAsUser": USER},
        "resources": objects.resources("1", "4Gi"),
        "volumeMounts": [
            {"name": "models", "mountPath": STORE},
            PROGRAM_MOUNT,
            objects.SCRATCH_MOUNT,
        ],
    }
    spec = objects.pod(
        [container],
        security={"fsGroup": USER},
        restartPolicy="Never",
        volumes=[
            {"name": "models", "persistentVolumeClaim": {"claimName": STORE_CLAIM}},
            program_volume("fetch"),
            objects.SCRATCH,
        ],
    )
    fetching = objects.job("fetch", "fetch", spec, backoffLimit=3, activeDeadlineSeconds=7200)
    return [objects.config_map("fetch", "fetch", files), fetching]


def smoke_objects(plan: Plan) -> list[Object]:
    """Asks every model for a list, an answer, a stream and a picture, as a client does."""
    names = " ".join(engine.served_name for engine in plan.engines)
    container = {
        "name": "smoke",
        "image": plan.image(plan.jobs_image),
        "command": ["/opt/smoke/bin/python", "/program/smoke.py"],
        "env": [
            objects.secret_env("OPENAI_API_KEY", "smoke", "api-key"),
            *objects.plain_env({"OPENAI_BASE_URL": "http://gateway:8080/v1", "MODELS": names}),
        ],
        "securityContext": {**objects.RESTRICTED, "runAsUser": USER},
        "resources": objects.resources("100m", "256Mi"),
        "volumeMounts": [PROGRAM_MOUNT, objects.SCRATCH_MOUNT],
    }
    spec = objects.pod(
        [container],
        restartPolicy="Never",
        volumes=[program_volume("smoke"), objects.SCRATCH],
    )
    testing = objects.job("smoke", "smoke", spec, backoffLimit=0, ttlSecondsAfterFinished=86400)
    return [objects.config_map("smoke", "smoke", {"smoke.py": program("smoke.py")}), testing]


def ocr_objects(plan: Plan, engine: Engine, image: str) -> list[Object]:
    """A fleet that reads a folder of PDFs, by the program with which pods read a workspace; each of
    its pods has an engine of its own, which ends with it.
    """
    spec = objects.pod(
        [reader(plan, engine)],
        security={"fsGroup": USER},
        initContainers=[engine_beside(plan, engine, image)],
        restartPolicy="Never",
        nodeSelector=spot_nodes(plan),
        tolerations=[*objects.GPU_TOLERATIONS, objects.SPOT],
        volumes=[*volumes(), DOCUMENTS_VOLUME, program_volume("ocr"), objects.SCRATCH],
    )
    fleet = objects.job(
        "ocr",
        "ocr",
        spec,
        completionMode="Indexed",
        completions=OCR_PODS,
        parallelism=OCR_PODS,
        backoffLimitPerIndex=5,
        podFailurePolicy={"rules": FAILURES},
        activeDeadlineSeconds=86400,
        ttlSecondsAfterFinished=604800,
    )
    files = {READER.name: READER.read_text(encoding="utf-8")}
    return [objects.config_map("ocr", "ocr", files), fleet]


def reader(plan: Plan, engine: Engine) -> Object:
    """The olmOCR toolkit on the shared folder."""
    env = {
        "OCR_SERVER": "http://127.0.0.1:8000/v1",
        "OCR_MODEL": engine.served_name,
        "HOME": "/tmp",  # noqa: S108 - in a container
    }
    return {
        "name": "ocr",
        "image": plan.image(plan.jobs_image),
        "command": ["/opt/olmocr/bin/python", f"/program/{READER.name}", "/documents"],
        "env": objects.plain_env(env),
        "securityContext": {**objects.RESTRICTED, "runAsUser": USER},
        "resources": objects.resources(*plan.gpu.reader),
        "volumeMounts": [DOCUMENTS_MOUNT, PROGRAM_MOUNT, objects.SCRATCH_MOUNT],
    }


def document_objects(plan: Plan) -> list[Object]:
    """The shared folder of PDFs and texts, and a pod by which `kubectl cp` reaches it for a day."""
    container = {
        "name": "documents",
        "image": plan.image(plan.jobs_image),
        "command": ["sleep", "86400"],
        "securityContext": {**objects.RESTRICTED, "runAsUser": USER},
        "resources": objects.resources("50m", "64Mi"),
        "volumeMounts": [DOCUMENTS_MOUNT],
    }
    spec = objects.pod(
        [container],
        security={"fsGroup": USER},
        restartPolicy="Never",
        activeDeadlineSeconds=86400,
        volumes=[DOCUMENTS_VOLUME],
    )
    reached: Object = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": objects.metadata("documents", "ocr"),
        "spec": spec,
    }
    claim = objects.claim("documents", "ocr", 100, "ReadWriteMany", plan.storage_class)
    return [claim, reached]


def spot_nodes(plan: Plan) -> dict[str, str]:
    """The nodes of the fleet: on AKS the spot pool, whose end in mid-work costs a page."""
    found = {objects.GPU_LABEL: plan.gpu.name}
    if plan.azure:
        found[objects.SPOT["key"]] = "spot"
    return found


def engine_beside(plan: Plan, engine: Engine, image: str) -> Object:
    """vLLM as a sidecar, for the pod's other container alone: it asks for no key, and answers
    nobody else.
    """
    alone = ["vllm", "serve", engine.path, "--host", "127.0.0.1", *engine.flags_without("--host")]
    return {
        "name": "vllm",
        "image": plan.image(image),
        "restartPolicy": "Always",
        "command": alone,
        "env": objects.plain_env({**engine.env, "HOME": LOCAL}),
        "securityContext": objects.LOCKED,
        "resources": objects.resources(plan.gpu.cpu, plan.gpu.memory, gpus=1),
        "startupProbe": {
            "exec": {"command": ["python3", "-c", IS_HEALTHY]},
            "periodSeconds": 10,
            "timeoutSeconds": 5,
            "failureThreshold": 180,
        },
        "volumeMounts": mounts(),
    }
