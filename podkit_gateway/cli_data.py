"""The commands that look after the whole: backup, restore, doctor."""

from __future__ import annotations

import asyncio
import os
from dataclasses import asdict
from pathlib import Path

import click

from podkit_gateway import backup, doctor, store
from podkit_gateway.cli import FAILED, cli, json_option, settings_of, show, show_rows, tell
from podkit_gateway.errors import GatewayError


@cli.command("backup")
@click.argument("file", type=click.Path(path_type=Path))
@json_option
@click.pass_context
def make_backup(context: click.Context, file: Path, as_json: bool) -> None:
    """Copy the database to FILE, also while the gateway runs."""
    backup.back_up(settings_of(context).database_url, file)
    show({"file": str(file), "bytes": file.stat().st_size}, as_json, str(file))


@cli.command("restore")
@click.argument("file", type=click.Path(path_type=Path))
@json_option
@click.pass_context
def restore(context: click.Context, file: Path, as_json: bool) -> None:
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
    text = "Restored. If the backup is of an older version: podkit-gateway migrate"
    tell({"restored": True}, as_json, text)


@cli.command("doctor")
@json_option
@click.pass_context
def show_doctor(context: click.Context, as_json: bool) -> None:
    """Say what should be fixed; exit 1 if the gateway cannot serve as it is."""
    findings = asyncio.run(doctor.examine(settings_of(context), os.environ))
    show_rows([asdict(finding) for finding in findings], as_json, ["level", "what", "fix"])
    if any(finding.level == "problem" for finding in findings):
        context.exit(FAILED)
