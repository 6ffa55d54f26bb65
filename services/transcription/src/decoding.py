"""Audio files as samples. The container's format is told by its first bytes and forced on the
decoder: a playlist, which could make it open other files and addresses, is never taken for
audio.
"""

from __future__ import annotations

import io

import av
import numpy
from worker_core.refusals import TOO_LONG, Refusal

BAD_AUDIO = "bad-audio"
RATE = 16_000
"""Samples a second, as Whisper wants them."""
MOST_SECONDS = 4 * 3600
_FORMATS = "wav, mp3, m4a, ogg, flac, webm"


def format_of(data: bytes) -> str | None:
    """ffmpeg's name for the container of `data`; None for anything but wav, mp3, m4a, ogg, flac
    and webm.
    """
    if data[:4] == b"RIFF" and data[8:12] == b"WAVE":
        return "wav"
    if data[4:8] == b"ftyp":
        return "mp4"
    if data[:3] == b"ID3" or (data[:1] == b"\xff" and data[1:2] >= b"\xe0"):
        return "mp3"
    starts = {b"OggS": "ogg", b"fLaC": "flac", b"\x1a\x45\xdf\xa3": "matroska"}
    return starts.get(data[:4])


def samples_of(data: bytes, most_seconds: float = MOST_SECONDS) -> numpy.ndarray:
    """The first audio track of a file as mono floats at RATE. Raises Refusal."""
    name = format_of(data)
    if name is None:
        raise Refusal(BAD_AUDIO, f"this is no audio file of these formats: {_FORMATS}")
    chunks = []
    count = 0
    try:
        with av.open(io.BytesIO(data), format=name, metadata_errors="ignore") as container:
            resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
            for frame in container.decode(audio=0):
                for piece in resampler.resample(frame):
                    chunks.append(piece.to_ndarray().reshape(-1))
                    count += len(chunks[-1])
                if count > most_seconds * RATE:
                    raise Refusal(TOO_LONG, f"more than {most_seconds:.0f} seconds of audio")
            for piece in resampler.resample(None):
                chunks.append(piece.to_ndarray().reshape(-1))
    except (av.FFmpegError, IndexError, ValueError) as error:
        if not chunks:
            raise Refusal(
                BAD_AUDIO, f"the file cannot be decoded: {type(error).__name__}"
            ) from error
    if not chunks:
        raise Refusal(BAD_AUDIO, "the file holds no sound")
    return numpy.concatenate(chunks).astype(numpy.float32) / 32768.0
