"""Fetches the worker's voice from the Hub: python convert.py TARGET."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

SERVICE = Path(__file__).resolve().parent
sys.path.insert(0, str(SERVICE.parent))

from worker_core.model_card import ModelCard, write_card  # noqa: E402
from worker_core.settings import read_env_file  # noqa: E402
from worker_core.snapshot import fetch_snapshot  # noqa: E402


def main(target: Path) -> None:
    values = read_env_file(SERVICE / "model.env")
    folder = values["MODEL_FOLDER"]
    target.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as fetched:
        fetch_snapshot(
            values["MODEL_REPO"],
            values["MODEL_REVISION"],
            Path(fetched),
            only=f"{folder}/*",
        )
        for name in ("model.onnx", "tokens.txt"):
            shutil.copyfile(Path(fetched) / folder / name, target / name)
    card = ModelCard(
        repo=f"{values['MODEL_REPO']}/{folder}",
        revision=values["MODEL_REVISION"],
        quantization=values["QUANTIZATION"],
        licence=values["LICENCE"],
    )
    write_card(target, card)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
