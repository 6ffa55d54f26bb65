"""The names of podkit's settings, and what a name that is almost one of them was meant to be.

A misspelt limit must not become no limit. What cannot be ours is left alone: the provider, the Hub
and Open WebUI have settings of their own that begin alike.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

NAMES = (
    "RUNPOD_API_KEY",
    "RUNPOD_API_URL",
    "RUNPOD_JOBS_URL",
    "RUNPOD_PROXY_URL",
    "RUNPOD_NETWORK_VOLUME_ID",
    "RUNPOD_S3_ACCESS_KEY",
    "RUNPOD_S3_SECRET_KEY",
    "RUNPOD_S3_URL",
    "HF_TOKEN",
    "PREFERRED_DATACENTER",
    "PODKIT_API_KEY",
    "PODKIT_BOOT_MINUTES",
    "PODKIT_BUDGET",
    "PODKIT_CORS_ORIGINS",
    "PODKIT_DEBUG",
    "PODKIT_GPUS",
    "PODKIT_IDLE_MINUTES",
    "PODKIT_MAX_HOURS",
    "PODKIT_MAX_PRICE",
    "PODKIT_MODEL_BUCKET",
    "PODKIT_MONTHLY_BUDGET",
    "PODKIT_S3_ACCESS_KEY",
    "PODKIT_S3_REGION",
    "PODKIT_S3_SECRET_KEY",
    "PODKIT_S3_SESSION_TOKEN",
    "PODKIT_S3_URL",
    "PODKIT_SANDBOX",
    "WEBUI_ADMIN_EMAIL",
    "WEBUI_ADMIN_PASSWORD",
    "WEBUI_SECRET_KEY",
)
OPTIONS = {
    "PREFERRED_DATACENTER": "--data-center",
    "RUNPOD_NETWORK_VOLUME_ID": "--volume",
    "PODKIT_GPUS": "--gpu",
    "PODKIT_MAX_PRICE": "--max-price",
    "PODKIT_BUDGET": "--budget",
    "PODKIT_MAX_HOURS": "--max-hours",
    "PODKIT_IDLE_MINUTES": "--idle-minutes",
    "PODKIT_BOOT_MINUTES": "--boot-minutes",
}
"""The settings that have an option, and that option."""
PREFIX = re.compile(r"(PODKIT|RUNPOD|WEBUI|HF|PREFERRED)_")
NOT_OURS = re.compile(
    r"RUNPOD_(POD_|DC_|GPU_|CPU_|MEM_|PUBLIC_|TCP_|SECRET_|VOLUME_ID$|OPENAPI$)"
    r"|HF_(HOME|HUB_|ENDPOINT|TOKEN_PATH|XET_|DATASETS_|ASSETS_|INFERENCE_|DEBUG|MODULES_)"
    r"|WEBUI_(SECRET_KEY_FILE|URL|NAME|AUTH|SESSION_|ADMIN_NAME|BANNERS|FAVICON)"
    r"|PODKIT_(SANDBOX_|NO_SKIPS$|HASHES$|PICTURE_)"
)
"""What the provider injects into a pod (documentation, 2026), what huggingface_hub 1.x and Open
WebUI 0.12 read, and what podkit's own tests and sandbox are told."""
CLOSE = 0.85
"""How alike two names are, from 0 to 1, that one is taken for the other misspelt."""
DISTINCT = frozenset(
    {"BOOT_MINUTES", "CORS_ORIGINS", "IDLE_MINUTES", "MAX_HOURS", "MAX_PRICE", "MONTHLY_BUDGET"}
)
"""Names of ours without their prefix that no other program is known to read."""


def meant_name(name: str, *, in_env_file: bool) -> str:
    """The setting that `name` was meant to be; empty if it is one, or cannot be ours.

    In podkit's own `.env`, a name that is near one of ours even without its prefix is one misspelt;
    in the environment, which others share, only an unmistakable one.
    """
    if name in NAMES or NOT_OURS.match(name):
        return ""
    plain = name.strip().upper().replace("-", "_").replace(".", "_")
    if plain in NAMES:
        return plain
    near = difflib.get_close_matches(plain, NAMES, n=1, cutoff=CLOSE)
    if near:
        return near[0]
    stem = PREFIX.sub("", plain, count=1)
    if stem in DISTINCT or (in_env_file and _stems([stem])):
        return _stems([stem])[0]
    return ""


def is_unknown(name: str) -> bool:
    """Whether a name of `.env` begins like podkit's own and is no setting at all."""
    return name.startswith("PODKIT_") and name not in NAMES and not NOT_OURS.match(name)


def _stems(stems: Iterable[str]) -> list[str]:
    """The settings whose names without their prefix are near one of `stems`, the nearest first."""
    named = {PREFIX.sub("", name, count=1): name for name in NAMES}
    found = []
    for stem in stems:
        for near in difflib.get_close_matches(stem, named, n=1, cutoff=CLOSE):
            found.append(named[near])
    return found
