"""Sentences as one recording, without clicks, and as a file."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy
import soundfile

FADE = 0.005
"""Seconds. A sentence that starts or ends off zero clicks; this is too short to be heard as a
fade.
"""
PAUSE = 0.35
"""Seconds between sentences."""
FORMATS = {"wav": ("WAV", "PCM_16"), "mp3": ("MP3", "MPEG_LAYER_III"), "ogg": ("OGG", "VORBIS")}
_BLOCK = 16_000
"""Frames written at once: libsndfile overflows its stack on a long Vorbis block (issue 956)."""


def join(sentences: Sequence[numpy.ndarray], rate: int) -> numpy.ndarray:
    """One recording of all sentences with a pause after each, never louder than full scale."""
    parts = []
    pause = numpy.zeros(round(PAUSE * rate), dtype=numpy.float32)
    for sentence in sentences:
        if len(sentence):
            parts += [_faded(sentence, rate), pause]
    if not parts:
        return numpy.zeros(0, dtype=numpy.float32)
    whole = numpy.concatenate(parts)
    loudest = float(numpy.abs(whole).max())
    return whole / loudest if loudest > 1.0 else whole


def _faded(sentence: numpy.ndarray, rate: int) -> numpy.ndarray:
    samples = numpy.array(sentence, dtype=numpy.float32)
    count = min(round(FADE * rate), len(samples) // 2)
    ramp = numpy.linspace(0.0, 1.0, count, dtype=numpy.float32)
    samples[:count] *= ramp
    samples[len(samples) - count :] *= ramp[::-1]
    return samples


def encode(samples: numpy.ndarray, rate: int, name: str) -> bytes:
    """A file in one of FORMATS."""
    container, codec = FORMATS[name]
    file = io.BytesIO()
    with soundfile.SoundFile(
        file,
        "w",
        samplerate=rate,
        channels=1,
        format=container,
        subtype=codec,
    ) as writer:
        for start in range(0, len(samples), _BLOCK):
            writer.write(samples[start : start + _BLOCK])
    return file.getvalue()
