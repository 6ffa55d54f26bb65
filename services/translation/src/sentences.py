"""A text as pieces: sentences to translate, and all that stands between them, which is kept as it
is.

NLLB drops whole sentences of a paragraph and gets worse beyond about 200 tokens (fairseq issues
5108 and 5478), so it is given one sentence at a time. Joined again, the pieces are the text itself.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

import sentencex

Measure = Callable[[str], int]
"""Counts the tokens of a text."""

TOKENS_PER_SENTENCE = 200
_ABBREVIATION = re.compile(
    r"(?:^|[\s(«'\u2019])"
    r"(?:MM?|Mmes?|Mlles?|Dr|Pr|Me|[Aa]rt|p|cf|av|[Nn]o?|[Nn]°)\.?\s*$",
)
"""What ends a piece but no sentence: sentencex 1.0.32 cuts after "M." and "art."."""
_CUTS = (re.compile(r"(?<=[;:])\s+"), re.compile(r"(?<=,)\s+"), re.compile(r"\s+"))
"""Where a long sentence may be cut, the best first."""
_TWO_LETTERS = {"fra": "fr", "eng": "en", "spa": "es", "por": "pt", "deu": "de", "ita": "it"}
"""sentencex knows languages by ISO 639-1; for others it has rules that fit most scripts."""


@dataclass(frozen=True)
class Piece:
    """A part of a text. `is_sentence`: to be translated; otherwise kept. `is_part`: cut out of a
    longer sentence.
    """

    text: str
    is_sentence: bool
    is_part: bool = False


def pieces_of(text: str, language: str, by_sentence: bool, measure: Measure) -> list[Piece]:
    """The pieces of `text` in NFC. `by_sentence` false: one piece a line, but for what is too
    long.
    """
    pieces = []
    for line in unicodedata.normalize("NFC", text).splitlines(keepends=True):
        sentences = _sentences(line, language) if by_sentence else [line]
        for sentence in sentences:
            pieces += _with_its_spaces(sentence, measure)
    return pieces


def _sentences(line: str, language: str) -> list[str]:
    iso = language.split("_")[0]
    found: list[str] = []
    for part in sentencex.segment(_TWO_LETTERS.get(iso, iso), line):
        if found and _ABBREVIATION.search(found[-1]):
            found[-1] += part
        else:
            found.append(part)
    return found


def _with_its_spaces(sentence: str, measure: Measure) -> list[Piece]:
    core = sentence.strip()
    if not any(character.isalnum() for character in core):
        return [Piece(sentence, is_sentence=False)]
    start = sentence.index(core)
    parts = _cut(core, measure)
    pieces = [Piece(sentence[:start], is_sentence=False)]
    for part in parts:
        bare = part.rstrip()
        pieces.append(Piece(bare, is_sentence=True, is_part=len(parts) > 1))
        pieces.append(Piece(part[len(bare) :], is_sentence=False))
    pieces.append(Piece(sentence[start + len(core) :], is_sentence=False))
    return [piece for piece in pieces if piece.text]


def _cut(sentence: str, measure: Measure) -> list[str]:
    """`sentence` in parts of at most TOKENS_PER_SENTENCE, each with the spaces that follow it."""
    if measure(sentence) <= TOKENS_PER_SENTENCE:
        return [sentence]
    for cut in _CUTS:
        ends = [found.end() for found in cut.finditer(sentence.rstrip())]
        if ends:
            end = min(ends, key=lambda place: abs(place - len(sentence) // 2))
            break
    else:
        end = len(sentence) // 2
    return _cut(sentence[:end], measure) + _cut(sentence[end:], measure)
