"""Asking a service for outputs that can be compared with good ones, and keeping what it said.

An output that is missing must never make a service look better: it counts as an empty one.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from podkit.errors import UsageError
from podkit.jobs import JobProblem, Jobs
from podkit.serverless.pairs import Pair, Recording
from podkit.serverless.quality import Kept, Score

TEXTS_IN_A_JOB = 16
MOST_SOUND_BYTES = 7_000_000
"""Of a file in a job, whose 10 MB hold it in base64."""
SCORES = "scores.json"
Asked = TypeVar("Asked")
Given = TypeVar("Given")


@dataclass(frozen=True)
class Asker:
    """A service's jobs, how many at once, the seconds for each, and who is told of failures."""

    jobs: Jobs
    at_once: int
    timeout: float
    say: Callable[[str], None]

    def output(self, content: Mapping[str, Any]) -> Mapping[str, Any]:
        """What a job gives; nothing, and a word about it, if it has no output. Raises ApiError."""
        try:
            job_id = self.jobs.submit(content, repeat_unclear=True)
            found = self.jobs.wait(job_id, timeout=self.timeout, cancel_on_timeout=True)
        except JobProblem as error:
            self.say(f"counted as wrong: {error.message}")
            return {}
        return found if isinstance(found, dict) else {}

    def each(self, ask: Callable[[Given], Asked], given: Sequence[Given]) -> list[Asked]:
        """What `ask` returns for each, in order, so many at once."""
        with ThreadPoolExecutor(self.at_once) as pool:
            return list(pool.map(ask, given))


def translate(asker: Asker, pairs: Sequence[Pair], source: str, target: str) -> list[Kept]:
    """The service's translation of each pair's source."""

    def ask(part: Sequence[Pair]) -> list[Kept]:
        texts = [pair.source for pair in part]
        output = asker.output({"text": texts, "src_lang": source, "tgt_lang": target})
        got = output.get("translations")
        if not isinstance(got, list) or len(got) != len(part):
            got = [""] * len(part)
        cases = []
        for pair, one in zip(part, got, strict=True):
            cases.append(Kept(pair.source, pair.target, str(one)))
        return cases

    starts = range(0, len(pairs), TEXTS_IN_A_JOB)
    parts = [pairs[start : start + TEXTS_IN_A_JOB] for start in starts]
    found: list[Kept] = []
    for answered in asker.each(ask, parts):
        found += answered
    return found


def transcribe(asker: Asker, recordings: Sequence[Recording], language: str) -> list[Kept]:
    """The words that the service hears in each recording. Raises UsageError for one that is too
    large for a job."""

    def ask(recording: Recording) -> Kept:
        sound = recording.file.read_bytes()
        return Kept(recording.file.name, recording.words, heard(asker, sound, language))

    for recording in recordings:
        if recording.file.stat().st_size > MOST_SOUND_BYTES:
            what = f"{recording.file} is over {MOST_SOUND_BYTES:,} bytes"
            raise UsageError(what, "cut it into shorter ones")
    return asker.each(ask, recordings)


def round_trip(
    speaker: Asker,
    listener: Asker,
    sentences: Sequence[str],
    language: str,
) -> list[Kept]:
    """What a transcription service hears of what a speech service says."""

    def ask(sentence: str) -> Kept:
        output = speaker.output({"text": sentence, "format": "mp3"})
        sound = base64.b64decode(str(output.get("audio_base64") or ""))
        got = heard(listener, sound, language) if sound else ""
        return Kept(sentence, sentence, got)

    return speaker.each(ask, sentences)


def heard(asker: Asker, sound: bytes, language: str) -> str:
    """The words that a transcription service hears in the sound."""
    content = {"audio_base64": base64.b64encode(sound).decode()}
    if language:
        content["language"] = language
    return str(asker.output(content).get("text") or "")


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
