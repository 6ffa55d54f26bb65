"""`serverless test`: whether a deployed service does what it promises."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from podkit.commands.app import App
from podkit.commands.options import command
from podkit.commands.result import Result
from podkit.commands.serverless_options import CONFIG, ENDPOINT_ID, timeout_option
from podkit.commands.serverless_reach import ENDPOINT, Reached, jobs_named, reach
from podkit.commands.serverless_run import FILE, INPUT, job_input

if TYPE_CHECKING:
    from podkit.jobs import JobState
    from podkit.serverless.acceptance import Verdict
    from podkit.serverless.diagnose import Finding

MODEL_VARIABLES = {"repo": "MODEL_REPO", "revision": "MODEL_REVISION"}
"""What the config's env may say of the model, by the names in a service's output."""
MARKS = {"ok": "ok", "failed": "FAILED", "skipped": "--"}


@dataclass(frozen=True)
class Tested:
    """The verdict of each check, and the seconds of all."""

    service: str
    kind: str
    verdicts: Sequence[Verdict]

    @property
    def failed(self) -> list[Verdict]:
        return [one for one in self.verdicts if one.outcome == "failed"]

    @property
    def skipped(self) -> list[Verdict]:
        return [one for one in self.verdicts if one.outcome == "skipped"]

    def fields(self) -> Mapping[str, Any]:
        return {
            "service": self.service,
            "kind": self.kind,
            "verdicts": [asdict(one) for one in self.verdicts],
            "seconds": round(sum(one.seconds for one in self.verdicts), 1),
        }

    def text(self) -> str:
        from podkit.commands.tables import columns

        rows = []
        for one in self.verdicts:
            rows.append([MARKS[one.outcome], one.name, f"{one.seconds:.1f} s", one.detail])
        return "\n".join(columns(["", "CHECK", "TIME", ""], *rows))


@command("test", json=True)
@ENDPOINT
@INPUT
@FILE
@timeout_option("Seconds for each job; the first may start a worker.", least=1)
@click.option(
    "--cost-limit",
    type=click.FloatRange(min=0, min_open=True),
    default=0.50,
    show_default=True,
    help="USD that may be spent at most; the checks that are left are skipped then.",
)
@CONFIG
@ENDPOINT_ID
def test(
    app: App,
    word: str,
    given: str,
    file: Path | None,
    timeout: float,
    cost_limit: float,
    config_file: Path | None,
    endpoint_id: str,
) -> Result:
    """Check with real jobs that a service keeps its promises: answers, errors, order, 20 jobs at
    once. The jobs are billed. Exit 1 if a check fails, or could not be paid for.

    \b
    Examples:
      ./podkit.sh serverless test translation_endpoint
      ./podkit.sh serverless test --cost-limit 0.05 --json
    """
    from podkit.errors import PodkitError
    from podkit.serverless.acceptance import Trial, kind_of, verdicts
    from podkit.serverless.price import hourly_price
    from podkit.serverless.sight import Reasons

    there = reach(app, word, config_file, endpoint_id)
    payload = job_input(there, given, file)
    jobs = there.jobs(app)
    clock = there.client.clock

    def tell(_state: JobState, finding: Finding | None) -> None:
        if finding:
            app.say(f"a job waits: {finding.what}; {finding.hint}")

    def follow() -> Callable[[JobState], None]:
        return Reasons(there.sight_taker(jobs), clock, tell).look

    trial = Trial(jobs, payload, timeout, clock, _model(there), follow)
    hourly = hourly_price(there.client, there.endpoint)
    found = []
    with jobs_named(app, there):
        for verdict in verdicts(trial, hourly, there.endpoint.max_workers, cost_limit):
            found.append(verdict)
            app.say(f"{MARKS[verdict.outcome]:6}  {verdict.name}: {verdict.detail}")
            app.show_event("verdict", verdict=asdict(verdict))
    result = Tested(there.word, kind_of(payload), found)
    unpaid = [one for one in result.skipped if "--cost-limit" in one.detail]
    if not (result.failed or unpaid):
        return result
    app.show_text(result)
    names = ", ".join(one.name for one in result.failed) or "it could not be paid for"
    hint = f"./podkit.sh serverless logs {there.word}; ./podkit.sh serverless status {there.word}"
    raise PodkitError(f"{there.word} is not as it should be: {names}", hint, **result.fields())


def _model(there: Reached) -> dict[str, str]:
    env = there.service.env if there.service else {}
    found = {}
    for name, variable in MODEL_VARIABLES.items():
        if env.get(variable):
            found[name] = env[variable]
    return found
