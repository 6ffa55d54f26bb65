"""`serverless jobs`: the calls of the job API, one by one."""

from __future__ import annotations

import json
from pathlib import Path

import click

from podkit.commands.app import App
from podkit.commands.options import command
from podkit.commands.result import Plain, Result
from podkit.commands.serverless_options import CONFIG, ENDPOINT_ID, timeout_option
from podkit.commands.serverless_reach import ENDPOINT, JOB, job_hints, reach, state_fields
from podkit.commands.serverless_run import FILE, INPUT, follow, job_input, job_named, submitted

TIMEOUT = timeout_option("Seconds to wait.")


@click.group(no_args_is_help=False)
def jobs() -> None:
    """Jobs of an endpoint one by one: submitted now, waited for later."""


@command("submit", json=True)
@ENDPOINT
@INPUT
@FILE
@CONFIG
@ENDPOINT_ID
def submit(
    app: App,
    word: str,
    given: str,
    file: Path | None,
    config_file: Path | None,
    endpoint_id: str,
) -> Result:
    """Submit a job once, and print its id. SERVICE and the input are as in `run`.

    \b
    Examples:
      ./podkit.sh serverless jobs submit translation_endpoint --file input.json
    """
    there = reach(app, word, config_file, endpoint_id)
    content = job_input(there, given, file)
    jobs = there.jobs(app)
    with job_hints(there.word), submitted(app, there, jobs, content) as job_id:
        return Plain(job_id, {"job": {"id": job_id}})


@command("status", json=True)
@JOB
@ENDPOINT
@CONFIG
@ENDPOINT_ID
def status(
    app: App,
    job_id: str,
    word: str,
    config_file: Path | None,
    endpoint_id: str,
) -> Result:
    """Show the state of a job.

    \b
    Examples:
      ./podkit.sh serverless jobs status 4f0c translation_endpoint
    """
    there = reach(app, word, config_file, endpoint_id)
    with job_hints(there.word):
        state = there.jobs(app).status(job_id)
    shown = state.status
    if state.retries:
        shown += f" (retries: {state.retries})"
    return Plain(shown, {"job": state_fields(state), "output": state.output, "told": state.error})


@command("wait", json=True)
@JOB
@ENDPOINT
@TIMEOUT
@CONFIG
@ENDPOINT_ID
def wait(
    app: App,
    job_id: str,
    word: str,
    timeout: float,
    config_file: Path | None,
    endpoint_id: str,
) -> Result:
    """Wait for a job, say why it waits, and print its output. Exits as `run` does.

    \b
    Examples:
      ./podkit.sh serverless jobs wait 4f0c translation_endpoint
    """
    there = reach(app, word, config_file, endpoint_id)
    with job_hints(there.word), job_named(app, there, job_id):
        return follow(app, there, there.jobs(app), job_id, timeout)


@command("stream", json=True)
@JOB
@ENDPOINT
@TIMEOUT
@CONFIG
@ENDPOINT_ID
def stream(
    app: App,
    job_id: str,
    word: str,
    timeout: float,
    config_file: Path | None,
    endpoint_id: str,
) -> Result:
    """Print what a job gives, a line of JSON for each part as it comes.

    \b
    Examples:
      ./podkit.sh serverless jobs stream 4f0c translation_endpoint
    """
    there = reach(app, word, config_file, endpoint_id)
    parts = 0
    with job_hints(there.word):
        for part in there.jobs(app).stream(job_id, timeout=timeout):
            parts += 1
            app.show_event("part", job=job_id, output=part)
            app.show_line(json.dumps(part, ensure_ascii=False))
    return Plain("", {"job": {"id": job_id}, "parts": parts})


@command("cancel", json=True)
@JOB
@ENDPOINT
@CONFIG
@ENDPOINT_ID
def cancel(
    app: App,
    job_id: str,
    word: str,
    config_file: Path | None,
    endpoint_id: str,
) -> Result:
    """End a job, queued or running.

    \b
    Examples:
      ./podkit.sh serverless jobs cancel 4f0c translation_endpoint
    """
    there = reach(app, word, config_file, endpoint_id)
    with job_hints(there.word):
        there.jobs(app).cancel(job_id)
    return Plain(f"job {job_id} is cancelled", {"job": {"id": job_id}})


@command("retry", json=True)
@JOB
@ENDPOINT
@CONFIG
@ENDPOINT_ID
def retry(
    app: App,
    job_id: str,
    word: str,
    config_file: Path | None,
    endpoint_id: str,
) -> Result:
    """Queue a job that failed or timed out again, under its id.

    \b
    Examples:
      ./podkit.sh serverless jobs retry 4f0c translation_endpoint
    """
    there = reach(app, word, config_file, endpoint_id)
    with job_hints(there.word):
        there.jobs(app).retry(job_id)
    return Plain(f"job {job_id} waits again", {"job": {"id": job_id}})


@command("purge", json=True)
@ENDPOINT
@click.option("--yes", is_flag=True, help="Do not ask.")
@CONFIG
@ENDPOINT_ID
def purge(
    app: App,
    word: str,
    yes: bool,
    config_file: Path | None,
    endpoint_id: str,
) -> Result:
    """Remove all jobs that wait; those that run go on.

    \b
    Examples:
      ./podkit.sh serverless jobs purge translation_endpoint --yes
    """
    there = reach(app, word, config_file, endpoint_id)
    if not yes:
        again = f"./podkit.sh serverless jobs purge {there.word} --yes"
        app.confirm(f"remove all jobs that wait for {there.word}?", again)
    removed = there.jobs(app).purge_queue()
    return Plain(f"{removed} removed", {"removed": removed})


for verb in (submit, status, wait, stream, cancel, retry, purge):
    jobs.add_command(verb)
