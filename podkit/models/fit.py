"""Whether a model fits a GPU, from arithmetic alone: weights, KV cache and an assumed overhead
against its memory.

Pure: nothing here asks a catalogue, a checkpoint or a pod, and nothing of podkit is imported. The
pod does the same sum again with this file: startup/boot/fit.py is a link to it, and travels as a
file.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

GIB = 2**30
OVERHEAD_GIB = 2.5
SMALL_OVERHEAD_GIB = 2.0
"""What vLLM takes beside weights and KV cache: activations, CUDA graphs, libraries. Assumed, the
smaller one up to 24 GiB of GPU memory (2026-11-20).
"""
LARGE_OVERHEAD_GIB = 9.5
"""The same where it was far more: 9.37 GiB of activations and 0.10 beside them, of an engine told
to take very many requests at once (vllm-project/vllm issue 12330, 2025-01).
"""


@dataclass(frozen=True)
class Needs:
    """What a model needs: weights in GiB, bytes of KV cache per token, the longest request in
    tokens, and the share of the GPU's memory that vLLM may take (--gpu-memory-utilization).

    Raises ValueError for numbers that cannot be.
    """

    weights_gib: float
    kv_bytes_per_token: int
    max_len: int
    utilization: float

    def __post_init__(self) -> None:
        sizes = (self.weights_gib, self.kv_bytes_per_token, self.max_len)
        if not all(0 < size < 1e15 for size in sizes) or not 0 < self.utilization <= 1:
            raise ValueError(f"no model needs this: {self}")


@dataclass(frozen=True)
class Overhead:
    """What vLLM takes beside weights and KV cache, in GiB, as boots have shown; `told` says of
    which."""

    gib: float
    told: str


@dataclass(frozen=True)
class Fit:
    """How a model fits a GPU: `verdict` is "fits", "tight" or "no".

    Tight: room for one request of full length and not for two, or not for one if the overhead is
    large and was not measured. `kv_tokens` is how many tokens the KV cache holds, over all
    requests; `context` the longest request it can hold, at most what the model declares; `at_once`
    how many requests of full length; `missing_gib` the GPU memory, in GiB, that is lacking for
    "no". `overhead_gib` is what the sum took, and `measured` says which boots showed it, empty if
    it is assumed.
    """

    verdict: str
    kv_tokens: int
    context: int
    at_once: int
    missing_gib: float
    overhead_gib: float
    measured: str = ""

    def __str__(self) -> str:
        known = f", {self.measured}" if self.measured else ""
        if self.verdict == "no":
            return f"no ({math.ceil(self.missing_gib * 10) / 10:.1f} GiB too small{known})"
        return f"{self.verdict} ({self.context:,} tokens x {self.at_once}{known})"


def assumed_overhead_gib(gib: float) -> float:
    """The GiB that vLLM takes beside weights and KV cache on a GPU of `gib` GiB."""
    return SMALL_OVERHEAD_GIB if gib <= 24 else OVERHEAD_GIB


def kv_tokens(needs: Needs, gib: float, overhead_gib: float) -> int:
    """The tokens that the KV cache holds on a GPU of `gib` GiB."""
    left = gib * needs.utilization - needs.weights_gib - overhead_gib
    return int(max(left, 0) * GIB / needs.kv_bytes_per_token)


def holds_one_request(needs: Needs, gib: float) -> bool:
    """Whether a GPU of `gib` GiB has room for one request of full length: without it vLLM does not
    start.
    """
    return kv_tokens(needs, gib, assumed_overhead_gib(gib)) >= needs.max_len


def flags_hash(flags: str, needs: Needs) -> str:
    """12 hex digits that are the same for boots whose vLLM was told the same about memory."""
    told = f"{' '.join(flags.split())} {needs.max_len} {needs.utilization:g}"
    return hashlib.sha256(told.encode()).hexdigest()[:12]


def fit(needs: Needs, memory_gb: int, measured: Overhead | None = None) -> Fit:
    """How a model fits a GPU of `memory_gb` GB as the catalogue counts them, with the overhead that
    was measured there, else an assumed one.

    These are taken as 10^9 bytes, which is never more than there is: with error correction on, an
    L40S of 48 GB reports 46,068 MiB and an L4 of 24 GB reports 23,034 MiB (nvidia-smi). vLLM does
    not start if one request of full length does not fit into the KV cache.
    """
    gib = memory_gb * 1e9 / GIB
    overhead = assumed_overhead_gib(gib)
    largest = LARGE_OVERHEAD_GIB
    if measured:
        overhead = measured.gib
        largest = measured.gib
    tokens = kv_tokens(needs, gib, overhead)
    at_once = tokens // needs.max_len
    sure = at_once > 1 and kv_tokens(needs, gib, largest) >= needs.max_len
    verdict = "no"
    if sure:
        verdict = "fits"
    elif at_once:
        verdict = "tight"
    least = needs.weights_gib + overhead + needs.max_len * needs.kv_bytes_per_token / GIB
    missing = max(least / needs.utilization - gib, 0)
    told = measured.told if measured else ""
    return Fit(
        verdict,
        tokens,
        min(tokens, needs.max_len),
        at_once,
        missing,
        overhead_gib=overhead,
        measured=told,
    )
