"""podkit-gateway: what an operator types. stdout is data, stderr is narration; exit codes are
podkit's.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import import_module
from typing import Any, NoReturn

import click
from sqlalchemy.engine import RowMapping

from podkit_gateway.errors import ConfigurationError, GatewayError
from podkit_gateway.settings import Settings, load_settings

FAILED = 1
USAGE = 2
MADE_BETWEEN_COLLECTIONS = 20_000
"""Objects; Python's 700 are reached by three requests, and each collection looks at every stream.
"""
MOMENTS = {"created", "disabled", "expires", "last_used", "revoked"}
"""Columns that hold Unix seconds."""


def say(text: str) -> None:
    click.echo(text, err=True)


def show(value: Any, as_json: bool, text: str) -> None:
    """Prints data: one JSON document, or the text."""
    click.echo(json.dumps(value, default=str) if as_json else text)


def tell(done: dict[str, Any], as_json: bool, text: str) -> None:
    """Says what has been done: one JSON document on stdout, or a sentence on stderr."""
    if as_json:
        click.echo(json.dumps(done, default=str))
    else:
        say(text)


def show_rows(
    rows: Sequence[RowMapping | dict[str, Any]], as_json: bool, columns: Sequence[str]
) -> None:
    if as_json:
        click.echo(json.dumps([dict(row) for row in rows], default=str))
        return
    lines = [list(columns)]
    for row in rows:
        lines.append([plain(column, row[column]) for column in columns])
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    for cells in lines:
        padded = [cell.ljust(width) for cell, width in zip(cells, widths, strict=True)]
        click.echo("  ".join(padded).rstrip())


def plain(column: str, value: Any) -> str:
    """A value for a terminal, without control characters; moments as days in UTC."""
    if value is None:
        return "-"
    if column in MOMENTS:
        return datetime.fromtimestamp(value, UTC).date().isoformat()
    if isinstance(value, float):
        return f"{value:.6g}"
    text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    return "".join(character if character.isprintable() else "?" for character in text)


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


@click.group()
@click.pass_context
def cli(context: click.Context) -> None:
    """People, keys and limits in front of a team's models."""
    context.obj = context.obj or load_settings(os.environ)


def settings_of(context: click.Context) -> Settings:
    settings: Settings = context.obj
    return settings


@cli.command()
@click.pass_context
def serve(context: click.Context) -> None:
    """Serve until SIGTERM; then let running answers end."""
    from podkit_gateway.app import make_app
    from podkit_gateway.logs import open_log, quiet_libraries
    from podkit_gateway.server import check_port, make_server

    settings = settings_of(context)
    check_port("GATEWAY_PORT", settings.host, settings.port)
    check_port("GATEWAY_METRICS_PORT", settings.metrics_host, settings.metrics_port)
    say(f"{settings.name}: http://{settings.host}:{settings.port}")
    log = open_log(sys.stderr)
    quiet_libraries(log)
    server = make_server(make_app(settings, os.environ, log), settings)
    gc.freeze()  # what is there now stays: not to be looked at by every collection
    gc.set_threshold(MADE_BETWEEN_COLLECTIONS)
    server.run()


def main() -> NoReturn:
    """Runs the command; errors go to stderr as one line, without a traceback."""
    try:
        for name in ("cli_admin", "cli_data"):  # they register the other commands
            import_module(f"podkit_gateway.{name}")
        ended = cli.main(standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as problem:
        problem.show()
        sys.exit(USAGE)
    except ConfigurationError as problem:
        say(f"podkit-gateway: {problem}")
        sys.exit(USAGE)
    except (GatewayError, OSError, ValueError) as problem:
        say(f"podkit-gateway: {problem}")
        sys.exit(FAILED)
    sys.exit(ended if isinstance(ended, int) else 0)
