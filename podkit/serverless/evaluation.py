"""Asking a service for outputs that can be compared with good ones, and keeping what it said.

An output that is missing must never make a service look better: it counts as an empty one.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from podkit.errors import UsageError
from podkit.jobs import Jobs
from podkit.serverless.many_jobs import run_many
from podkit.serverless.pairs import Pair, Recording
from podkit.serverless.quality import Kept, Score

TEXTS_IN_A_JOB = 16
MOST_SOUND_BYTES = 7_000_000
"""Of a file in a job, whose 10 MB hold it in base64."""
SCORES = "scores.json"


@dataclass(frozen=True)
class Asker:
    """A service's jobs, how many at once, the seconds for each, the clock, and who is told of
    failures."""

    jobs: Jobs
    at_once: int
    timeout: float
    clock: Callable[[], float]
    say: Callable[[str], None]

    def outputs(self, contents: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """What a job for each of them gives, in order; nothing, and a word about it, where it has
        no output. Raises ApiError."""
        found: list[Mapping[str, Any]] = []
        for ended in run_many(self.jobs, contents, self.at_once, self.timeout, self.clock):
            if ended.problem:
                self.say(f"counted as wrong: {ended.problem.message}")
            found.append(ended.output if isinstance(ended.output, dict) else {})
        return found


def translate(asker: Asker, pairs: Sequence[Pair], source: str, target: str) -> list[Kept]:
    """The service's translation of each pair's source."""
    starts = range(0, len(pairs), TEXTS_IN_A_JOB)
    parts = [pairs[start : start + TEXTS_IN_A_JOB] for start in starts]
    contents = []
    for part in parts:
        texts = [pair.source for pair in part]
        contents.append({"text": texts, "src_lang": source, "tgt_lang": target})
    found = []
    for part, output in zip(parts, asker.outputs(contents), strict=True):
        got = output.get("translations")
        if not isinstance(got, list) or len(got) != len(part):
            got = [""] * len(part)
        for pair, one in zip(part, got, strict=True):
            found.append(Kept(pair.source, pair.target, str(one)))
    return found


def transcribe(asker: Asker, recordings: Sequence[Recording], language: str) -> list[Kept]:
    """The words that the service hears in each recording. Raises UsageError for one that is too
    large for a job."""
    sounds = []
    for recording in recordings:
        sounds.append(recording.file.read_bytes())
        if len(sounds[-1]) > MOST_SOUND_BYTES:
            what = f"{recording.file} is over {MOST_SOUND_BYTES:,} bytes"
            raise UsageError(what, "cut it into shorter ones")
    found = []
    for recording, got in zip(recordings, heard(asker, sounds, language), strict=True):
        found.append(Kept(recording.file.name, recording.words, got))
    return found


def round_trip(
    speaker: Asker,
    listener: Asker,
    sentences: Sequence[str],
    language: str,
) -> list[Kept]:
    """What a transcription service hears of what a speech service says; nothing, where that said
    nothing."""
    said = speaker.outputs([{"text": sentence, "format": "mp3"} for sentence in sentences])
    sounds = [base64.b64decode(str(one.get("audio_base64") or "")) for one in said]
    spoken = [sound for sound in sounds if sound]
    words = iter(heard(listener, spoken, language))
    found = []
    for sentence, sound in zip(sentences, sounds, strict=True):
        found.append(Kept(sentence, sentence, next(words) if sound else ""))
    return found


def heard(asker: Asker, sounds: Sequence[bytes], language: str) -> list[str]:
    """The words that a transcription service hears in each sound."""
    contents = []
    for sound in sounds:
        content = {"audio_base64": base64.b64encode(sound).decode()}
        if language:
            content["language"] = language
        contents.append(content)
    return [str(output.get("text") or "") for output in asker.outputs(contents)]


def keep(folder: Path, found: Mapping[str, Sequence[Kept]], scores: Sequence[Score]) -> None:
    """Write each way's cases and the scores into the folder. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    for way, cases in found.items():
        lines = [json.dumps(asdict(case), ensure_ascii=False) for case in cases]
        _file(folder, way).write_text("\n".join(lines) + "\n", encoding="utf-8")
    told = [asdict(score) for score in scores]
    (folder / SCORES).write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


def read_kept(folder: Path) -> tuple[dict[str, list[Kept]], list[Score]]:
    """What keep() wrote. Raises UsageError for a folder that holds none."""
    try:
        told = json.loads((folder / SCORES).read_text(encoding="utf-8"))
        scores = [Score(**one) for one in told]
        found = {}
        for score in scores:
            lines = _file(folder, score.way).read_text(encoding="utf-8").splitlines()
            found[score.way] = [Kept(**json.loads(line)) for line in lines]
    except (OSError, ValueError, TypeError) as error:
        what = f"{folder} is no folder that an evaluation kept ({type(error).__name__})"
        raise UsageError(what, "--against takes the folder that an earlier one named") from None
    return found, scores


def _file(folder: Path, way: str) -> Path:
    return folder / f"{way}.jsonl"
