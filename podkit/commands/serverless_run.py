"""`serverless run`: one job, from its input to its output, with the reason why it waits."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from podkit.commands.app import App
from podkit.commands.options import command
from podkit.commands.result import Result
from podkit.commands.serverless_options import CONFIG, ENDPOINT_ID, timeout_option
from podkit.commands.serverless_reach import ENDPOINT, Reached, job_hints, reach, state_fields
from podkit.errors import Interrupted, PodkitError

if TYPE_CHECKING:
    from podkit.jobs import Jobs, JobState
    from podkit.serverless.diagnose import Finding

STDIN = "-"
DASH_HINT = '--input \'{"text": "Bonjour"}\', --file input.json, or --file - for standard input'


@dataclass(frozen=True)
class Ran:
    """A job that has ended, and what it gave."""

    job: JobState
    output: Any

    def fields(self) -> Mapping[str, Any]:
        return {"job": state_fields(self.job), "output": self.output}

    def text(self) -> str:
        if isinstance(self.output, str):
            return self.output
        return json.dumps(self.output, indent=2, ensure_ascii=False)


INPUT = click.option("--input", "given", default="", help="The job's input, as JSON.")
FILE = click.option(
    "--file",
    "file",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path),
    help="A file with the input; - for standard input.",
)


@command("run", json=True)
@ENDPOINT
@INPUT
@FILE
@timeout_option("Seconds to wait for the output.")
@CONFIG
@ENDPOINT_ID
def run(
    app: App,
    word: str,
    given: str,
    file: Path | None,
    timeout: float,
    config_file: Path | None,
    endpoint_id: str,
) -> Result:
    """Submit a job, wait, and print its output. SERVICE is a block of the config, or any endpoint's
    name or id. Without an input the config's test_payload is sent.

    While it waits, stderr says why. Exit 1 if the job fails, 75 if it was not done in time: it goes
    on. Ctrl-C leaves it to go on, too, and prints how to follow or cancel it.

    \b
    Examples:
      ./podkit.sh serverless run translation_endpoint
      ./podkit.sh serverless run --input '{"text": "Ne y windiga"}' --timeout 60
      echo '{"text": "Bonjour"}' | ./podkit.sh serverless run --file - --json
    """
    there = reach(app, word, config_file, endpoint_id)
    content = job_input(there, given, file)
    jobs = there.jobs(app)
    with job_hints(there.word), submitted(app, there, jobs, content) as job_id:
        return follow(app, there, jobs, job_id, timeout)


@contextmanager
def submitted(
    app: App,
    there: Reached,
    jobs: Jobs,
    content: Mapping[str, Any],
) -> Iterator[str]:
    """A new job, by its id. Whoever interrupts the submit is told of the job, too, and of one that
    may have come of it.
    """
    from podkit.jobs import SubmitUnclear

    look = f"./podkit.sh serverless status {there.word}"
    unclear = f"a job may have been submitted to {there.word}"
    app.interrupts.report = lambda: f"podkit: {unclear}; {app.here(look)}\n"
    try:
        with ExitStack() as holding:
            holding.enter_context(app.interrupts.held())
            job_id = jobs.submit(content)
            with job_named(app, there, job_id):
                holding.close()  # a Ctrl-C that came meanwhile is heard here
                app.say(f"job {job_id} was submitted to {there.word}")
                yield job_id
    except Interrupted as error:
        if isinstance(error.__context__, SubmitUnclear):
            error.message = f"interrupted; {unclear}"
            error.hint = f"{look} shows the queue"
        raise


@contextmanager
def job_named(app: App, there: Reached, job_id: str) -> Iterator[None]:
    """Whoever interrupts the block is told that the job goes on, and how to follow or cancel it."""
    verbs = next_verbs(there, job_id)
    app.interrupts.report = lambda: f"podkit: job {job_id} goes on; {app.here(verbs)}\n"
    try:
        yield
    except Interrupted as error:
        error.message = f"interrupted; job {job_id} goes on"
        error.hint = verbs
        error.fields["job"] = job_id
        raise
    app.interrupts.report = lambda: ""


def next_verbs(there: Reached, job_id: str) -> str:
    """The commands that follow a job, and cancel it."""
    verbs = "./podkit.sh serverless jobs"
    return f"{verbs} wait {job_id} {there.word}; {verbs} cancel {job_id} {there.word}"


def follow(app: App, there: Reached, jobs: Jobs, job_id: str, timeout: float) -> Result:
    """The output of a job that was submitted, waited for with reasons. Raises a JobProblem."""
    from podkit.jobs import WaitTimeout
    from podkit.serverless.sight import Reasons

    states: list[JobState] = []
    started = there.client.clock()

    def tell(state: JobState, finding: Finding | None) -> None:
        seconds = there.client.clock() - started
        tell_job(app, state, finding, seconds)

    reasons = Reasons(there.sight_taker(jobs), there.client.clock, tell)

    def look(state: JobState) -> None:
        states[:] = [state]
        reasons.look(state)

    try:
        output = jobs.wait(job_id, timeout=timeout, look=look)
    except WaitTimeout as error:
        verbs = next_verbs(there, job_id)
        raise _explain(error, timeout, reasons.finding, verbs) from None
    return Ran(states[-1], output)


def _explain(
    error: PodkitError,
    timeout: float,
    finding: Finding | None,
    verbs: str,
) -> PodkitError:
    """The end of a wait, with the reason why the job waited, if it was found."""
    error.message = error.message.replace("in time", f"in {timeout:g} s")
    error.hint = verbs
    if finding:
        error.message += f": {finding.what}"
        error.hint = f"{finding.hint}; then {verbs}"
        error.fields["finding"] = asdict(finding)
    return error


def tell_job(app: App, state: JobState, finding: Finding | None, seconds: float) -> None:
    """A change of a job's state, or the reason why it waits: a line, with --json an event."""
    from podkit.serverless.sight import job_event

    app.show_event("job", **job_event(state, finding, seconds))
    if finding is None:
        app.say(f"{seconds:6.1f} s  {state.status}")
        return
    app.say(f"{seconds:6.1f} s  {finding.what}")
    for line in finding.lines:
        app.say(f"          | {line}")
    if not finding.can_serve:
        app.say(f"          next: {finding.hint}")


def job_input(there: Reached, given: str, file: Path | None) -> Any:
    """The input that is meant. What has `input` as its only field is taken for a whole job. Raises
    UsageError."""
    from podkit.errors import UsageError

    if given and file:
        raise UsageError("--input and --file exclude each other", DASH_HINT)
    if not (given or file):
        content = there.first_job()
        if content is None:
            raise UsageError("no input was given", DASH_HINT)
        return content
    place = str(file or "--input")
    try:
        content = json.loads(_read(file) if file else given)
    except ValueError as error:
        raise UsageError(f"{place} is no JSON: {error}", DASH_HINT) from None
    if isinstance(content, dict) and list(content) == ["input"]:
        return content["input"]
    return content


def _read(file: Path) -> str:
    from podkit.errors import UsageError

    try:
        if str(file) == STDIN:
            return sys.stdin.read()
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text in UTF-8"
        raise UsageError(f"cannot read {file}: {reason}", DASH_HINT) from None
