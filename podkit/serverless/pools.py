"""Which pools a service's workers are taken from: the API selects pools, and subtracts types. Pure.

There is no list of allowed types. A type that the provider later adds to a pool may run workers,
until the next deploy subtracts it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from podkit.errors import UsageError
from podkit.runpod.endpoint_types import WorkerGpu
from podkit.serverless.config import Service
from podkit.serverless.problems import nearest

DOCUMENTED_POOLS = {
    "AMPERE_16": (
        "NVIDIA RTX A4000",
        "NVIDIA RTX A4500",
        "NVIDIA RTX 4000 Ada Generation",
        "NVIDIA RTX 2000 Ada Generation",
    ),
    "AMPERE_24": ("NVIDIA L4", "NVIDIA RTX A5000", "NVIDIA GeForce RTX 3090"),
    "ADA_24": ("NVIDIA GeForce RTX 4090",),
    "AMPERE_48": ("NVIDIA RTX A6000", "NVIDIA A40"),
    "ADA_48_PRO": ("NVIDIA L40", "NVIDIA L40S", "NVIDIA RTX 6000 Ada Generation"),
    "AMPERE_80": ("NVIDIA A100 80GB PCIe", "NVIDIA A100-SXM4-80GB"),
    "ADA_80_PRO": ("NVIDIA H100 80GB HBM3", "NVIDIA H100 PCIe", "NVIDIA H100 NVL"),
    "HOPPER_141": ("NVIDIA H200",),
}
"""The pools of the provider's documentation (November 2026), for a dry run, which asks nobody."""


def documented_catalogue() -> list[WorkerGpu]:
    """DOCUMENTED_POOLS as a catalogue without memory, prices and stock."""
    found = []
    for pool, types in DOCUMENTED_POOLS.items():
        for name in types:
            found.append(WorkerGpu(id=name, pool=pool, memory=0, price=None, stock={}))
    return found


def gpu_selection(service: Service, catalogue: Sequence[WorkerGpu]) -> dict[str, Any]:
    """The `gpu` of a request: pools, the types of them that are not wanted, and what a host needs.

    Raises UsageError with all problems at once, as the field `problems`.
    """
    if service.gpu_types:
        pools, excluded, problems = _of_types(service, catalogue)
    else:
        pools = list(service.gpu_pools)
        excluded = list(service.gpu_excluded)
        problems = _problems_of_pools(service, catalogue)
    if problems:
        raise UsageError("; ".join(problems), "./podkit.sh gpus lists types", problems=problems)
    gpu: dict[str, Any] = {"pools": pools, "count": service.gpu_count}
    if excluded:
        gpu["excludedTypes"] = excluded
    if service.min_cuda:
        gpu["minCudaVersion"] = service.min_cuda
    return gpu


def _of_types(
    service: Service,
    catalogue: Sequence[WorkerGpu],
) -> tuple[list[str], list[str], list[str]]:
    """The pools of the wanted types, all other types of those pools, and what is wrong."""
    by_id = {gpu.id: gpu for gpu in catalogue}
    pools: list[str] = []
    problems = []
    for name in service.gpu_types:
        gpu = by_id.get(name)
        if gpu is None:
            near = nearest(name, by_id)
            problems.append(f"{service.block}.gpu_types: {name} is no GPU type{near}")
        elif not gpu.pool:
            problems.append(f"{service.block}.gpu_types: {name} is in no pool for serverless")
        elif gpu.pool not in pools:
            pools.append(gpu.pool)
    excluded = []
    for gpu in catalogue:
        if gpu.pool in pools and gpu.id not in service.gpu_types:
            excluded.append(gpu.id)
    return pools, excluded, problems


def _problems_of_pools(service: Service, catalogue: Sequence[WorkerGpu]) -> list[str]:
    known = sorted({gpu.pool for gpu in catalogue if gpu.pool})
    problems = []
    for pool in service.gpu_pools:
        if pool not in known:
            problems.append(f"{service.block}.gpu_pools: {pool} is no pool{nearest(pool, known)}")
    chosen = [gpu.id for gpu in catalogue if gpu.pool in service.gpu_pools]
    for name in service.gpu_excluded:
        if name not in chosen:
            near = nearest(name, chosen)
            problems.append(f"{service.block}.gpu_excluded: {name} is not in gpu_pools{near}")
    if not problems and {*chosen} <= {*service.gpu_excluded}:
        problems.append(f"{service.block}.gpu_excluded leaves no GPU type of gpu_pools")
    return problems
