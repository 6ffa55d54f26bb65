"""What nobody can make again: the gateway's database and the chat page's data, saved each night on
a volume of their own, and brought back by a Job. Models, images and engines need no backup.
"""

from __future__ import annotations

from podkit.export import objects
from podkit.export.jobs import PROGRAM_MOUNT, USER, program, program_volume
from podkit.export.objects import Object
from podkit.export.page import DATA_CLAIM, page_image
from podkit.export.plan import Plan

CLAIM = "backups"
FOLDER = "/backups"
PAGE_DATA = "/data"
NIGHTLY = "17 2 * * *"
GIB = 20
SECONDS = 3600
"""Of a run, after which it is ended: a database of this size takes seconds."""
BACKUPS_MOUNT: Object = {"name": CLAIM, "mountPath": FOLDER}
BACKUPS_VOLUME: Object = {"name": CLAIM, "persistentVolumeClaim": {"claimName": CLAIM}}
PAGE_VOLUME: Object = {"name": "data", "persistentVolumeClaim": {"claimName": DATA_CLAIM}}
BESIDE_THE_PAGE: Object = {
    "podAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": [
            {
                "labelSelector": {"matchLabels": {objects.PART: "page"}},
                "topologyKey": "kubernetes.io/hostname",
            }
        ]
    }
}
"""The page's volume is on one node at a time."""


def backup_objects(plan: Plan, webui: str) -> list[Object]:
    """What saves both each night, with the Open WebUI of version `webui`."""
    spec = backup_pod(
        [of_database(plan, "save", "gateway"), of_page(plan, webui, "save")],
        [PAGE_VOLUME],
        affinity=BESIDE_THE_PAGE,
    )
    job = objects.job("backup", "backup", spec, backoffLimit=2, activeDeadlineSeconds=SECONDS)
    nightly = {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": objects.metadata("backup", "backup"),
        "spec": {
            "schedule": NIGHTLY,
            "concurrencyPolicy": "Forbid",
            "jobTemplate": {"spec": job["spec"]},
        },
    }
    files = {name: program(name) for name in ("database.sh", "page.py")}
    claim = objects.claim(CLAIM, "backup", GIB, "ReadWriteOnce")
    return [objects.config_map("backup", "backup", files), claim, nightly]


def restore_database_objects(plan: Plan) -> list[Object]:
    """Into the empty database that the Secret `restore` names."""
    spec = backup_pod([of_database(plan, "restore", "restore")], [])
    return [objects.job("restore-database", "backup", spec, backoffLimit=0)]


def restore_page_objects(plan: Plan, webui: str) -> list[Object]:
    """Into the page's volume, while the page is at no replica."""
    spec = backup_pod([of_page(plan, webui, "restore")], [PAGE_VOLUME])
    return [objects.job("restore-page", "backup", spec, backoffLimit=0)]


def reach_objects(plan: Plan) -> list[Object]:
    """A pod by which `kubectl cp` reaches what was saved, for an hour."""
    container = {
        "name": "backups",
        "image": plan.image(plan.jobs_image),
        "command": ["sleep", str(SECONDS)],
        "securityContext": {**objects.RESTRICTED, "runAsUser": USER},
        "resources": objects.resources("50m", "64Mi"),
        "volumeMounts": [BACKUPS_MOUNT],
    }
    return [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": objects.metadata("backups", "backup"),
            "spec": {**backup_pod([container], []), "activeDeadlineSeconds": SECONDS},
        }
    ]


def backup_pod(containers: list[Object], volumes: list[Object], **more: Object) -> Object:
    return objects.pod(
        containers,
        security={"fsGroup": USER, "fsGroupChangePolicy": "OnRootMismatch"},
        restartPolicy="Never",
        volumes=[*volumes, BACKUPS_VOLUME, program_volume("backup"), objects.SCRATCH],
        **more,
    )


def of_database(plan: Plan, do: str, secret: str) -> Object:
    """By the gateway's own commands, on the database that the Secret names."""
    return {
        "name": "database",
        "image": plan.image(plan.gateway_image),
        "command": ["sh", "/program/database.sh", do],
        "env": [
            objects.secret_env("GATEWAY_DATABASE_URL", secret, "database-url"),
            *objects.plain_env({"BACKUPS": FOLDER}),
        ],
        "securityContext": objects.RESTRICTED,
        "resources": objects.resources("100m", "256Mi"),
        "volumeMounts": [BACKUPS_MOUNT, PROGRAM_MOUNT, objects.SCRATCH_MOUNT],
    }


def of_page(plan: Plan, webui: str, do: str) -> Object:
    """As the user that the page runs as, whose files these are."""
    return {
        "name": "page",
        "image": plan.image(page_image(webui)),
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "/program/page.py", do],
        "env": objects.plain_env({"BACKUPS": FOLDER, "DATA": PAGE_DATA}),
        "securityContext": {**objects.LOCKED, "readOnlyRootFilesystem": True},
        "resources": objects.resources("100m", "256Mi"),
        "volumeMounts": [
            {"name": "data", "mountPath": PAGE_DATA},
            BACKUPS_MOUNT,
            PROGRAM_MOUNT,
            objects.SCRATCH_MOUNT,
        ],
    }
