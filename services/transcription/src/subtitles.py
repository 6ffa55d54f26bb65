"""Segments: what was said when, and the same as subtitle files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

SAME_IN_A_ROW = 3
"""Segments of one text in a row that are kept. Whisper's best known failure is to say one
sentence forever.
"""


@dataclass(frozen=True)
class Word:
    """A word with its times, in seconds, and how sure the model is, from 0 to 1."""

    start: float
    end: float
    word: str
    probability: float


@dataclass(frozen=True)
class Segment:
    """What was said from `start` to `end`, in seconds."""

    start: float
    end: float
    text: str
    words: tuple[Word, ...] = field(default=())


def repeats(segments: list[Segment], segment: Segment) -> bool:
    """Whether the last SAME_IN_A_ROW segments all have the text of `segment`."""
    last = segments[-SAME_IN_A_ROW:]
    same = [one for one in last if one.text.casefold() == segment.text.casefold()]
    return len(same) == SAME_IN_A_ROW


def as_srt(segments: Sequence[Segment]) -> str:
    """A SubRip file."""
    blocks = []
    for number, segment in enumerate(segments, 1):
        start = _clock(segment.start, ",")
        end = _clock(segment.end, ",")
        blocks.append(f"{number}\n{start} --> {end}\n{_one_cue(segment.text)}\n")
    return "\n".join(blocks)


def as_vtt(segments: Sequence[Segment]) -> str:
    """A WebVTT file. What its readers would take for markup is escaped."""
    blocks = ["WEBVTT\n"]
    for segment in segments:
        start = _clock(segment.start, ".")
        end = _clock(segment.end, ".")
        text = _one_cue(segment.text).replace("&", "&amp;").replace("<", "&lt;")
        blocks.append(f"{start} --> {end}\n{text}\n")
    return "\n".join(blocks)


def _one_cue(text: str) -> str:
    """Text that ends no cue early: without empty lines and without an arrow."""
    return " ".join(text.split()).replace("-->", "->")


def _clock(seconds: float, mark: str) -> str:
    milliseconds = round(seconds * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{rest // 1000:02}{mark}{rest % 1000:03}"
