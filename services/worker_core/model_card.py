"""model.json: which model an image holds. Written when the image is built, read when a worker
starts.

The card travels in every answer, so that nobody has to guess which model spoke. Files that are
missing or have another size stop the worker before its first job.
"""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path

NAME = "model.json"


class BrokenModel(Exception):
    """The model's folder is not what its card says."""


@dataclass(frozen=True)
class ModelCard:
    """What is known of a model. `revision` is a commit of `repo`; `quantization` as the engine
    names it.
    """

    repo: str
    revision: str
    quantization: str
    licence: str

    def as_output(self) -> dict[str, str]:
        return {
            "repo": self.repo,
            "revision": self.revision,
            "quantization": self.quantization,
        }


def write_card(folder: Path, card: ModelCard, **made_with: str) -> None:
    """Writes `folder`/model.json: the card, what it was made with, size and SHA-256 of each
    file.
    """
    files = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != NAME:
            files[str(path.relative_to(folder))] = {
                "bytes": path.stat().st_size,
                "sha256": sha256(path),
            }
    document = {**card.as_output(), "licence": card.licence, "made_with": made_with, "files": files}
    text = json.dumps(document, indent=2, ensure_ascii=False)
    (folder / NAME).write_text(text + "\n", encoding="utf-8")


def read_card(folder: Path) -> ModelCard:
    """The card of `folder`. Raises BrokenModel if a file it names is missing or has another size.

    Hashes are compared when the image is built and not here: reading 600 MB twice would make each
    cold start longer.
    """
    try:
        document = json.loads((folder / NAME).read_text(encoding="utf-8"))
        for name, facts in document["files"].items():
            size = (folder / name).stat().st_size
            if size != facts["bytes"]:
                raise BrokenModel(f"{name} has {size} bytes and should have {facts['bytes']}")
        return ModelCard(
            repo=document["repo"],
            revision=document["revision"],
            quantization=document["quantization"],
            licence=document["licence"],
        )
    except (OSError, ValueError, KeyError) as error:
        raise BrokenModel(f"{folder}: {type(error).__name__}: {error}") from error


def check_hashes(folder: Path) -> None:
    """Reads every file of the card. Raises BrokenModel for the first whose SHA-256 differs."""
    document = json.loads((folder / NAME).read_text(encoding="utf-8"))
    for name, facts in document["files"].items():
        if sha256(folder / name) != facts["sha256"]:
            raise BrokenModel(f"{name} is not the file that {NAME} was written for")


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    check_hashes(Path(sys.argv[1]))
