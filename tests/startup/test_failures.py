"""What the death of each program is called."""

import pytest
from boot.failures import explain_death

from tests.startup.configurations import STARTUP

# Texts of huggingface_hub 2.4.0, uv 0.13.8, vLLM 0.32.0 and torch 2.13.
TEXTS = [
    ("hf", "Error: Access denied. Model 'a/b' requires approval.", "gated"),
    (
        "hf",
        "Client error '401 Unauthorized' for url 'https://huggingface.co/api/models/a/b'\n\n"
        "Invalid credentials in Authorization header",
        "refuses HF_TOKEN",
    ),
    (
        "hf",
        "\n\n403 Forbidden: None.\nCannot access content at: https://huggingface.co/a.",
        "refuses HF_TOKEN",
    ),
    (
        "hf",
        "Error: Model 'a/b' not found.\nIf the repo is private, make sure you are authenticated "
        "and your token has the required permissions.",
        "the checkpoint is unknown",
    ),
    ("hf", "Error: Revision not found in model 'a/b'.", "revision is unknown"),
    (
        "hf",
        "Error: Local entry not found. [Errno -2] Name or service not known",
        "Hugging Face cannot be reached",
    ),
    ("hf", "OSError: [Errno 28] No space left on device", "the disk or the volume is full"),
    ("hf", "OSError: [Errno 122] Disk quota exceeded: '/workspace/hf_cache/x'", "quota is used up"),
    (
        "uv",
        "error: Request failed after 3 retries in 7.7s\n  cause: Failed to fetch: https://index/simple/six/\n"
        "  cause: tcp connect error",
        "the package index cannot be reached",
    ),
    (
        "uv",
        "error: No solution found when resolving dependencies\n"
        "  cause: Because there is no version of six==99",
        "cannot be had any more",
    ),
    (
        "uv",
        "error: No interpreter found for Python 3.11 in managed installations or search path",
        "neither Python",
    ),
    (
        "uv",
        "error: Failed to write to the client cache\n  cause: failed to write to file `/x`: "
        "No space left on device (os error 28)",
        "the disk or the volume is full",
    ),
    (
        "vllm",
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.\n"
        "RuntimeError: Engine core initialization failed.",
        "out of GPU memory",
    ),
    (
        "vllm",
        "ValueError: Free memory on device cuda:0 (3.1/44.4 GiB) on startup is less than desired "
        "GPU memory utilization (0.9, 39.9 GiB).",
        "out of GPU memory",
    ),
    (
        "vllm",
        "ValueError: To serve at least one request with the model's max seq len (32768), (4.5 GiB "
        "KV cache is needed, which is larger than the available KV cache memory (2.1 GiB).",
        "too little GPU memory for the context",
    ),
    (
        "vllm",
        "ValueError: No available memory for the cache blocks. Try increasing",
        "too little GPU memory",
    ),
    (
        "vllm",
        "RuntimeError: The NVIDIA driver on your system is too old (found version 12040).",
        "CUDA is too old",
    ),
    ("vllm", "OSError: [Errno 98] Address already in use", "the port is taken"),
    (
        "webui",
        "ERROR: [Errno 98] error while attempting to bind on address: address already in use",
        "port is taken",
    ),
    (
        "vllm",
        "INFO 401 Unauthorized\nINFO 404 Client Error\nSegmentation fault",
        "vllm died with status 1: Seg",
    ),
    ("webui", "", "webui died with status 1:"),
]


@pytest.mark.parametrize(("program", "output", "reason"), TEXTS)
def test_each_failure_has_a_reason_and_a_fix_of_its_own(
    program: str, output: str, reason: str
) -> None:
    failure = explain_death(STARTUP / "failures.json", program, 1, output)
    assert reason in failure.reason
    assert failure.fix
    assert "\n" not in failure.reason + failure.fix
