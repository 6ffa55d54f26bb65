"""What makes a function a command: its common options, and the printing of its result."""

from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from typing import Any

import click

from podkit.commands.app import App
from podkit.commands.completion import complete_data_center, complete_pod
from podkit.commands.result import Result


def command(
    name: str,
    *,
    json: bool = False,
    kind: type[click.Command] = click.Command,
) -> Callable[[Any], click.Command]:
    """Makes a function of App a command with --sandbox, and with --json if programs want that.

    What the function returns is printed; None prints nothing.
    """

    def make(function: Callable[..., Result | None]) -> click.Command:
        @click.pass_context
        def run(context: click.Context, /, **options: Any) -> None:
            app: App = context.obj
            result = function(app, **options)
            if result is not None:
                app.show(result)

        entry = click.command(name, kind)(update_wrapper(run, function))
        entry.params += [JSON, SANDBOX] if json else [SANDBOX]
        return entry

    return make


def flag_of_app(name: str, field: str, text: str) -> click.Option:
    """An option that sets a field of App and is not handed to the command."""

    def remember(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
        setattr(context.obj, field, value)

    return click.Option([name], is_flag=True, expose_value=False, callback=remember, help=text)


SANDBOX = flag_of_app(
    "--sandbox", "sandbox", "Use the RunPod on this machine: no account, no GPU, no cost."
)
JSON = flag_of_app("--json", "as_json", "Print one JSON object on stdout.")
WIDE = click.option("--wide", is_flag=True, help="Show every column, however wide the table gets.")
POD = click.argument("pod_id", metavar="[ID]", default="", shell_complete=complete_pod)
POD_OPTION = click.option(
    "--pod",
    "pod_id",
    default="",
    shell_complete=complete_pod,
    help="Id, start of an id, name, or model; needed only if several pods are meant.",
)
DATA_CENTER = click.option(
    "--data-center",
    "PREFERRED_DATACENTER",
    shell_complete=complete_data_center,
    help="Data center, such as EU-RO-1.",
)
