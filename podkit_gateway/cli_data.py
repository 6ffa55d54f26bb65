"""The commands that look after the whole: backup, restore, doctor."""

from __future__ import annotations

import asyncio
import os
from dataclasses import asdict
from pathlib import Path

import click

from podkit_gateway import backup, doctor, store
from podkit_gateway.cli import FAILED, cli, json_option, say, settings_of, show_rows
from podkit_gateway.errors import GatewayError


@cli.command("backup")
@click.argument("file", type=click.Path(path_type=Path))
@click.pass_context
def make_backup(context: click.Context, file: Path) -> None:
    """Copy the database to FILE, also while the gateway runs."""
    backup.back_up(settings_of(context).database_url, file)
    click.echo(file)


@cli.command("restore")
@click.argument("file", type=click.Path(path_type=Path))
@click.pass_context
def restore(context: click.Context, file: Path) -> None:
    """Fill an empty database from a backup."""
    settings = settings_of(context)

    async def find_revision() -> str | None:
        engine = store.open_engine(settings.database_url)
        try:
            return await store.find_revision(engine)
        finally:
            await engine.dispose()

    if asyncio.run(find_revision()) is not None:
        raise GatewayError("the database is not empty; name a new one in GATEWAY_DATABASE_URL")
    backup.restore(settings.database_url, file)
    say("Restored. If the backup is of an older version: podkit-gateway migrate")


@cli.command("doctor")
@json_option
@click.pass_context
def show_doctor(context: click.Context, as_json: bool) -> None:
    """Say what should be fixed; exit 1 if the gateway cannot serve as it is."""
    findings = asyncio.run(doctor.examine(settings_of(context), os.environ))
    show_rows([asdict(finding) for finding in findings], as_json, ["level", "what", "fix"])
    if any(finding.level == "problem" for finding in findings):
        context.exit(FAILED)
