"""The chat page: Open WebUI with the settings of startup/webui.env, its model the gateway's.

In a pod its reach is held by the pod itself; here it is held by the network policies, which let it
speak to the gateway and to nobody else.
"""

from __future__ import annotations

from pathlib import Path
from string import Template

from podkit.export import objects
from podkit.export.gateway import PORT as GATEWAY_PORT
from podkit.export.objects import Object
from podkit.export.plan import Plan
from podkit.export.vault import service_account, vault_mount, vault_volume

PORT = 8080
DATA = "/data"
"""In place of a pod's own disk: the volume is mounted where webui.env has the page's data."""
DATA_CLAIM = "page-data"
SETTINGS = "page-settings"
SECRETS = {
    "WEBUI_ADMIN_EMAIL": ("page", "admin-email"),
    "WEBUI_ADMIN_PASSWORD": ("page", "admin-password"),
    "WEBUI_SECRET_KEY": ("page", "secret-key"),
    "OPENAI_API_KEYS": ("page-key", "api-key"),
}
"""Settings whose values are in Secrets: the Secret, and the key in it."""
NOT_IN_THE_IMAGE = ("FROM_INIT_PY",)
"""What only the program of the Python package wants: with it the image looks for its pages in
another folder (Open WebUI 0.12.4, env.py).
"""
OWN_API = "http://127.0.0.1:$PODKIT_API_PORT"


def page_image(version: str) -> str:
    return f"ghcr.io/open-webui/open-webui:v{version}"


def page_settings(startup: Path, plan: Plan, origin: str) -> dict[str, str]:
    """The page's settings for the address by which people reach it."""
    text = (startup / "webui.env").read_text(encoding="utf-8")
    values = {
        "PODKIT_LOCAL": DATA,
        "MODEL_CLIENT_NAME": plan.engines[0].served_name,
        "WEBUI_ORIGIN": origin,
        "WEBUI_SOCKET_ORIGIN": origin.replace("http", "ws", 1),
        "WEBUI_IS_HTTPS": str(origin.startswith("https:")).lower(),
    }
    found = {}
    for line in text.replace(OWN_API, f"http://gateway:{GATEWAY_PORT}").splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#") and name not in (*SECRETS, *NOT_IN_THE_IMAGE):
            found[name] = Template(value).substitute(values)
    # The gateway counts what each person uses, if the page's key may speak for them.
    found["ENABLE_FORWARD_USER_INFO_HEADERS"] = "true"
    return found


def page_objects(plan: Plan, version: str) -> list[Object]:
    """One replica: its chats are in SQLite on a volume of its own."""
    mounts = [{"name": "data", "mountPath": f"{DATA}/webui-data"}]
    volumes: list[Object] = [
        {"name": "data", "persistentVolumeClaim": {"claimName": DATA_CLAIM}},
    ]
    if plan.azure:
        mounts.append(vault_mount())
        volumes.append(vault_volume("page"))
    container = {
        "name": "page",
        "image": plan.image(page_image(version)),
        "imagePullPolicy": "IfNotPresent",
        "env": [objects.secret_env(name, *where) for name, where in SECRETS.items()],
        "envFrom": [{"configMapRef": {"name": SETTINGS}}],
        "ports": [{"name": "http", "containerPort": PORT}],
        "securityContext": objects.LOCKED,
        "resources": objects.resources("500m", "2Gi"),
        "startupProbe": objects.http_probe("/health", PORT, 5, 60),
        "readinessProbe": objects.http_probe("/health", PORT, 10, 3),
        "livenessProbe": objects.http_probe("/health", PORT, 10, 6),
        "volumeMounts": mounts,
    }
    spec = objects.pod([container], serviceAccountName="page", volumes=volumes)
    return [
        service_account(plan, "page"),
        objects.claim(DATA_CLAIM, "page", 10, "ReadWriteOnce"),
        objects.deployment("page", "page", spec, replicas=1, strategy={"type": "Recreate"}),
        objects.service("page", "page", {"http": PORT}),
    ]
