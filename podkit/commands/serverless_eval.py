"""`serverless eval`: how good a service's outputs are, beside known good ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from podkit.commands.app import App
from podkit.commands.options import command
from podkit.commands.result import Result
from podkit.commands.serverless_options import CONFIG
from podkit.commands.serverless_reach import ENDPOINT, Reached, reach

if TYPE_CHECKING:
    from podkit.serverless.evaluation import Asker
    from podkit.serverless.pairs import Pair
    from podkit.serverless.quality import Changed, Kept, Score

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
KINDS = "--tsv or --flores (translation), --recordings (transcription), or --sentences (speech)"


@dataclass(frozen=True)
class Sources:
    """What was given to compare with, and how."""

    tsv: Path | None
    flores: Path | None
    recordings: Path | None
    sentences: Path | None
    limit: int

    def check(self) -> None:
        """Raises UsageError unless exactly one is there."""
        from podkit.errors import UsageError

        given = (self.tsv, self.flores, self.recordings, self.sentences)
        if sum(one is not None for one in given) != 1:
            raise UsageError(f"what is to be compared? Give {KINDS}", "see docs/services.md")

    def pairs(self, source: str, target: str) -> list[Pair]:
        """The pairs of a translation."""
        from podkit.serverless.pairs import read_flores, read_tsv

        if self.tsv:
            return read_tsv(self.tsv, self.limit)
        return read_flores(self.flores or Path(), source, target, self.limit)


@dataclass(frozen=True)
class Evaluated:
    """The score of each way, what changed beside an earlier evaluation, and where all is kept."""

    service: str
    scores: Sequence[Score]
    changed: Sequence[Changed]
    kept: Path

    def fields(self) -> Mapping[str, Any]:
        return {
            "service": self.service,
            "scores": [asdict(score) for score in self.scores],
            "changed": [asdict(one) for one in self.changed],
            "kept": str(self.kept),
        }

    def text(self) -> str:
        from podkit.commands.tables import columns

        rows = [["WAY", "CASES", "SCORE", "", ""]]
        for score in self.scores:
            beside = ", ".join(f"{name} {value:g}" for name, value in score.beside.items())
            rows.append([score.way, str(score.cases), f"{score.score:.2f}", score.name, beside])
        lines = columns(*rows)
        for one in self.changed:
            how = f"{one.share:.0%} of {one.cases} outputs differ, score {one.difference:+.2f}"
            lines.append(f"{one.way}: {how}")
            for before, after in one.examples:
                lines += [f"  - {before}", f"  + {after}"]
        return "\n".join([*lines, f"kept in {self.kept}"])


@command("eval", json=True)
@ENDPOINT
@click.option("--tsv", type=FILE, help="Your own pairs: source, tab, translation in a line.")
@click.option("--flores", type=FOLDER, help="dev or devtest of FLORES-200 that you downloaded.")
@click.option(
    "--recordings", type=FOLDER, help="NAME.wav (or mp3, ...) with its words in NAME.txt."
)
@click.option("--sentences", type=FILE, help="Sentences that a voice is to say, one a line.")
@click.option("--through", default="", help="The transcription service that listens to the voice.")
@click.option("--language", default="", help="Of the speech, for who listens; else detected.")
@click.option("--from", "source", default="", help="Language; default: that of the test input.")
@click.option("--to", "target", default="", help="Language; default: that of the test input.")
@click.option("--one-way", is_flag=True, help="Not back, too.")
@click.option("--limit", type=click.IntRange(min=0), default=0, help="Only the first so many.")
@click.option("--floor", type=click.FloatRange(0, 100), help="Exit 1 for a score below it.")
@click.option("--against", type=FOLDER, help="An earlier evaluation's folder, to compare with.")
@click.option("--keep", "kept", type=click.Path(path_type=Path), help="Where to keep outputs.")
@click.option("--at-once", type=click.IntRange(1, 200), default=8, show_default=True)
@click.option("--timeout", type=click.FloatRange(min=1), default=600.0, show_default=True)
@CONFIG
def evaluate(
    app: App,
    word: str,
    tsv: Path | None,
    flores: Path | None,
    recordings: Path | None,
    sentences: Path | None,
    through: str,
    language: str,
    source: str,
    target: str,
    one_way: bool,
    limit: int,
    floor: float | None,
    against: Path | None,
    kept: Path | None,
    at_once: int,
    timeout: float,
    config_file: Path | None,
) -> Result:
    """Compare a service's outputs with known good ones: chrF++ and BLEU of translations both ways,
    the share of right words of transcriptions, and of a voice that a transcription service hears.
    Outputs are kept. Exit 1 below --floor.

    \b
    Examples:
      ./podkit.sh serverless eval translation_endpoint --tsv pairs.tsv --floor 40
      ./podkit.sh serverless eval --flores flores200_dataset/devtest --limit 200
      ./podkit.sh serverless eval --tsv pairs.tsv --against .podkit/eval/translation_endpoint-1
    """
    _check_parts()
    from podkit.serverless.evaluation import Asker, keep

    given = Sources(tsv, flores, recordings, sentences, limit)
    given.check()
    there = reach(app, word, config_file)
    asker = Asker(there.jobs(app), at_once, timeout, there.client.clock, app.say)
    if sentences:
        listener = reach(app, _name_of(through), config_file).jobs(app)
        found = _speak(asker, replace(asker, jobs=listener), given, language)
    elif recordings:
        found = _heard(asker, given, language)
    else:
        languages = _languages(there, source, target)
        found = _translate(asker, given, languages, one_way)
    scores = _scores(found, is_translation=bool(tsv or flores))
    folder = kept or _new_folder(app, there)
    keep(folder, found, scores)
    result = Evaluated(there.word, scores, _compare_with(against, found, scores), folder)
    _check_floor(app, result, floor)
    return result


def _check_parts() -> None:
    """Raises UsageError if what measures is not installed."""
    from podkit.errors import UsageError

    try:
        import podkit.serverless.quality  # noqa: F401
    except ImportError as error:
        what = f"the parts for evaluations are not installed ({error.name})"
        raise UsageError(what, "./podkit.sh serverless eval installs them") from None


def _check_floor(app: App, result: Evaluated, floor: float | None) -> None:
    """Raises PodkitError, with all that was found, for a score below the floor."""
    from podkit.errors import PodkitError

    low = [score for score in result.scores if floor is not None and score.score < floor]
    if not low:
        return
    app.show_text(result)
    names = ", ".join(f"{score.way} {score.score:.2f}" for score in low)
    what = f"below the floor of {floor:g}: {names}"
    raise PodkitError(what, f"the outputs are in {result.kept}", **result.fields())


def _translate(
    asker: Asker,
    given: Sources,
    languages: tuple[str, str],
    one_way: bool,
) -> dict[str, list[Kept]]:
    from podkit.serverless.evaluation import translate

    source, target = languages
    pairs = given.pairs(source, target)
    found = {f"{source}-{target}": translate(asker, pairs, source, target)}
    if not one_way:
        turned = [pair.turn() for pair in pairs]
        found[f"{target}-{source}"] = translate(asker, turned, target, source)
    return found


def _heard(asker: Asker, given: Sources, language: str) -> dict[str, list[Kept]]:
    from podkit.serverless.evaluation import transcribe
    from podkit.serverless.pairs import read_recordings

    recordings = read_recordings(given.recordings or Path(), given.limit)
    return {"speech-text": transcribe(asker, recordings, language)}


def _speak(
    speaker: Asker,
    listener: Asker,
    given: Sources,
    language: str,
) -> dict[str, list[Kept]]:
    from podkit.serverless.evaluation import round_trip
    from podkit.serverless.pairs import read_sentences

    sentences = read_sentences(given.sentences or Path(), given.limit)
    return {"text-speech-text": round_trip(speaker, listener, sentences, language)}


def _scores(found: Mapping[str, list[Kept]], *, is_translation: bool) -> list[Score]:
    from podkit.serverless.quality import score_translation, score_words

    score = score_translation if is_translation else score_words
    return [score(way, cases) for way, cases in found.items()]


def _compare_with(
    against: Path | None,
    found: Mapping[str, list[Kept]],
    scores: Sequence[Score],
) -> list[Changed]:
    from podkit.serverless.evaluation import read_kept
    from podkit.serverless.quality import compare

    if against is None:
        return []
    earlier, before = read_kept(against)
    by_way = {score.way: score for score in before}
    changed = []
    for score in scores:
        if score.way in by_way:
            both = (by_way[score.way], score)
            changed.append(compare(earlier[score.way], found[score.way], both))
    return changed


def _languages(there: Reached, source: str, target: str) -> tuple[str, str]:
    from podkit.errors import UsageError

    payload = there.first_job() or {}
    found = (
        source or str(payload.get("src_lang") or ""),
        target or str(payload.get("tgt_lang") or ""),
    )
    if not all(found):
        raise UsageError("which languages?", "--from fra_Latn --to mos_Latn")
    return found


def _name_of(through: str) -> str:
    from podkit.errors import UsageError

    if not through:
        raise UsageError("who listens to the voice?", "--through transcription_endpoint")
    return through


def _new_folder(app: App, there: Reached) -> Path:
    """A folder that is not there yet."""
    number = 1
    while True:
        folder = app.root / ".podkit/eval" / f"{there.word}-{number}"
        if not folder.exists():
            return folder
        number += 1
