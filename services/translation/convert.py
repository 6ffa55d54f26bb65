"""Makes the worker's model from one on the Hub: python convert.py TARGET [SNAPSHOT].

SNAPSHOT: a folder with the files of the revision; without it they are fetched. The converter is
given a folder in any case: from a name it would take weights of the revision, but tokenizer and
configuration of the default branch (ctranslate2 4.8.5, converters/transformers.py).
"""

from __future__ import annotations

import json
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from ctranslate2.converters import TransformersConverter

SERVICE = Path(__file__).resolve().parent
sys.path[:0] = [str(SERVICE.parent), str(SERVICE / "src")]

from languages import languages_of  # noqa: E402
from worker_core.model_card import BrokenModel, ModelCard, write_card  # noqa: E402
from worker_core.settings import read_env_file  # noqa: E402
from worker_core.snapshot import fetch_snapshot  # noqa: E402


def convert(snapshot: Path, target: Path, values: dict[str, str]) -> None:
    """Fills `target` with the model of `snapshot`. Raises BrokenModel if tokens were lost on the
    way.
    """
    converter = TransformersConverter(str(snapshot), copy_files=["sentencepiece.bpe.model"])
    converter.convert(str(target), quantization=values["QUANTIZATION"])
    vocabulary = json.loads((target / "shared_vocabulary.json").read_text(encoding="utf-8"))
    wanted = json.loads((snapshot / "config.json").read_text(encoding="utf-8"))["vocab_size"]
    if len(vocabulary) != wanted:
        raise BrokenModel(f"{len(vocabulary)} tokens were converted, the model has {wanted}")
    missing = sorted(set(values["LANGUAGES"].split()) - languages_of(target))
    if missing:
        raise BrokenModel(f"the vocabulary lacks {missing}, which LANGUAGES of model.env names")
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
