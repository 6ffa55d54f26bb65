"""The GPUs that an export knows: what they have, and what Azure calls and charges for them.

Prices are USD an hour on demand in eastus, as read on PRICED_AT; docs/kubernetes.md says how to
read them again. A size that Azure retired is refused by its name, with what replaces it.
"""

from __future__ import annotations

from dataclasses import dataclass

from podkit.errors import UsageError

PRICED_AT = "2026-11-09"
RUNPOD_A100 = 1.39
"""USD an hour of the same A100 80 GB at RunPod (Secure Cloud), for the comparison in the README."""


@dataclass(frozen=True)
class Gpu:
    """A GPU type of the cluster: `memory_gb` as `models.fit` takes it, what an engine asks of its
    node beside the GPU, the Azure size that has one, and `family`, which Azure counts quota by.
    """

    name: str
    memory_gb: int
    size: str
    family: str
    cores: int
    cpu: str
    memory: str
    reader: tuple[str, str]
    """Cores and memory of the toolkit beside an engine, on the same node."""
    price: float | None
    flags: tuple[str, ...] = ()
    """What vLLM has to be told on this GPU alone."""


GPUS = {
    "a100": Gpu(
        name="a100",
        memory_gb=80,
        size="Standard_NC24ads_A100_v4",
        family="StandardNCADSA100v4Family",
        cores=24,
        cpu="8",
        memory="48Gi",
        reader=("8", "48Gi"),
        price=3.673,
    ),
    "h100": Gpu(
        name="h100",
        memory_gb=94,
        size="Standard_NC40ads_H100_v5",
        family="StandardNCadsH100v5Family",
        cores=40,
        cpu="8",
        memory="48Gi",
        reader=("8", "48Gi"),
        price=6.98,
    ),
    "t4": Gpu(
        name="t4",
        memory_gb=16,
        size="Standard_NC4as_T4_v3",
        family="Standard NCASv3_T4 Family",
        cores=4,
        cpu="2",
        memory="16Gi",
        reader=("1", "6Gi"),
        price=None,
        flags=("--dtype", "half"),  # compute capability 7.5 has no bfloat16
    ),
}
RETIRED = {
    "v100": "a100",
    "standard_nc6": "t4",
    "standard_nc6s_v2": "a100",
    "standard_nc6s_v3": "a100",
    "standard_nc12s_v3": "a100",
    "standard_nc24s_v3": "a100",
}
"""Sizes that Azure took away (NCv3: 2025-09-30), and the GPU to use now."""


def find_gpu(asked: str) -> Gpu:
    """The GPU by its name here, or by its Azure size. Raises UsageError naming what there is."""
    name = asked.lower()
    if name in RETIRED:
        raise UsageError(f"{asked} was retired by Azure", f"use --gpu {RETIRED[name]}")
    for gpu in GPUS.values():
        if name in (gpu.name, gpu.size.lower()):
            return gpu
    raise UsageError(f"no GPU {asked!r} is known to an export", f"--gpu {'|'.join(GPUS)}")
