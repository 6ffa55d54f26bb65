"""faster-whisper: samples in, segments out, with what keeps it from going in circles."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import faster_whisper
import numpy
from decoding import RATE
from subtitles import Segment, Word, repeats


class Stopped(Exception):
    """The job was cancelled."""


@dataclass(frozen=True)
class Wish:
    """How to listen. `language` None: detected."""

    language: str | None
    task: str
    beam_size: int
    with_words: bool


@dataclass(frozen=True)
class Heard:
    """`dropped`: segments that only repeated the ones before."""

    segments: list[Segment]
    language: str
    probability: float
    duration: float
    dropped: int


Tell = Callable[[float, list[Segment]], None]
"""Told the second that is reached, and all segments so far."""


class Listener:
    """A loaded model. `listen` is called from one thread at a time."""

    def __init__(self, folder: Path, device: str, threads: int) -> None:
        # onnxruntime, which detects voices, calls its maker since 1.29.
        os.environ["ORT_DISABLE_TELEMETRY"] = "1"
        self._model = faster_whisper.WhisperModel(
            str(folder),
            device=device,
            compute_type="int8" if device == "cpu" else "int8_float16",
            cpu_threads=threads,
            local_files_only=True,
        )

    @property
    def languages(self) -> list[str]:
        return sorted(self._model.supported_languages)

    def listen(
        self,
        samples: numpy.ndarray,
        wish: Wish,
        tell: Tell,
        stopping: threading.Event,
    ) -> Heard:
        """What is said in `samples`. Silence is cut away first; each window is heard without the
        text before it, or one loop would become the start of the next. Raises Stopped.
        """
        found, info = self._model.transcribe(
            samples,
            language=wish.language,
            task=wish.task,
            beam_size=wish.beam_size,
            word_timestamps=wish.with_words,
            vad_filter=True,
            condition_on_previous_text=False,
            compression_ratio_threshold=2.4,
            log_prob_threshold=-1.0,
            no_speech_threshold=0.6,
            hallucination_silence_threshold=2.0 if wish.with_words else None,
        )
        segments: list[Segment] = []
        dropped = 0
        for one in found:
            if stopping.is_set():
                raise Stopped
            segment = _segment(one)
            if repeats(segments, segment):
                dropped += 1
            else:
                segments.append(segment)
                tell(segment.end, segments)
        return Heard(
            segments=segments,
            language=info.language,
            probability=info.language_probability,
            duration=len(samples) / RATE,
            dropped=dropped,
        )


def _segment(one: faster_whisper.transcribe.Segment) -> Segment:
    words = []
    for word in one.words or []:
        words.append(
            Word(
                start=round(float(word.start), 3),
                end=round(float(word.end), 3),
                word=word.word,
                probability=round(float(word.probability), 3),
            ),
        )
    start = round(float(one.start), 3)
    return Segment(start, round(float(one.end), 3), one.text.strip(), tuple(words))
