"""`serverless deploy`: from a config to an endpoint that serves, at an id that stays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from podkit.commands.app import App, sandbox_control
from podkit.commands.options import command
from podkit.commands.result import Plain, Result
from podkit.commands.serverless_options import (
    ADOPT,
    CONFIG,
    ENDPOINT_ID,
    NO_WAIT,
    SERVICE,
    Config,
    changing,
    first_job,
    read_config,
    turn,
    variables,
)
from podkit.commands.serverless_plan import plan_lines
from podkit.settings import load

if TYPE_CHECKING:
    from podkit.runpod.endpoint_types import Endpoint
    from podkit.serverless.config import Service
    from podkit.serverless.deploy import Deployed
    from podkit.serverless.rollout import FirstJob

TINY_MODEL = "tiny_model.py"
"""Of a service that makes a small stand-in for its model."""


@dataclass(frozen=True)
class Done:
    """An endpoint after a command that changed it."""

    block: str
    action: str
    endpoint: Endpoint
    version: int | None
    job: FirstJob | None
    twins: tuple[str, ...] = ()

    def fields(self) -> Mapping[str, Any]:
        return {
            "service": self.block,
            "action": self.action,
            "endpoint": endpoint_fields(self.endpoint),
            "version": self.version,
            "job": asdict(self.job) if self.job else None,
            "twins": list(self.twins),
        }

    def text(self) -> str:
        lines = [self.endpoint.id]
        for name in ("run", "status"):
            if name in self.endpoint.urls:
                lines.append(f"{name:<6}  {self.endpoint.urls[name]}")
        return "\n".join(lines)


def endpoint_fields(endpoint: Endpoint) -> dict[str, Any]:
    """An endpoint for programs, without its variables."""
    return {
        "id": endpoint.id,
        "name": endpoint.name,
        "image": endpoint.settings.get("image"),
        "min_workers": endpoint.min_workers,
        "max_workers": endpoint.max_workers,
        "urls": dict(endpoint.urls),
    }


@command("deploy", json=True)
@SERVICE
@CONFIG
@ENDPOINT_ID
@ADOPT
@click.option("--dry-run", is_flag=True, help="Show the request, secrets blanked; send nothing.")
@click.option("--replace", is_flag=True, help="Make a second endpoint for what cannot be changed.")
@click.option("--rollback-on-failure", is_flag=True, help="Go back if the new release fails.")
@NO_WAIT
def deploy(
    app: App,
    block: str,
    config_file: Path | None,
    endpoint_id: str,
    adopt: bool,
    dry_run: bool,
    replace: bool,
    rollback_on_failure: bool,
    wait: bool,
) -> Result:
    """Make an endpoint what its config wants: created once, then changed in place, so its id stays.

    It waits for the rollout and tries a first job. A second deploy finds nothing to do.

    \b
    Examples:
      ./deploy_translation.sh --sandbox
      ./podkit.sh serverless deploy translation_endpoint
      ./podkit.sh serverless deploy --dry-run --json
    """
    config = read_config(app, config_file)
    service = config.choose(block)
    payload = first_job(config, service)
    if dry_run:
        return _dry_run(app, service)
    from podkit.serverless.deploy import Wishes
    from podkit.serverless.deploy import deploy as deploy_endpoint
    from podkit.serverless.survey import survey

    _tell_service(app, service)
    with changing(app, *app.connect()) as world, turn(app):
        place_service(app, config, service)
        found = survey(
            world.client,
            service,
            world.environment,
            world.history,
            endpoint_id,
            adopt=adopt,
        )
        for line in [*plan_lines(found), *[f"warning: {one}" for one in found.warnings]]:
            app.say(line)
        wishes = Wishes(payload if wait else None, wait, replace, rollback_on_failure)
        done = deploy_endpoint(world, found, wishes)
    _tell_end(app, done, service)
    return Done(service.block, done.action, done.endpoint, done.version, done.job, done.twins)


def place_service(app: App, config: Config, service: Service) -> None:
    """In the sandbox, where no image is pulled: the folder whose code its workers run."""
    if not (app.sandbox and service.worker_folder):
        return
    folder = config.path(service.worker_folder)
    with sandbox_control() as control:
        running = control.status(app.root / ".podkit/sandbox")
        control.place_service(running, service.image, folder, service.worker_command)
    app.say(f"its workers run {service.worker_folder} on this machine, not the image")
    if (folder / TINY_MODEL).exists():
        app.say("the model is a small stand-in with random weights: what it answers means nothing")


def _dry_run(app: App, service: Service) -> Result:
    """The create as it would be sent, by the documented pools: nobody is asked."""
    import json

    from podkit.serverless.plan import create_body, desired_settings, request_body
    from podkit.serverless.pools import documented_catalogue

    desired = desired_settings(service, variables(app), documented_catalogue())
    body = request_body(create_body(desired, "(new for every create)"), redacted=True)
    url = f"{load(app.environ, app.root, {}).api_url}/serverless"
    requests = [{"method": "POST", "url": url, "body": body}]
    shown = f"POST {url}\n{json.dumps(body, indent=2, ensure_ascii=False)}"
    return Plain(shown, {"dry_run": True, "requests": requests})


def _tell_service(app: App, service: Service) -> None:
    if service.licence:
        app.say(f"licence of the model: {service.licence}")
    else:
        app.say(f"no licence is given: put that of the model into {service.block}.licence")


def _tell_end(app: App, done: Deployed, service: Service) -> None:
    """What was done, in a sentence, and what may be typed next."""
    endpoint = done.endpoint
    if done.action == "unchanged":
        app.say(f"nothing was sent: endpoint {endpoint.id} is as the config wants it")
        return
    what = f"endpoint {endpoint.id} ({endpoint.name}) is {done.action}"
    if done.version:
        what += f"; version {done.version} serves"
    if done.job:
        what += f"; the first job took {done.job.seconds:.0f} s"
    elif not service.test_payload:
        what += "; no job was tried, as the config has no test_payload"
    app.say(what)
    if endpoint.min_workers:
        app.say(f"min_workers {endpoint.min_workers}: so many run all the time, and are billed")
    app.say(f"delete it: ./podkit.sh serverless delete {endpoint.id} --yes")
