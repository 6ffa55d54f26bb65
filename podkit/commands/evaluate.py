"""`eval`: how much of pages whose text is known comes back wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from podkit.commands.app import App
from podkit.commands.options import POD, command
from podkit.commands.result import Result
from podkit.errors import PodkitError

if TYPE_CHECKING:
    from podkit.ocr.evaluation import Score


@dataclass(frozen=True)
class Evaluation:
    """The score of each case, and of all."""

    model: str
    scores: Sequence[Score]
    total: Score

    def text(self) -> str:
        from podkit.commands.tables import columns

        rows = [["CASE", "WORDS", "WER", "CER"]]
        for one in (*self.scores, self.total):
            rows.append([one.name, str(one.words), f"{one.wer:.1%}", f"{one.cer:.1%}"])
        return "\n".join(columns(*rows))

    def fields(self) -> Mapping[str, Any]:
        cases = [asdict(one) for one in self.scores]
        return {"model": self.model, "cases": cases, "total": asdict(self.total)}


@command("eval", json=True)
@POD
@click.option(
    "--folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Your own cases: NAME.pdf, NAME.png or NAME.jpg, and its text in NAME.txt or NAME.md.",
)
def evaluate(app: App, pod_id: str, folder: Path | None) -> Result:
    """Send pages whose text is known through a pod, and print how much comes back wrong.

    Exit 1 if more than 10 % of all words are wrong: the model, a flag or the pod is broken.

    \b
    Examples:
      ./podkit.sh eval                  # pages that podkit draws itself
      ./podkit.sh eval 0926d6 --folder samples/ --json
    """
    from tempfile import TemporaryDirectory

    from podkit.ocr.evaluation import GOOD_WER, MOST_WER, built_in, pair_cases, score_cases

    with TemporaryDirectory() as scratch:
        cases = pair_cases(folder, Path(scratch), app.say) if folder else built_in(Path(scratch))
        where = app.reach(pod_id)
        *scores, total = score_cases(app.session(), where, cases, app.say)
    result = Evaluation(where.model, scores, total)
    wrong = f"{total.wer:.1%} of the words are wrong"
    if total.wer > MOST_WER:
        app.show_text(result)
        hint = "./podkit.sh logs shows the model and the flags it runs with"
        what = f"the OCR is not as it should be: {wrong}"
        raise PodkitError(
            what, f"{hint}; if every case is bad, it is one of them", **result.fields()
        )
    how_well = "works" if total.wer < GOOD_WER else "works, but not well"
    app.say(f"the OCR {how_well}: {wrong}")
    return result
