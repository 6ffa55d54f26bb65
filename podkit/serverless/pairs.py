"""Inputs whose good outputs are known, from files of the user's own. It reads files only.

FLORES-200 is one text file a language: `devtest/fra_Latn.devtest`, a sentence a line, in the same
order in every language (CC-BY-SA-4.0, from its publisher; none of it is shipped with podkit).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from podkit.errors import UsageError

Found = TypeVar("Found")
SOUNDS = (".wav", ".mp3", ".m4a", ".ogg", ".flac", ".webm")


@dataclass(frozen=True)
class Pair:
    """A text and what it means in the other language."""

    source: str
    target: str

    def turn(self) -> Pair:
        """The same for the other direction."""
        return Pair(self.target, self.source)


@dataclass(frozen=True)
class Recording:
    """A sound file, and the words that are spoken in it."""

    file: Path
    words: str


def read_tsv(file: Path, limit: int) -> list[Pair]:
    """The pairs of a file with two columns, separated by a tab; empty lines are left out.

    Raises UsageError naming each line that has not two texts.
    """
    pairs = []
    wrong = []
    for number, line in enumerate(_lines(file), 1):
        cells = [cell.strip() for cell in line.split("\t")]
        if cells == [""]:
            continue
        if len(cells) != 2 or not all(cells):
            wrong.append(str(number))
        else:
            pairs.append(Pair(*cells))
    if wrong:
        what = f"{file} needs two texts and one tab in a line; not so in line {', '.join(wrong)}"
        raise UsageError(what, "example: Bonjour<tab>Ne y windiga")
    return _some(pairs, file, limit)


def read_flores(folder: Path, source: str, target: str, limit: int) -> list[Pair]:
    """The pairs of two languages of FLORES-200; `folder` is its dev or devtest.

    Raises UsageError for files that do not match.
    """
    sides = []
    for language in (source, target):
        sides.append(_lines(folder / f"{language}.{folder.name}"))
    if len(sides[0]) != len(sides[1]):
        what = f"{folder}: {source} has {len(sides[0])} sentences, {target} {len(sides[1])}"
        raise UsageError(what, "take both files from one release")
    pairs = [Pair(one.strip(), other.strip()) for one, other in zip(*sides, strict=True)]
    return _some(pairs, folder, limit)


def read_recordings(folder: Path, limit: int) -> list[Recording]:
    """Every sound file of the folder with its words in a .txt of the same name.

    Raises UsageError for a sound without words, and for a folder without sounds.
    """
    found = []
    for file in sorted(folder.iterdir()):
        if file.suffix.lower() not in SOUNDS:
            continue
        words = " ".join(_lines(file.with_suffix(".txt"))).strip()
        if not words:
            raise UsageError(f"{file.with_suffix('.txt')} is empty", "write what is spoken into it")
        found.append(Recording(file, words))
    return _some(found, folder, limit)


def read_sentences(file: Path, limit: int) -> list[str]:
    """The lines of a text file that are not blank. Raises UsageError."""
    return _some([line.strip() for line in _lines(file) if line.strip()], file, limit)


def _some(found: list[Found], place: Path, limit: int) -> list[Found]:
    if not found:
        raise UsageError(f"{place} holds nothing to compare", "see docs/services.md")
    return found[:limit] if limit else found


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text in UTF-8"
        raise UsageError(f"cannot read {file}: {reason}", "see docs/services.md") from None
