"""Stands in for `hf download`: writes a checkpoint of a few KB that says it is none.

PODKIT_SANDBOX_HF_ERROR makes it fail with the texts of huggingface_hub 2.4.0's own command.
"""

import argparse
import errno
import json
import os
import sys
import time
from pathlib import Path

ERRORS = {
    "gated": "Access denied. Model '{repo}' requires approval.",
    "missing": "Model '{repo}' not found.\nIf the repo is private, make sure you are authenticated and your token "
    "has the required permissions.\nIf the repo does not exist, create it with: hf repos create {repo}",
    "token": "Client error '401 Unauthorized' for url 'https://huggingface.co/api/models/{repo}/revision/"
    "{revision}'\n\nInvalid credentials in Authorization header\nInvalid username or password.",
}
HEADER = json.dumps({"stand_in": {"dtype": "U8", "shape": [8192], "data_offsets": [0, 8192]}}).encode()


def main() -> None:
    """Downloads nothing: the weights in several steps, config.json last."""
    parser = argparse.ArgumentParser(prog="hf")
    download = parser.add_subparsers(required=True).add_parser("download")
    download.add_argument("repo")
    download.add_argument("--revision", default="main")
    download.add_argument("--local-dir", type=Path, required=True)
    download.add_argument("--max-workers", type=int)
    args = parser.parse_args()
    error = os.environ.get("PODKIT_SANDBOX_HF_ERROR", "")
    if error == "disk":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if error:
        sys.exit(f"Error: {ERRORS[error].format_map(vars(args))}")
    args.local_dir.mkdir(parents=True, exist_ok=True)
    with (args.local_dir / "model.safetensors").open("wb") as weights:
        weights.write(len(HEADER).to_bytes(8, "little") + HEADER)
        for _ in range(4):
            weights.write(bytes(2048))
            weights.flush()
            time.sleep(0.05)
    config = {"model_type": "podkit-sandbox", "stand_in_for": args.repo, "revision": args.revision}
    (args.local_dir / "config.json").write_text(json.dumps(config))
    print(f"Downloaded\n  path: {args.local_dir}")


if __name__ == "__main__":
    main()
