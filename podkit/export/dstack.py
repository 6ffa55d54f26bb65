"""The same models as services or tasks of dstack, for who rents from several clouds.

The checkpoint, its revision and vLLM's flags are a pod's own, but for RequestGuard: a service
stands behind dstack's own login, a task's port is reached through its tunnel alone. When a run
begins and ends is dstack's business: podkit's watchdog is not in it. Pure: no account, no network,
no clock.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from podkit.errors import UsageError
from podkit.export import objects
from podkit.export.engine import PORT, read_flags
from podkit.export.engines import engine_image
from podkit.export.versions import pinned_version
from podkit.models.fit import Needs, fit
from podkit.models.spec import read_model

GPU_SIZES = (16, 24, 32, 40, 48, 80, 94, 141)
"""GB of the GPU types that are rented out."""
VOLUME = "podkit-models"
MOUNT = "/workspace"
LEAST_USE = 1
"""Percent of the GPU below which a run is idle: one request is far more."""


@dataclass(frozen=True)
class Run:
    """What an export to dstack is made for: `kind` is service or task, `region` empty for any
    cloud and place, `volume_id` empty for a new volume. Hours and minutes, 0 for no limit.
    """

    kind: str
    region: str
    volume_id: str
    max_hours: float
    idle_minutes: float


def build_tree(startup: Path, models: tuple[str, ...], run: Run) -> dict[str, str]:
    """Every file of the export. Raises UsageError for a model that fits no GPU."""
    tree = {}
    for name in models:
        tree[f"{name}.dstack.yml"] = objects.dump(configuration(startup, name, run))
    if run.region:
        tree["volume.dstack.yml"] = objects.dump(volume(run))
    tree["README.md"] = readme(models, run)
    return tree


def configuration(startup: Path, name: str, run: Run) -> dict[str, Any]:
    """The .dstack.yml of one model."""
    model = read_model(startup, name)
    if model.needs is None:
        raise UsageError(f"startup_{name}.sh does not say what it needs")
    repo, _, revision = model.checkpoint.partition("@")
    flags = read_flags(startup, name)
    serve = ["vllm", "serve", repo, "--revision", revision, *flags]
    found: dict[str, Any] = {
        "type": run.kind,
        "name": f"podkit-{name}",
        "image": engine_image(pinned_version(startup, "vllm")),
        "env": environment(run),
        "commands": [shlex.join(serve)],
        "resources": {
            "gpu": {"vendor": "nvidia", "memory": f"{least_gpu(name, model.needs)}GB..", "count": 1}
        },
        "spot_policy": "on-demand",
        **limits(run),
    }
    if run.kind == "service":
        found |= {"port": PORT, "model": model.served_name, "auth": True}
    else:
        found["ports"] = [PORT]
    if run.region:
        mount = {"name": VOLUME, "path": MOUNT}
        found |= {"backends": ["runpod"], "regions": [run.region], "volumes": [mount]}
    return found


def environment(run: Run) -> dict[str, str]:
    """Where the checkpoint and what vLLM compiles are kept: on the volume, if there is one."""
    if not run.region:
        return {}
    return {"HF_HOME": f"{MOUNT}/dstack/hf", "VLLM_CACHE_ROOT": f"{MOUNT}/dstack/vllm"}


def limits(run: Run) -> dict[str, Any]:
    """When dstack ends a run by itself."""
    found: dict[str, Any] = {}
    if run.max_hours:
        found["max_duration"] = f"{round(run.max_hours * 60)}m"
    if run.idle_minutes:
        window = f"{round(run.idle_minutes)}m"
        found["utilization_policy"] = {"min_gpu_utilization": LEAST_USE, "time_window": window}
    return found


def volume(run: Run) -> dict[str, Any]:
    """The network volume: the one with that id, or a new one."""
    found: dict[str, Any] = {"type": "volume", "name": VOLUME, "backend": "runpod"}
    found["region"] = run.region
    if run.volume_id:
        return {**found, "volume_id": run.volume_id}
    return {**found, "size": "100GB"}


def least_gpu(name: str, needs: Needs) -> int:
    """GB of the smallest GPU on which a model fits for sure."""
    for memory in GPU_SIZES:
        if fit(needs, memory).verdict == "fits":
            return memory
    raise UsageError(f"{name} fits no single GPU of up to {GPU_SIZES[-1]} GB")


def readme(models: tuple[str, ...], run: Run) -> str:
    """The steps, in their order."""
    ends = []
    if run.idle_minutes:
        ends.append(f"after {run.idle_minutes:g} minutes of an idle GPU")
    if run.max_hours:
        ends.append(f"after {run.max_hours:g} hours")
    lines = [
        "# podkit's models on dstack",
        "",
        "You need a dstack server (0.22.5) whose config has your clouds, and its CLI. The server",
        "has to stay up: it ends the runs. Then, in this folder:",
        "",
    ]
    if run.region:
        lines.append("    dstack apply -y -f volume.dstack.yml    # billed until it is deleted")
    for name in models:
        lines.append(f"    dstack apply -f {name}.dstack.yml    # shows what it costs, and asks")
    lines += ["    dstack ps    # what runs, and what it costs", ""]
    lines.append(f"dstack ends a run {' or '.join(ends) or 'never by itself'}; you end it with:")
    lines.append("")
    lines += [f"    dstack stop -y podkit-{name}" for name in models]
    reach = "A service is reached at the URL that dstack prints, with your dstack token as the key."
    if run.kind == "task":
        reach = f"While `dstack apply` is attached the API is at http://127.0.0.1:{PORT}/v1."
    lines += ["", reach, "podkit's own commands do not see these runs: `dstack ps` does."]
    lines += [
        "A model that asks for your Hugging Face token: `dstack secret set hf_token VALUE`, and"
    ]
    lines += ["`HF_TOKEN: ${{ secrets.hf_token }}` below `env`.", ""]
    return "\n".join(lines)
