"""Stands in for `hf download`: writes a checkpoint of a few KB that says it is none.

PODKIT_SANDBOX_HF_ERROR makes it fail with a text of huggingface_hub 2.4.0's own command. PODKIT_SANDBOX_HF_SECONDS
makes it take so long: meanwhile a file without content grows to the size of the weights.
"""

import json
import os
import sys
import time
from pathlib import Path

ERRORS = {
    "disk": "OSError: [Errno 28] No space left on device",
    "quota": "OSError: [Errno 122] Disk quota exceeded",
    "gated": "Error: Access denied. Model '{}' requires approval.",
    "missing": "Error: Model '{}' not found.\nIf the repo is private, make sure you are authenticated and your token "
    "has the required permissions.",
    "token": "Error: Client error '401 Unauthorized' for url 'https://huggingface.co/api/models/{}'\n\n"
    "Invalid credentials in Authorization header\nInvalid username or password.",
}

match sys.argv[1:]:
    case ["download", repo, "--revision", revision, "--local-dir", folder]:
        if error := os.environ.get("PODKIT_SANDBOX_HF_ERROR"):
            sys.exit(ERRORS[error].format(repo))
        Path(folder).mkdir(parents=True)
        seconds, weights = (
            float(os.environ.get("PODKIT_SANDBOX_HF_SECONDS", "0")),
            Path(folder, "model.incomplete"),
        )
        with weights.open("wb") as growing:
            for tenth in range(int(seconds * 10)):
                growing.truncate(
                    int(float(os.environ["MODEL_WEIGHTS_GIB"]) * 2**30 * tenth / (seconds * 10))
                )
                time.sleep(0.1)
        weights.unlink()
        Path(folder, "model.safetensors").write_bytes(bytes(8192))
        config = {"model_type": "podkit-sandbox", "stand_in_for": repo, "revision": revision}
        Path(folder, "config.json").write_text(json.dumps(config))
    case _:
        sys.exit(2)
