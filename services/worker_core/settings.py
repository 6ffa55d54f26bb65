"""The workers' only door to the environment, and model.env beside each of them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    """Where the model is and what it runs on. `values` are the lines of model.env."""

    model_folder: Path
    device: str
    threads: int
    values: dict[str, str]


def read_settings(service_folder: Path) -> Settings:
    """Settings from model.env of the service and from MODEL_DIR, DEVICE and THREADS of the
    environment.
    """
    return Settings(
        model_folder=Path(os.environ.get("MODEL_DIR", "/model")),
        device=os.environ.get("DEVICE", "cpu"),
        threads=int(os.environ.get("THREADS", "0")) or usable_cpus(),
        values=read_env_file(service_folder / "model.env"),
    )


def read_env_file(path: Path) -> dict[str, str]:
    """The NAME=value lines of `path`. Values are taken as they are: nothing is expanded."""
    values = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        name, separator, value = line.partition("=")
        if separator and not line.startswith("#"):
            values[name.strip()] = value.strip()
    return values


def usable_cpus(quota_file: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """CPUs this container may use. os.cpu_count() tells the host's, of which a worker rents a
    few.
    """
    usable = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        usable = len(os.sched_getaffinity(0))
    try:
        quota, period = quota_file.read_text(encoding="ascii").split()
        usable = min(usable, max(1, int(quota) // int(period)))
    except (OSError, ValueError):
        pass  # no cgroup v2, or "max": no quota
    return usable
