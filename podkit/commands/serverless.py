"""`serverless`: endpoints from a config file, that keep their id, and their jobs."""

from __future__ import annotations

import click

from podkit.commands.serverless_change import delete, pause, releases, resume, rollback
from podkit.commands.serverless_deploy import deploy
from podkit.commands.serverless_plan import plan, validate


@click.group(no_args_is_help=False)
def serverless() -> None:
    """Serverless endpoints from a config file: deployed in place, with a way back, and their
    jobs."""


for verb in (validate, plan, deploy, releases, rollback, pause, resume, delete):
    serverless.add_command(verb)
