"""Makes the worker's model from a Whisper on the Hub: python convert.py TARGET [SNAPSHOT].

SNAPSHOT: a folder with the files of the revision; without it they are fetched.
"""

from __future__ import annotations

import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from ctranslate2.converters import TransformersConverter

SERVICE = Path(__file__).resolve().parent
sys.path.insert(0, str(SERVICE.parent))

from worker_core.model_card import ModelCard, write_card  # noqa: E402
from worker_core.settings import read_env_file  # noqa: E402
from worker_core.snapshot import fetch_snapshot  # noqa: E402

COPIED = ["tokenizer.json", "preprocessor_config.json"]
"""What faster-whisper reads beside the model. Without tokenizer.json it would fetch another one
when it starts.
"""


def convert(snapshot: Path, target: Path, values: dict[str, str]) -> None:
    """Fills `target` with the model of `snapshot`."""
    converter = TransformersConverter(str(snapshot), copy_files=COPIED)
    converter.convert(str(target), quantization=values["QUANTIZATION"])
    card = ModelCard(
        repo=values["MODEL_REPO"],
        revision=values["MODEL_REVISION"],
        quantization=values["QUANTIZATION"],
        licence=values["LICENCE"],
    )
    write_card(target, card, converter=f"ctranslate2 {version('ctranslate2')}")


def main(target: Path, snapshot: Path | None) -> None:
    values = read_env_file(SERVICE / "model.env")
    with tempfile.TemporaryDirectory() as fetched:
        if snapshot is None:
            fetch_snapshot(values["MODEL_REPO"], values["MODEL_REVISION"], Path(fetched))
        convert(snapshot or Path(fetched), target, values)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)
