"""All commands in one group, and the one place where a failure becomes an exit code."""

from __future__ import annotations

import errno
import os
import sys
from typing import NoReturn

import click

import podkit
from podkit.commands.app import App
from podkit.commands.chat import chat
from podkit.commands.cost import cost
from podkit.commands.deploy import deploy
from podkit.commands.doctor import doctor
from podkit.commands.env import env
from podkit.commands.evaluate import evaluate
from podkit.commands.fit import fit
from podkit.commands.gateway import gateway
from podkit.commands.gpus import gpus
from podkit.commands.list_pods import list_pods
from podkit.commands.logs import logs
from podkit.commands.ocr import ocr
from podkit.commands.open_page import open_page
from podkit.commands.sandbox import sandbox
from podkit.commands.serverless import serverless
from podkit.commands.stop import stop
from podkit.commands.volume import volume
from podkit.commands.wait import wait
from podkit.errors import PodkitError, UsageError
from podkit.interrupts import Interrupts
from podkit.private_files import open_to_append
from podkit.settings import TRUE_WORDS

SECTIONS: dict[str, tuple[click.Command, ...]] = {
    "A pod's life": (deploy, list_pods, wait, logs, stop),
    "Using it": (open_page, env, chat, ocr, evaluate),
    "Before and after": (gpus, fit, doctor, cost, volume),
    "Without a pod": (serverless,),
    "For a team": (gateway,),
    "Without an account": (sandbox,),
}


ALIASES = {"sls": "serverless"}


class Commands(click.Group):
    """Shows its commands by what they are for."""

    def resolve_command(
        self,
        ctx: click.Context,
        args: list[str],
    ) -> tuple[str | None, click.Command | None, list[str]]:
        return super().resolve_command(ctx, [ALIASES.get(args[0], args[0]), *args[1:]])

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, entries in SECTIONS.items():
            rows = [(str(entry.name), entry.get_short_help_str(60)) for entry in entries]
            with formatter.section(title):
                formatter.write_dl(rows)


@click.group(
    cls=Commands,
    no_args_is_help=False,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(podkit.__version__)
@click.pass_context
def cli(context: click.Context) -> None:
    """A private vision model with a chat page on a rented GPU, and nothing left billing when you
    walk away.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


for section in SECTIONS.values():
    for entry in section:
        cli.add_command(entry)


def main(interrupts: Interrupts) -> NoReturn:
    """Run the command that sys.argv names, and exit."""
    app = App(interrupts=interrupts)
    interrupts.left_file = app.root / ".podkit/left.txt"
    code = 0
    try:
        code = cli.main(obj=app, prog_name="podkit", standalone_mode=False) or 0
    except Exception as error:
        interrupts.hold()  # the last lines are few, and are told whole
        code = app.ended(understood(app, interrupts.cause_of(error)))
    except SystemExit:  # click's own end of a command whose output was closed
        interrupts.hold()
        code = app.ended(PodkitError("the output was closed"))
    interrupts.hold()
    sys.exit(code)


def understood(app: App, error: Exception) -> PodkitError:
    """Any failure of a command as one with a next step; a defect of podkit's own says so."""
    if isinstance(error, PodkitError):
        return error
    if isinstance(error, click.ClickException):
        typed = "podkit"
        if isinstance(error, click.UsageError) and error.ctx:
            typed = error.ctx.command_path
        return UsageError(
            error.format_message(), f"./{typed.replace('podkit', 'podkit.sh', 1)} --help"
        )
    if isinstance(error, click.Abort | BrokenPipeError):
        return PodkitError("the output was closed")
    if isinstance(error, OSError):
        is_full = error.errno == errno.ENOSPC
        hint = "make room there" if is_full else "make it readable and writable for you"
        return PodkitError(f"{error.filename or 'a file'}: {error.strerror}", hint)
    return _defect(app, error)


def _defect(app: App, error: Exception) -> PodkitError:
    import traceback

    what = f"this is a defect in podkit ({type(error).__name__})"
    if app.environ.get("PODKIT_DEBUG", "").lower() not in TRUE_WORDS:
        hint = "the same command with PODKIT_DEBUG=1 writes the details to a file"
        return PodkitError(what, hint)
    file = app.root / ".podkit/debug.log"
    try:
        with os.fdopen(open_to_append(file), "a") as log:
            traceback.print_exception(error, file=log)
        return PodkitError(what, f"the details are in {file}")
    except OSError as trouble:
        hint = f"its details could not be written to {file} ({trouble.strerror}): make it writable"
        return PodkitError(what, hint)
