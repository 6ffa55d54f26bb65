"""A pod's configuration for tests: whole, with every secret one that can be found again."""

from pathlib import Path

from boot.configuration import Configuration, read_configuration

STARTUP = Path(__file__).parents[2] / "startup"
WHOLE = {
    "PATH": "/usr/bin:/bin",
    "PODKIT_API_KEY": "key",
    "PODKIT_MODEL": "olmocr",
    "WEBUI_ADMIN_EMAIL": "admin@podkit.local",
    "WEBUI_ADMIN_PASSWORD": "p" * 72,
    "WEBUI_SECRET_KEY": "0f" * 32,
    "RUNPOD_API_KEY": "rp_secret",
    "RUNPOD_POD_ID": "pod1",
    "HF_TOKEN": "hf_secret",
    "MODEL_REPO": "allenai/olmOCR-2-7B-1025-FP8",
    "MODEL_REVISION": "0" * 40,
    "MODEL_SOURCES": "volume hf",
    "MODEL_SERVED_NAMES": "olmocr allenai/olmOCR",
    "MODEL_MAX_LEN": "16384",
    "MODEL_GPU_UTILIZATION": "0.90",
    "MODEL_WEIGHTS_GIB": "9.37",
    "MODEL_KV_BYTES_PER_TOKEN": "57344",
    "MODEL_PROBE": "image",
    "MODEL_VLLM_FLAGS": '--mm-processor-kwargs {"max_pixels":1}',
}


def configured(folder: Path, **changes: str) -> Configuration:
    """A pod whose disk and volume are in `folder`; `changes` are names of its environment."""
    folders = {"PODKIT_LOCAL": str(folder / "local"), "PODKIT_VOLUME": str(folder / "volume")}
    (folder / "volume").mkdir(exist_ok=True)
    return read_configuration({**WHOLE, **folders, **changes}, STARTUP)
