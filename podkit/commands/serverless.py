"""`serverless`: endpoints from a config file, that keep their id, and their jobs."""

from __future__ import annotations

import click

from podkit.commands.serverless_bench import bench
from podkit.commands.serverless_change import delete, pause, releases, resume, rollback
from podkit.commands.serverless_deploy import deploy
from podkit.commands.serverless_env import env
from podkit.commands.serverless_eval import evaluate
from podkit.commands.serverless_jobs import jobs
from podkit.commands.serverless_logs import logs
from podkit.commands.serverless_plan import plan, validate
from podkit.commands.serverless_run import run
from podkit.commands.serverless_status import list_endpoints, status
from podkit.commands.serverless_test import test


@click.group(no_args_is_help=False)
def serverless() -> None:
    """Serverless endpoints from a config file: deployed in place, with a way back, and their
    jobs."""


for verb in (
    validate,
    plan,
    deploy,
    releases,
    rollback,
    pause,
    resume,
    delete,
    list_endpoints,
    status,
    run,
    test,
    evaluate,
    bench,
    logs,
    env,
    jobs,
):
    serverless.add_command(verb)
