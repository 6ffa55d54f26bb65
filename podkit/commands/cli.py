"""All commands in one group, and the one place where a failure becomes an exit code."""

from __future__ import annotations

import errno
import os
import sys
from typing import NoReturn

import click

import podkit
from podkit.commands.app import App
from podkit.commands.completion import complete_scripts
from podkit.commands.lazy_group import Entry, LazyGroup
from podkit.env_file import how_to_set
from podkit.errors import PodkitError, UsageError
from podkit.interrupts import Interrupts
from podkit.private_files import open_to_append
from podkit.settings import TRUE_WORDS

SECTIONS = {
    "A pod's life": (
        Entry("deploy", "Rent a GPU and serve a model on it, or find the pod that does."),
        Entry("list", "Show every pod, what it costs, and podkit's URLs.", "list_pods"),
        Entry("wait", "Wait until a pod serves."),
        Entry("logs", "Show a pod's log, also of one that is gone."),
        Entry("stop", "End pods, for certain."),
    ),
    "Using it": (
        Entry("open", "Open a pod's chat page in the browser.", "open_page"),
        Entry("env", "Print the lines that point an OpenAI client at a pod."),
        Entry("chat", "Ask a pod's model, with images if you like."),
        Entry("ocr", "Turn PDFs into Markdown."),
        Entry("eval", "See how well a pod reads pages whose text is known.", "evaluate"),
    ),
    "Before and after": (
        Entry("gpus", "Show the GPU types on offer, and how each model fits."),
        Entry("fit", "Show which GPU types a checkpoint of the Hub fits."),
        Entry("doctor", "Check key, volume, stock and pods."),
        Entry("cost", "Show what was billed, and what goes on billing."),
        Entry("volume", "Network volumes, which keep models and chats."),
        Entry("model", "Models in a bucket of yours, from where pods take them."),
    ),
    "Without a pod": (
        Entry("serverless", "Serverless endpoints from a config file, and their jobs."),
    ),
    "For a team": (
        Entry("gateway", "Keys, limits and usage in front of your pods."),
        Entry("export", "The same models as files for Kubernetes, AKS or dstack."),
    ),
    "Without an account": (Entry("sandbox", "The RunPod on this machine."),),
}
ALIASES = {"sls": "serverless"}


class Commands(LazyGroup):
    """podkit's commands, some of which have a short name."""

    def resolve_command(
        self,
        ctx: click.Context,
        args: list[str],
    ) -> tuple[str | None, click.Command | None, list[str]]:
        return super().resolve_command(ctx, [ALIASES.get(args[0], args[0]), *args[1:]])


@click.group(
    cls=Commands,
    sections=SECTIONS,
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


def main(interrupts: Interrupts) -> NoReturn:
    """Run the command that sys.argv names, and exit."""
    app = App(interrupts=interrupts)
    interrupts.left_file = app.root / ".podkit/left.txt"
    code = 0
    if "_PODKIT_COMPLETE" in app.environ:
        complete_scripts(app)
    try:
        code = cli.main(obj=app, prog_name="podkit", standalone_mode=False) or 0
    except Exception as error:
        interrupts.hold()  # the last lines are few, and are told whole
        code = app.report_failure(understood(app, interrupts.cause_of(error)))
    except SystemExit as end:  # click's own, after Tab or where the output was closed
        interrupts.hold()
        if end.code:
            code = app.report_failure(PodkitError("the output was closed"))
    interrupts.hold()
    sys.exit(code)


def understood(app: App, error: Exception) -> PodkitError:
    """Any failure of a command as one with a next step; a defect of podkit's own says so."""
    if isinstance(error, PodkitError):
        return error
    if isinstance(error, click.NoSuchOption) and error.option_name == "--api-key":
        what = "no command takes a key: command lines are kept by shells and seen by others"
        return UsageError(what, how_to_set("RUNPOD_API_KEY", "...", app.root / ".env"))
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
