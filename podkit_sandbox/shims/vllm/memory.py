"""What vLLM 0.32.0 logs of its memory at a start, for the GPU that the sandbox's pod was given."""

import os

OVERHEAD_GIB = 1.75
"""Beside weights and KV cache. Not what podkit assumes, so that a boot of the sandbox teaches
something.
"""
KV_BYTES_PER_TOKEN = 57_344
"""olmOCR's, for every model: the pod does not tell it to vLLM."""


def memory_lines(utilization: float, max_model_len: int) -> str:
    """The three lines, with the weights that the pod's model declares."""
    total = float(os.environ.get("PODKIT_SANDBOX_GPU_MIB", "46068")) / 1024
    weights = float(os.environ.get("MODEL_WEIGHTS_GIB", "1"))
    left = max(total * utilization - weights - OVERHEAD_GIB, 0)
    tokens = int(left * 2**30 / KV_BYTES_PER_TOKEN)
    asked = f"{max_model_len:,} tokens per request: {tokens / max_model_len:.2f}x"
    return (
        f"Model loading took {weights:.2f} GiB memory and 1.500000 seconds\n"
        f"Available KV cache memory: {left:.2f} GiB\n"
        f"GPU KV cache size: {tokens:,} tokens, Maximum concurrency for {asked}"
    )
