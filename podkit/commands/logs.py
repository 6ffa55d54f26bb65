"""`logs`: a pod's log, also of one that has ended as far as this checkout saw it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

import click

from podkit.commands.app import App
from podkit.commands.options import POD, command
from podkit.errors import Missing

if TYPE_CHECKING:
    from podkit.runpod.logs import LogLine


@command("logs")
@POD
@click.option("-f", "--follow", is_flag=True, help="Go on until Ctrl-C.")
@click.option("--system", is_flag=True, help="The host's log instead of the container's.")
@click.option(
    "--tail",
    type=click.IntRange(1, 5000),
    default=200,
    show_default=True,
    help="How many of the last lines, at most.",
)
@click.option("--timestamps", is_flag=True, help="Show when each line was written (UTC).")
def logs(
    app: App,
    pod_id: str,
    follow: bool,
    system: bool,
    tail: int,
    timestamps: bool,
) -> None:
    """Show a pod's log; of a pod that is gone, what this checkout saw of it within a week.

    \b
    Examples:
      ./podkit.sh logs -f               # until Ctrl-C
      ./podkit.sh logs 0926d6 --system   # what the host did
      ./podkit.sh logs --tail 20 --timestamps
    """
    from podkit.pods.logs import LogPosition, new_lines

    source = "system" if system else "container"

    def show(line: LogLine) -> None:
        app.show_line(f"{line.ts}  {line.text}" if timestamps else line.text)

    try:
        _, client, pod = app.find_pod(pod_id)
    except Missing:
        kept = app.kept_logs()
        ended = kept.find(pod_id)
        if not ended:
            raise
        app.say(f"pod {ended} is gone; this is what was seen of its log")
        for line in kept.read(ended, source)[-tail:]:
            show(line)
        return
    position = LogPosition()

    def open_log(resume_from: str) -> Iterator[LogLine]:
        lines = client.pod_log(pod.id, source, tail, resume_from, brief=not follow)
        return app.kept_logs().recording(pod.id, lines)

    if not follow:
        # once they are told there is nothing to wait for; fewer end when it is quiet
        for line in islice(new_lines(open_log, position), tail):
            show(line)
        return
    while True:
        for line in new_lines(open_log, position):
            show(line)
        time.sleep(1)
