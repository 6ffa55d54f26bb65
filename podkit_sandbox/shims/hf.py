"""Stands in for `hf download` and `hf cache verify`: a checkpoint of a few KB that says it is none.

PODKIT_SANDBOX_HF_ERROR makes it fail with a text of huggingface_hub 2.4.0's own command; with
`damaged` the weights arrive wrong the first time. PODKIT_SANDBOX_HF_SECONDS makes it take so long:
meanwhile a file without content grows to the size of the weights.
"""

import hashlib
import json
import os
import sys
import time
from pathlib import Path

ERRORS = {
    "disk": "OSError: [Errno 28] No space left on device",
    "quota": "OSError: [Errno 122] Disk quota exceeded",
    "gated": "Error: Access denied. Model '{}' requires approval.",
    "missing": (
        "Error: Model '{}' not found.\n"
        "If the repo is private, make sure you are authenticated and your token has the required "
        "permissions."
    ),
    "token": (
        "Error: Client error '401 Unauthorized' for url 'https://huggingface.co/api/models/{}'\n\n"
        "Invalid credentials in Authorization header\nInvalid username or password."
    ),
}
WEIGHTS = bytes(8192)
STEP_SECONDS = 0.1


def grow(path: Path, seconds: float) -> None:
    """A file that grows to the size of the weights in that time, and goes."""
    steps = int(seconds / STEP_SECONDS)
    size = int(float(os.environ.get("MODEL_WEIGHTS_GIB", "0")) * 2**30)
    with path.open("wb") as growing:
        for step in range(steps):
            growing.truncate(size * step // steps)
            time.sleep(STEP_SECONDS)
    path.unlink()


def download(repo: str, revision: str, folder: Path) -> None:
    """Writes the checkpoint. Ends the program if it is to fail."""
    error = os.environ.get("PODKIT_SANDBOX_HF_ERROR")
    if error in ERRORS:
        sys.exit(ERRORS[error].format(repo))
    content = WEIGHTS
    if error == "damaged" and not (folder / "config.json").exists():
        content = b"damaged"
    folder.mkdir(parents=True, exist_ok=True)
    seconds = float(os.environ.get("PODKIT_SANDBOX_HF_SECONDS", "0"))
    grow(folder / "model.incomplete", seconds)
    (folder / "model.safetensors").write_bytes(content)
    config = {"model_type": "podkit-sandbox", "stand_in_for": repo, "revision": revision}
    (folder / "config.json").write_text(json.dumps(config))


def verify(repo: str, folder: Path) -> None:
    """Ends the program with 1 and the words of huggingface_hub 2.4.0 unless the weights
    are right.
    """
    weights = folder / "model.safetensors"
    failed = f"Error: Verification failed for '{repo}' (model) in {folder}."
    if not weights.exists():
        print(f"Missing files (present remotely, absent locally):\n  - {weights.name}")
        sys.exit(failed)
    expected = hashlib.sha256(WEIGHTS).hexdigest()
    found = hashlib.sha256(weights.read_bytes()).hexdigest()
    if found != expected:
        print("Checksum verification failed for the following file(s):")
        print(f"  - {weights.name}: expected {expected} (sha256), got {found}")
        sys.exit(failed)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["download", repo, "--revision", revision, "--local-dir", folder]:
            download(repo, revision, Path(folder))
        case ["cache", "verify", repo, "--revision", _, "--local-dir", folder, _]:
            verify(repo, Path(folder))
        case _:
            sys.exit(2)
