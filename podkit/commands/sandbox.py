"""`sandbox`: the RunPod on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from podkit.commands.app import App, sandbox_control
from podkit.commands.options import command
from podkit.commands.result import Plain, Result
from podkit.errors import PodkitError


@click.group(no_args_is_help=False)
def sandbox() -> None:
    """The RunPod on this machine: pods, chat pages and OCR without an account, a GPU or a cost."""


@contextmanager
def _control(app: App) -> Iterator[tuple[Any, Path]]:
    with sandbox_control() as control:
        yield control, app.root / ".podkit/sandbox"


@command("start")
@click.option(
    "--scenario",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Faults to play.",
)
@click.option("--real-webui", is_flag=True, help="Install and run the real Open WebUI (1.3 GB).")
def start(app: App, scenario: Path | None, real_webui: bool) -> None:
    """Start it, and print the address of its API.

    \b
    Examples:
      ./podkit.sh sandbox start
      ./podkit.sh sandbox start --scenario faults.json
    """
    with _control(app) as (control, folder):
        running = control.start(folder, scenario=scenario, real_webui=real_webui)
    app.show_line(running.api_url)


@command("stop")
def stop(app: App) -> None:
    """Stop it and its pods.

    \b
    Examples:
      ./podkit.sh sandbox stop
    """
    with _control(app) as (control, folder):
        was_running = control.stop(folder)
    app.say("stopped the sandbox and its pods" if was_running else "no sandbox was running")


@command("status", json=True)
def status(app: App) -> Result:
    """Print the address of its API; exit 1 if it does not run.

    \b
    Examples:
      ./podkit.sh sandbox status
    """
    with _control(app) as (control, folder):
        running = control.status(folder)
    if running is None:
        raise PodkitError("no sandbox is running", "./podkit.sh sandbox start")
    return Plain(running.api_url, {"api_url": running.api_url})


sandbox.add_command(start)
sandbox.add_command(stop)
sandbox.add_command(status)
