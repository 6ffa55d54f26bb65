"""A transcription job: audio from the job or from a URL, decoded, heard, and told as text,
segments and subtitles.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict

from audio_source import BAD_URL, from_base64, from_url
from decoding import RATE, samples_of
from listening import Heard, Listener, Wish
from subtitles import Segment, as_srt, as_vtt
from worker_core.model_card import ModelCard, read_card
from worker_core.refusals import (
    BAD_INPUT,
    Refusal,
    check_fields,
    one_of,
    whole_number,
    yes_or_no,
)
from worker_core.serving import Answer, Job
from worker_core.settings import Settings

UNSUPPORTED_LANGUAGE = "unsupported-language"
FIELDS = (
    "audio_url",
    "audio_base64",
    "language",
    "task",
    "beam_size",
    "words",
    "subtitles",
    "progress",
)
SECONDS_BETWEEN_PROGRESS = 2.0
SECONDS_AFTER_PROGRESS = 1.0
"""An update that arrives after the result leaves the job IN_PROGRESS forever (runpod-python
issue 250).
"""


class Progress:
    """Tells the platform how far a job is, not too often."""

    def __init__(self, job: Job, duration: float, send: Callable[[Job, object], None]) -> None:
        self._job = job
        self._duration = duration
        self._send = send
        self._last = time.monotonic()
        self.is_sent = False

    def tell(self, second: float, segments: list[Segment]) -> None:
        now = time.monotonic()
        if now - self._last >= SECONDS_BETWEEN_PROGRESS or not self.is_sent:
            self._last = now
            self.is_sent = True
            share = min(1.0, round(second / self._duration, 3))
            text = " ".join(segment.text for segment in segments)
            self._send(self._job, {"progress": share, "segments": len(segments), "text": text})

    def seconds_until_safe(self) -> float:
        """How long the result must wait so that it is the last word."""
        if not self.is_sent:
            return 0.0
        return max(0.0, self._last + SECONDS_AFTER_PROGRESS - time.monotonic())


class Transcription:
    """The loaded model and all that is needed to answer jobs with it."""

    def __init__(self, listener: Listener, card: ModelCard, aliases: str) -> None:
        self._listener = listener
        self._card = card
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._languages = {language: language for language in listener.languages}
        for pair in aliases.split():
            alias, _, language = pair.partition("=")
            if language in self._languages:
                self._languages.setdefault(alias.casefold(), language)

    async def answer(self, job: Job) -> Answer:
        """What is said in the audio of a job. Raises Refusal."""
        from runpod.serverless import progress_update  # with the SDK's log level set by then

        fields = check_fields(job.get("input"), FIELDS)
        wish = self._wish(fields)
        subtitles = one_of(fields, "subtitles", "none", ("none", "srt", "vtt"))
        wants_progress = yes_or_no(fields, "progress", default=True)
        data = await read_audio(fields)
        samples = await asyncio.to_thread(samples_of, data)
        progress = Progress(job, len(samples) / RATE, progress_update)
        tell = progress.tell if wants_progress else _say_nothing
        stopping = threading.Event()
        loop = asyncio.get_running_loop()
        try:
            heard = await loop.run_in_executor(
                self._thread, self._listener.listen, samples, wish, tell, stopping
            )
        finally:
            stopping.set()
        await asyncio.sleep(progress.seconds_until_safe())
        counts = {"seconds": round(heard.duration, 1), "segments": len(heard.segments)}
        return Answer(self._output(heard, subtitles), counts)

    def _wish(self, fields: Mapping[str, object]) -> Wish:
        language = fields.get("language")
        if language is not None and not isinstance(language, str):
            raise Refusal(BAD_INPUT, "language must be a language code")
        code = None
        if language:
            code = self._languages.get(language.casefold())
            if code is None:
                raise Refusal(
                    UNSUPPORTED_LANGUAGE,
                    f"this model has no language {language[:20]!r}",
                    languages=sorted(self._languages),
                )
        return Wish(
            language=code,
            task=one_of(fields, "task", "transcribe", ("transcribe", "translate")),
            beam_size=whole_number(fields, "beam_size", default=5, low=1, high=10),
            with_words=yes_or_no(fields, "words", default=False),
        )

    def _output(self, heard: Heard, subtitles: str) -> dict[str, object]:
        segments = []
        for segment in heard.segments:
            told = asdict(segment)
            if not segment.words:
                del told["words"]
            segments.append(told)
        warnings = []
        if heard.dropped:
            warnings.append({"code": "repetition", "segments": heard.dropped})
        output: dict[str, object] = {
            "text": " ".join(segment.text for segment in heard.segments),
            "segments": segments,
            "language": heard.language,
            "language_probability": round(heard.probability, 3),
            "duration": round(heard.duration, 3),
            "model": self._card.as_output(),
            "warnings": warnings,
        }
        if subtitles != "none":
            write = as_srt if subtitles == "srt" else as_vtt
            output[subtitles] = write(heard.segments)
        return output


def _say_nothing(_second: float, _segments: list[Segment]) -> None:
    pass


async def read_audio(fields: Mapping[str, object]) -> bytes:
    """The audio file of a job, from exactly one of its two fields. Raises Refusal."""
    url = fields.get("audio_url")
    text = fields.get("audio_base64")
    if (url is None) == (text is None):
        raise Refusal(BAD_INPUT, "give either audio_url or audio_base64")
    if text is not None:
        if not isinstance(text, str):
            raise Refusal(BAD_INPUT, "audio_base64 must be a string")
        return from_base64(text)
    if not isinstance(url, str):
        raise Refusal(BAD_URL, "audio_url must be a string")
    return await asyncio.to_thread(from_url, url)


def load_transcription(settings: Settings) -> Transcription:
    """The worker's state. Raises BrokenModel."""
    card = read_card(settings.model_folder)
    listener = Listener(settings.model_folder, settings.device, settings.threads)
    return Transcription(listener, card, settings.values.get("LANGUAGE_ALIASES", ""))
