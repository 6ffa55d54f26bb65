"""What a boot teaches about memory: vLLM's own figures, in the log and in boots.jsonl, from
which the laptop learns how a model fits a GPU.

It must never end a boot: a vLLM that words its lines otherwise only teaches nothing.
"""

import json
import re
import time
from contextlib import suppress
from typing import Any

from pod_log import say

from boot.checks import Gpu
from boot.configuration import Configuration
from boot.failures import Fatal
from boot.fit import flags_hash
from boot.packages import PACKAGES

FIGURES = {
    "weights_gib": re.compile(r"Model loading took ([\d.]+) GiB memory"),
    "load_seconds": re.compile(r"Model loading took [\d.]+ GiB memory and ([\d.]+) seconds"),
    "kv_gib": re.compile(r"Available KV cache memory: ([\d.]+) GiB"),
    "kv_tokens": re.compile(r"GPU KV cache size: ([\d,]+) tokens"),
}
"""As vLLM 0.32.0 writes them; the last of each counts."""
TOO_SMALL = re.compile(
    "No available memory for the cache blocks|larger than the available KV cache memory"
)
"""What vLLM 0.32.0 says where one request of full length has no room: its overhead is at least as
large as what was left.
"""


def lesson(configuration: Configuration, gpu: Gpu, output: str) -> dict[str, Any]:
    """A line of boots.jsonl as far as vLLM's `output` tells: what ran on which GPU, and its
    memory.
    """
    model = configuration.model
    memory: dict[str, Any] = {
        "gpu": gpu.name,
        "gpu_mib": gpu.mib,
        "vllm": PACKAGES["vllm"].partition("==")[2],
        "flags": flags_hash(model.flags, model.needs),
        "utilization": model.needs.utilization,
    }
    for name, pattern in FIGURES.items():
        found = pattern.findall(output)
        if found:
            memory[name] = float(found[-1].replace(",", ""))
    return {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "pod": configuration.pod,
        "model": model.name,
        "revision": model.revision,
        "memory": memory,
    }


def lesson_of_failure(
    configuration: Configuration, gpu: Gpu, failure: Fatal
) -> dict[str, Any] | None:
    """What a boot that failed teaches: nothing, but for a GPU that was too small."""
    if not TOO_SMALL.search(failure.output):
        return None
    line = lesson(configuration, gpu, "")
    needs = configuration.model.needs
    room = needs.weights_gib + needs.max_len * needs.kv_bytes_per_token / 2**30
    left = needs.utilization * gpu.mib / 1024 - room
    line["memory"]["overhead_at_least_gib"] = round(max(left, 0), 3)
    return line


def tell(line: dict[str, Any]) -> None:
    """Logs what a boot teaches: the laptop keeps it (podkit/models/learned.py reads this form)."""
    say(f"learned {json.dumps(line)}")


def keep(configuration: Configuration, line: dict[str, Any]) -> None:
    """Adds a line to boots.jsonl on the volume."""
    with suppress(OSError), open(configuration.volume / "podkit" / "boots.jsonl", "a") as file:
        file.write(json.dumps(line) + "\n")
