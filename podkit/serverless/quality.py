"""How good a service's outputs are, beside what is known to be good. Pure.

chrF++ comes first: it needs no words of a language to be known, and suits languages with few
resources; BLEU stands beside it (sacrebleu, whose signature makes a score comparable). A score of
recognition is the share of words that came back right.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version

import jiwer
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

MOST_EXAMPLES = 5


@dataclass(frozen=True)
class Score:
    """What a direction, or a way, reached: 0 to 100, more is better.

    `name` is chrF++ or words (the share of words that are right); `beside` are other measures, and
    `signature` says how the score was counted.
    """

    way: str
    name: str
    cases: int
    score: float
    beside: Mapping[str, float]
    signature: str


@dataclass(frozen=True)
class Kept:
    """One case as it is kept: what went in, what was expected, what came out."""

    given: str
    wanted: str
    got: str


@dataclass(frozen=True)
class Changed:
    """The same inputs asked of another release: the share whose outputs differ, 0 to 1, by how much
    the score differs, and a few of them as before and after."""

    way: str
    cases: int
    share: float
    difference: float
    examples: Sequence[tuple[str, str]]


def score_translation(way: str, cases: Sequence[Kept]) -> Score:
    """chrF++ of the whole corpus, BLEU beside it."""
    got = [case.got for case in cases]
    wanted = [[case.wanted for case in cases]]
    chrf = CHRF(word_order=2)
    bleu = BLEU()
    score = chrf.corpus_score(got, wanted).score
    beside = {"bleu": round(bleu.corpus_score(got, wanted).score, 2)}
    signature = (
        f"{chrf.get_signature().format(short=True)}; BLEU {bleu.get_signature().format(short=True)}"
    )
    return Score(way, "chrF++", len(cases), round(score, 2), beside, signature)


def score_words(way: str, cases: Sequence[Kept]) -> Score:
    """The share of words that are right, in percent: 100 less the word error rate, at least 0."""
    wanted = [words_as_heard(case.wanted) for case in cases]
    got = [words_as_heard(case.got) for case in cases]
    rate = jiwer.wer(wanted, got)
    score = max(0.0, 100 * (1 - rate))
    beside = {"wer": round(rate, 4)}
    signature = f"jiwer {version('jiwer')}; lower case, no punctuation"
    return Score(way, "words", len(cases), round(score, 2), beside, signature)


def words_as_heard(text: str) -> str:
    """The text as it is heard: lower case, letters and digits only, one space between words."""
    letters = []
    for character in unicodedata.normalize("NFC", text.lower()):
        is_heard = unicodedata.category(character)[0] in "LNM"
        letters.append(character if is_heard else " ")
    return " ".join("".join(letters).split())


def compare(before: Sequence[Kept], after: Sequence[Kept], scores: tuple[Score, Score]) -> Changed:
    """How the later outputs differ from the earlier ones of the same inputs; a case that only one
    of them has does not count."""
    earlier = {case.given: case.got for case in before}
    common = [case for case in after if case.given in earlier]
    differing = [case for case in common if case.got != earlier[case.given]]
    examples = [(earlier[case.given], case.got) for case in differing[:MOST_EXAMPLES]]
    share = len(differing) / len(common) if common else 0.0
    difference = round(scores[1].score - scores[0].score, 2)
    return Changed(scores[1].way, len(common), round(share, 4), difference, examples)
