"""A translation job: what is asked for, checked, cut into sentences, translated, and put together
again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from batches import Batches
from engine import Engine, Sentence, Translated
from languages import Languages, languages_of
from sentences import Piece, pieces_of
from worker_core.model_card import BrokenModel, ModelCard, read_card
from worker_core.refusals import (
    BAD_INPUT,
    TOO_LONG,
    Refusal,
    check_fields,
    whole_number,
    yes_or_no,
)
from worker_core.serving import Answer, Job
from worker_core.settings import Settings

SAME_LANGUAGE = "same-language"
FIELDS = ("text", "src_lang", "tgt_lang", "beam_size", "split")
MOST_TEXTS = 256
MOST_CHARACTERS = 100_000
MOST_SENTENCES = 2_000
_PROBE = "Bonjour."


@dataclass(frozen=True)
class Request:
    """A job's input, checked. Languages are the model's own codes."""

    texts: list[str]
    source: str
    target: str
    beam_size: int
    by_sentence: bool


class Translation:
    """The loaded model and all that is needed to answer jobs with it."""

    def __init__(self, engine: Engine, languages: Languages, card: ModelCard) -> None:
        self._engine = engine
        self._languages = languages
        self._card = card
        self._batches = Batches(engine.translate)

    async def answer(self, job: Job) -> Answer:
        """The translations of a job's text, in number and order. Raises Refusal."""
        request = parse(job.get("input"), self._languages)
        pieces = []
        for text in request.texts:
            pieces.append(
                pieces_of(text, request.source, request.by_sentence, self._count_tokens),
            )
        sentences = self._sentences(pieces, request)
        done = await self._batches.translate(sentences, request.beam_size) if sentences else []
        translations, warnings = put_together(pieces, done)
        output: dict[str, object] = {
            "translations": translations,
            "src_lang": request.source,
            "tgt_lang": request.target,
            "model": self._card.as_output(),
            "sentences": len(sentences),
            "warnings": warnings,
        }
        return Answer(output, {"texts": len(request.texts), "sentences": len(sentences)})

    def _count_tokens(self, text: str) -> int:
        return len(self._engine.tokens(text))

    def _sentences(self, pieces: Sequence[Sequence[Piece]], request: Request) -> list[Sentence]:
        sentences = []
        for of_text in pieces:
            for piece in of_text:
                if piece.is_sentence:
                    tokens = self._engine.tokens(piece.text)
                    sentences.append(Sentence(tokens, request.source, request.target))
        if len(sentences) > MOST_SENTENCES:
            raise Refusal(TOO_LONG, f"{len(sentences)} sentences; at most {MOST_SENTENCES} a job")
        return sentences


def parse(given: object, languages: Languages) -> Request:
    """The request in a job's input. Raises Refusal."""
    fields = check_fields(given, FIELDS)
    text = fields.get("text")
    texts = [text] if isinstance(text, str) else text
    if not isinstance(texts, list) or not all(isinstance(each, str) for each in texts) or not texts:
        raise Refusal(BAD_INPUT, "text must be a string or a list of strings that is not empty")
    if len(texts) > MOST_TEXTS:
        raise Refusal(TOO_LONG, f"{len(texts)} texts; at most {MOST_TEXTS} a job")
    characters = sum(len(each) for each in texts)
    if characters > MOST_CHARACTERS:
        raise Refusal(TOO_LONG, f"{characters} characters; at most {MOST_CHARACTERS} a job")
    source = languages.resolve(fields, "src_lang")
    target = languages.resolve(fields, "tgt_lang")
    if source == target:
        raise Refusal(SAME_LANGUAGE, f"src_lang and tgt_lang are both {source}")
    return Request(
        texts=texts,
        source=source,
        target=target,
        beam_size=whole_number(fields, "beam_size", default=4, low=1, high=5),
        by_sentence=yes_or_no(fields, "split", default=True),
    )


def put_together(
    pieces: Sequence[Sequence[Piece]],
    done: Sequence[Translated],
) -> tuple[list[str], list[dict[str, object]]]:
    """The texts with their sentences replaced, and what a reader of them should know."""
    translations = []
    warnings: list[dict[str, object]] = []
    rest = iter(done)
    for number, of_text in enumerate(pieces):
        text = ""
        for piece in of_text:
            translated = next(rest) if piece.is_sentence else Translated(piece.text)
            text += translated.text or piece.text
            for code in _codes(piece, translated):
                warnings.append({"code": code, "text": number})
        translations.append(text)
    return translations, warnings


def _codes(piece: Piece, translated: Translated) -> list[str]:
    """`long-sentence-cut`: translated in parts. `repetition`: translated again without repeating
    itself.

    `output-cut`: had no end even so. `not-translated`: the model gave nothing, the source is kept.
    """
    codes = []
    if piece.is_part:
        codes.append("long-sentence-cut")
    if translated.is_retried:
        codes.append("repetition")
    if translated.is_cut:
        codes.append("output-cut")
    if not translated.text:
        codes.append("not-translated")
    return codes


def load_translation(settings: Settings) -> Translation:
    """The worker's state, proven with one sentence each way. Raises BrokenModel."""
    card = read_card(settings.model_folder)
    codes = languages_of(settings.model_folder)
    wanted = settings.values["LANGUAGES"].split()
    missing = sorted(set(wanted) - codes)
    if missing:
        raise BrokenModel(f"LANGUAGES of model.env names {missing}, which the vocabulary lacks")
    engine = Engine(settings.model_folder, settings.device, settings.threads)
    prove(engine, wanted[0], wanted[1])
    languages = Languages(codes, settings.values.get("LANGUAGE_ALIASES", ""))
    return Translation(engine, languages, card)


def prove(engine: Engine, one: str, other: str) -> None:
    """Raises BrokenModel unless a sentence comes out in both directions."""
    tokens = engine.tokens(_PROBE)
    both_ways = [Sentence(tokens, one, other), Sentence(tokens, other, one)]
    for translated in engine.translate(both_ways, beam_size=1):
        if not translated.text:
            raise BrokenModel("the model translates a sentence into nothing")
