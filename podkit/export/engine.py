"""A model as an engine of a cluster runs it, from the files that a pod runs it by.

The flags are those of startup/vllm.flags but for RequestGuard, whose place the cluster's network
policies take; the environment is that of startup/vllm.env but for paths, keys and the guard's own.
Pure: nothing here knows Kubernetes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template

from podkit.errors import UsageError
from podkit.export.sizes import Gpu
from podkit.models.fit import Fit, fit
from podkit.models.spec import declared_values, read_model

PORT = 8000
LOCAL = "/cache"
"""The folder of an engine for what it compiles, in place of a pod's own disk."""
STORE = "/models"
"""Where the shared folder of checkpoints is mounted."""
NOT_IN_A_CLUSTER = ("VLLM_API_KEY", "PODKIT_CORS_ORIGINS", "PYTHONPATH", "PATH")
"""Lines of vllm.env that are of the pod's guard, paths or secrets."""


@dataclass(frozen=True)
class Engine:
    """One model: its checkpoint, the names that clients ask for, and how vLLM is started."""

    name: str
    repo: str
    revision: str
    served_names: tuple[str, ...]
    weights_gib: float
    max_len: int
    flags: tuple[str, ...]
    env: Mapping[str, str]
    fit: Fit

    @property
    def served_name(self) -> str:
        return self.served_names[0]

    @property
    def folder(self) -> str:
        """The checkpoint's folder, named as on a pod's volume."""
        return f"{self.repo.replace('/', '--')}@{self.revision}"

    @property
    def path(self) -> str:
        return f"{STORE}/{self.folder}"

    @property
    def command(self) -> list[str]:
        """The whole command line of the engine."""
        return ["vllm", "serve", self.path, *self.flags]

    def flags_without(self, *names: str) -> list[str]:
        """The flags but for these, which something else gives."""
        return without(list(self.flags), *names)


def without(flags: list[str], *names: str) -> list[str]:
    """`flags` without those named and their values."""
    kept = []
    dropping = False
    for word in flags:
        if word.startswith("--"):
            dropping = word in names
        if not dropping:
            kept.append(word)
    return kept


def read_engine(startup: Path, name: str, gpu: Gpu) -> Engine:
    """The model `name` of the folder `startup` on this GPU.

    Raises UsageError for one that is not there, or has no room on the GPU.
    """
    model = read_model(startup, name)
    if model.needs is None:
        raise UsageError(f"startup_{name}.sh does not say what it needs")
    room = fit(model.needs, gpu.memory_gb)
    if room.verdict == "no":
        raise UsageError(f"{name} on {gpu.name}: {room}", "take a larger one: --gpu")
    script = (startup / f"startup_{name}.sh").read_text(encoding="utf-8")
    values = declared_values(script)
    repo, _, revision = model.checkpoint.partition("@")
    return Engine(
        name=name,
        repo=repo,
        revision=revision,
        served_names=tuple(values["MODEL_SERVED_NAMES"].split()),
        weights_gib=model.needs.weights_gib,
        max_len=model.needs.max_len,
        flags=(*read_flags(startup, name), *gpu.flags),
        env=read_env(startup),
        fit=room,
    )


def read_flags(startup: Path, name: str) -> list[str]:
    """vLLM's flags for the model `name`, as a pod gives them but for RequestGuard."""
    script = (startup / f"startup_{name}.sh").read_text(encoding="utf-8")
    values = {**declared_values(script), "PODKIT_API_PORT": str(PORT)}
    flags = Template((startup / "vllm.flags").read_text(encoding="utf-8")).substitute(values)
    return without(flags.split(), "--middleware")


def read_env(startup: Path) -> dict[str, str]:
    """The environment of vLLM, without what is of a pod alone."""
    env = {"HOME": LOCAL}
    for line in (startup / "vllm.env").read_text(encoding="utf-8").splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#") and name not in NOT_IN_A_CLUSTER:
            env[name] = Template(value).substitute(PODKIT_LOCAL=LOCAL)
    return env
