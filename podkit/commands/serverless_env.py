"""`serverless env`: what another program needs in order to send jobs."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from podkit.commands.app import App
from podkit.commands.options import command
from podkit.commands.result import Plain, Result
from podkit.commands.serverless_options import CONFIG, ENDPOINT_ID
from podkit.commands.serverless_reach import ENDPOINT, reach
from podkit.settings import JOBS_URL


def variable_prefix(service: str) -> str:
    """The start of a service's variables: TRANSLATION for translation_endpoint."""
    words = re.sub(r"[^A-Za-z0-9]+", "_", service.removesuffix("_endpoint")).strip("_")
    return words.upper()


@command("env", json=True)
@ENDPOINT
@CONFIG
@ENDPOINT_ID
def env(app: App, word: str, config_file: Path | None, endpoint_id: str) -> Result:
    """Print the endpoint's id and the address of its jobs as lines for a shell, for a gateway or
    `Jobs.from_env`. The account's key is not among them: make one for this endpoint alone.

    \b
    Examples:
      eval "$(./podkit.sh serverless env translation_endpoint)"
    """
    there = reach(app, word, config_file, endpoint_id)
    prefix = variable_prefix(there.service.block if there.service else there.endpoint.name)
    run_url = f"{there.settings.jobs_url}/{there.endpoint.id}/run"
    variables = {f"{prefix}_ENDPOINT_ID": there.endpoint.id, f"{prefix}_RUN_URL": run_url}
    if there.settings.jobs_url != JOBS_URL:
        variables["RUNPOD_JOBS_URL"] = there.settings.jobs_url
    if app.sandbox:
        variables["RUNPOD_API_KEY"] = there.settings.api_key.reveal()
    lines = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
    return Plain("\n".join(lines), {"env": variables})
