"""The pod that a deploy asks for: its environment, from the settings and the model. Pure."""

from __future__ import annotations

import math
from datetime import UTC, datetime

from podkit.models.spec import Model
from podkit.runpod.types import PodSpec
from podkit.secret import Secret
from podkit.settings import PROXY_URL, SANDBOX_PROXY_URL, Settings

KEPT_SECONDS = 1800
"""How long a pod that failed and is to be kept waits before it ends itself."""


def ends_at(now: datetime, max_hours: float) -> str:
    """The end time in the pod's environment, rounded up to a second; empty if there is none."""
    if not max_hours:
        return ""
    moment = math.ceil(now.timestamp() + max_hours * 3600)
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def pod_spec(
    settings: Settings,
    model: Model,
    gpu_type: str,
    name: str,
    volume_id: str,
    now: datetime,
) -> PodSpec:
    """The pod to ask for. The account's own RUNPOD_API_KEY is never in it.

    What it serves is told in its environment, so that a list of pods unpacks no archive.
    """
    env: dict[str, str | Secret] = {
        "PODKIT_MODEL": model.name,
        "PODKIT_SERVED_NAME": model.served_name,
        "PODKIT_CHECKPOINT": model.checkpoint,
        "PODKIT_ENDS_AT": ends_at(now, settings.max_hours),
        "PODKIT_IDLE_MINUTES": f"{settings.idle_minutes:g}",
        "PODKIT_BOOT_MINUTES": f"{settings.boot_minutes:g}",
        "STARTUP_B64": model.startup_b64,
    }
    if settings.cors_origins:
        env["PODKIT_CORS_ORIGINS"] = settings.cors_origins
    if settings.keep_failed:
        env["PODKIT_GRACE_SECONDS"] = str(KEPT_SECONDS)
    if settings.force:
        env["PODKIT_FORCE"] = "1"
    if settings.proxy_url not in (PROXY_URL, SANDBOX_PROXY_URL):
        env["PODKIT_WEBUI_URL"] = settings.proxy_url
    if "s3" in model.sources and settings.model_bucket:
        env.update(_bucket(settings))
    env.update(settings.secrets)
    env.update(model.env)
    return PodSpec(name, gpu_type, settings.data_center, volume_id, model.command, env)


def _bucket(settings: Settings) -> dict[str, str | Secret]:
    """Where a pod finds the models of the user's own bucket, and the keys to it."""
    access = settings.model_s3
    env: dict[str, str | Secret] = {
        "PODKIT_MODEL_BUCKET": settings.model_bucket,
        "PODKIT_S3_URL": access.url,
        "PODKIT_S3_REGION": access.region,
    }
    if access:
        env["PODKIT_S3_ACCESS_KEY"] = access.access_key
        env["PODKIT_S3_SECRET_KEY"] = access.secret_key
    if access.session_token:
        env["PODKIT_S3_SESSION_TOKEN"] = access.session_token
    return env
