"""What boots have taught about the memory that vLLM takes beside weights and KV cache.

A pod writes a line a boot into its log and into `podkit/boots.jsonl` on the volume
(startup/boot/learned.py); the laptop keeps those that it saw. Pure. A line that cannot be
understood teaches nothing, and what other GPUs or another minor version of vLLM taught is never
used.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from podkit.models.fit import Overhead

MARK = "podkit: learned "
"""What such a line begins with in a pod's log."""
LATEST = 5
"""So many of the last like boots count."""


@dataclass(frozen=True)
class Boot:
    """One boot: what ran on which GPU, and `overhead_gib`, or with `is_least` what it was at least:
    that GPU was too small.

    `vllm` is the version, `flags` a hash of what it was told about memory, `at` RFC 3339. `source`
    gave the checkpoint at `fetch_mb_per_s`, and vLLM loaded it at `load_mb_per_s`; 0 if not known.
    """

    at: str
    pod: str
    model: str
    gpu: str
    vllm: str
    flags: str
    overhead_gib: float
    weights_gib: float = 0.0
    kv_gib: float = 0.0
    kv_tokens: int = 0
    is_least: bool = False
    source: str = ""
    fetch_mb_per_s: float = 0.0
    load_mb_per_s: float = 0.0

    @property
    def vllm_minor(self) -> str:
        """`0.32` of 0.32.1: from 0.21 on what the memory estimate holds has changed between such.
        (VLLM_MEMORY_PROFILER_ESTIMATE_CUDAGRAPHS; read in vLLM's source, 2026-11).
        """
        return minor(self.vllm)


@dataclass(frozen=True)
class Learned:
    """What all known boots taught about one model with these flags on this vLLM.

    The empty model, of which no startup script is known, has only its like of GPU and vLLM.
    """

    boots: Sequence[Boot] = ()
    model: str = ""
    flags: str = ""
    vllm: str = ""

    def overhead(self, gpu: str) -> Overhead | None:
        """The median of the last boots of the same model and flags on this GPU type, else of any
        model there; None if there was none. Where none fitted: what the overhead is at least.
        """
        like = []
        for boot in self.boots:
            if boot.gpu == gpu and boot.vllm_minor == minor(self.vllm):
                like.append(boot)
        same = [boot for boot in like if (boot.model, boot.flags) == (self.model, self.flags)]
        for chosen in (same, like):
            measured = [boot for boot in chosen if not boot.is_least]
            if measured:
                return _median(measured)
        if same:
            last = max(same, key=lambda boot: boot.overhead_gib)
            return Overhead(last.overhead_gib, f"too small on {last.at[:10]}")
        return None


NOTHING = Learned()


def minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def read_boots(lines: Iterable[str]) -> list[Boot]:
    """The boots that lines of boots.jsonl, or of a pod's log, tell of; each once, oldest first."""
    found = {}
    for line in lines:
        boot = read_boot(line.partition(MARK)[2] or line)
        if boot:
            found[(boot.pod, boot.at)] = boot
    return sorted(found.values(), key=lambda boot: boot.at)


def read_boot(line: str) -> Boot | None:
    """The boot that a line tells of; None if it tells of no memory, or of what cannot be."""
    try:
        told = json.loads(line)
        return _boot(told, told["memory"])
    except (ValueError, TypeError, LookupError, OverflowError, RecursionError):
        return None


def _boot(told: dict[str, Any], memory: dict[str, Any]) -> Boot | None:
    total = float(memory["gpu_mib"]) / 1024 * float(memory["utilization"])
    weights = 0.0
    cache = 0.0
    least = memory.get("overhead_at_least_gib")
    if least is None:
        weights = float(memory["weights_gib"])
        cache = float(memory["kv_gib"])
    overhead = total - weights - cache if least is None else float(least)
    if not 0 <= overhead < total:
        return None
    return Boot(
        at=str(told["at"]),
        pod=str(told["pod"]),
        model=str(told["model"]),
        gpu=str(memory["gpu"]),
        vllm=str(memory["vllm"]),
        flags=str(memory["flags"]),
        overhead_gib=round(overhead, 3),
        weights_gib=weights,
        kv_gib=cache,
        kv_tokens=int(memory.get("kv_tokens", 0)),
        is_least=least is not None,
        **_speeds(told, memory, weights),
    )


def _speeds(told: dict[str, Any], memory: dict[str, Any], weights_gib: float) -> dict[str, Any]:
    """Where the checkpoint came from and how fast; older pods do not say."""
    source = told.get("source") or {}
    seconds = float(memory.get("load_seconds", 0))
    load = weights_gib * 2**30 / 1e6 / seconds if seconds > 0 else 0.0
    return {
        "source": str(source.get("name", "")),
        "fetch_mb_per_s": float(source.get("mb_per_s", 0)),
        "load_mb_per_s": round(load, 1),
    }


def _median(boots: Sequence[Boot]) -> Overhead:
    latest = sorted(boots, key=lambda boot: boot.at)[-LATEST:]
    gib = median(boot.overhead_gib for boot in latest)
    return Overhead(gib, f"measured {len(latest)}x, last {latest[-1].at[:10]}")
