"""A speech job: text, checked, put into words, cut at sentences, spoken, and joined to one
recording.
"""

from __future__ import annotations

import asyncio
import base64
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import sentencex
from sound import FORMATS, encode, join
from voice import Voice
from wording import read_aloud
from worker_core.model_card import BrokenModel, ModelCard, read_card
from worker_core.refusals import (
    BAD_INPUT,
    TOO_LONG,
    Refusal,
    check_fields,
    one_of,
    yes_or_no,
)
from worker_core.serving import Answer, Job
from worker_core.settings import Settings

NOT_SPEAKABLE = "not-speakable"
FIELDS = ("text", "format", "speed", "read_numbers")
MOST_CHARACTERS = 5_000
MOST_BYTES = 7_000_000
"""Of a file, before base64 makes it a third longer: the job API takes results of 10 MB."""
LONGEST_SENTENCE = 300
"""Characters. VITS grows quadratic in memory and less clear with length."""


@dataclass(frozen=True)
class Spoken:
    """A recording as a file, and what was read. `lost`: letters that the voice has no sound for."""

    file: bytes
    seconds: float
    sentences: list[str]
    lost: int


class Speech:
    """The loaded voice and all that is needed to answer jobs with it."""

    def __init__(self, voice: Voice, card: ModelCard) -> None:
        self._voice = voice
        self._card = card
        self._thread = ThreadPoolExecutor(max_workers=1)

    async def answer(self, job: Job) -> Answer:
        """A recording of a job's text. Raises Refusal."""
        fields = check_fields(job.get("input"), FIELDS)
        text = _text(fields)
        name = one_of(fields, "format", "mp3", FORMATS)
        speed = _speed(fields)
        if yes_or_no(fields, "read_numbers", default=True):
            text = read_aloud(text)
        stopping = threading.Event()
        loop = asyncio.get_running_loop()
        try:
            spoken = await loop.run_in_executor(
                self._thread, self._speak, text, name, speed, stopping
            )
        finally:
            stopping.set()
        if len(spoken.file) > MOST_BYTES:
            raise Refusal(TOO_LONG, f"{len(spoken.file)} bytes of {name}; ask for mp3 or less text")
        return Answer(self._output(spoken, name), {"seconds": round(spoken.seconds, 1)})

    def _speak(self, text: str, name: str, speed: float, stopping: threading.Event) -> Spoken:
        sentences = []
        samples = []
        lost = 0
        for sentence in sentences_of(text):
            spelled, unknown = self._voice.spell(sentence)
            lost += unknown
            if spelled and not stopping.is_set():
                sentences.append(spelled)
                samples.append(self._voice.speak(spelled, speed))
        whole = join(samples, self._voice.rate)
        if not len(whole):
            raise Refusal(NOT_SPEAKABLE, "the voice has no sound for any letter of this text")
        file = encode(whole, self._voice.rate, name)
        return Spoken(file, len(whole) / self._voice.rate, sentences, lost)

    def _output(self, spoken: Spoken, name: str) -> dict[str, object]:
        warnings = []
        if spoken.lost:
            warnings.append({"code": "unknown-letters", "count": spoken.lost})
        return {
            "audio_base64": base64.b64encode(spoken.file).decode("ascii"),
            "format": name,
            "sample_rate": self._voice.rate,
            "duration": round(spoken.seconds, 3),
            "sentences": spoken.sentences,
            "model": self._card.as_output(),
            "warnings": warnings,
        }


def _text(fields: Mapping[str, object]) -> str:
    text = fields.get("text")
    if not isinstance(text, str) or not text.strip():
        raise Refusal(BAD_INPUT, "text must be a string that is not blank")
    if len(text) > MOST_CHARACTERS:
        raise Refusal(TOO_LONG, f"{len(text)} characters; at most {MOST_CHARACTERS} a job")
    return text


def _speed(fields: Mapping[str, object]) -> float:
    speed = fields.get("speed", 1.0)
    if isinstance(speed, bool) or not isinstance(speed, int | float) or not 0.5 <= speed <= 2.0:
        raise Refusal(BAD_INPUT, "speed must be a number from 0.5 to 2.0")
    return float(speed)


def sentences_of(text: str) -> list[str]:
    """The sentences of `text`; those over LONGEST_SENTENCE cut at a comma, or else between
    words.
    """
    found = []
    for line in text.splitlines():
        for sentence in sentencex.segment("fr", line):
            found += _cut(sentence.strip())
    return [sentence for sentence in found if sentence]


def _cut(sentence: str) -> list[str]:
    parts = []
    while len(sentence) > LONGEST_SENTENCE:
        end = max(sentence.rfind(mark, 1, LONGEST_SENTENCE) for mark in (",", ";", ":"))
        if end < 1:
            end = sentence.rfind(" ", 1, LONGEST_SENTENCE)
        if end < 1:
            end = LONGEST_SENTENCE - 1
        parts.append(sentence[: end + 1].strip())
        sentence = sentence[end + 1 :].strip()
    return [*parts, sentence]


def load_speech(settings: Settings) -> Speech:
    """The worker's state, proven with one word. Raises BrokenModel."""
    card = read_card(settings.model_folder)
    voice = Voice(settings.model_folder, settings.threads)
    if not len(voice.speak("a", 1.0)):
        raise BrokenModel("the voice says nothing")
    return Speech(voice, card)
