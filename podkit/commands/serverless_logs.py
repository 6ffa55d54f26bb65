"""`serverless logs`: the logs of all workers as one."""

from __future__ import annotations

from pathlib import Path

import click

from podkit.commands.app import App
from podkit.commands.options import command
from podkit.commands.serverless_options import CONFIG, ENDPOINT_ID
from podkit.commands.serverless_reach import ENDPOINT, reach


@command("logs")
@ENDPOINT
@click.option("-f", "--follow", is_flag=True, help="Go on until Ctrl-C, also with new workers.")
@click.option("--worker", "worker_id", default="", help="Only this worker's.")
@click.option("--job", "job_id", default="", help="Only lines about this job.")
@click.option("--system", is_flag=True, help="What the hosts did, instead of the containers.")
@click.option(
    "--tail",
    type=click.IntRange(1, 5000),
    default=100,
    show_default=True,
    help="How many of each worker's last lines.",
)
@CONFIG
@ENDPOINT_ID
def logs(
    app: App,
    word: str,
    follow: bool,
    worker_id: str,
    job_id: str,
    system: bool,
    tail: int,
    config_file: Path | None,
    endpoint_id: str,
) -> None:
    """Show the logs of all workers, each line with its worker. A worker's lines are gone soon after
    it: follow them while it lives.

    \b
    Examples:
      ./podkit.sh serverless logs translation_endpoint -f
      ./podkit.sh serverless logs --system      # what the hosts did
      ./podkit.sh serverless logs --job 4f0c
    """
    from podkit.serverless.worker_logs import Wanted, WorkerLine, follow_lines, read_lines

    there = reach(app, word, config_file, endpoint_id)
    wanted = Wanted("system" if system else "container", worker_id, job_id, tail)

    def show(one: WorkerLine) -> None:
        app.show_line(f"{one.worker_id}  {one.line.text}")

    if follow:
        for one in follow_lines(there.client, there.endpoint.id, wanted):
            show(one)
    lines = read_lines(there.client, there.endpoint.id, wanted)
    for one in lines:
        show(one)
    if not lines:
        app.say(f"nothing to show; ./podkit.sh serverless status {there.word} says what is there")
