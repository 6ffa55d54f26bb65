"""`serverless releases`, `rollback`, `pause`, `resume` and `delete`: what an endpoint was, the way
back, and its end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from podkit.commands.app import App
from podkit.commands.options import command
from podkit.commands.result import Plain, Result, moment
from podkit.commands.serverless_deploy import Done, endpoint_fields
from podkit.commands.serverless_options import (
    CONFIG,
    ENDPOINT_ID,
    NO_WAIT,
    SERVICE,
    changing,
    first_job,
    read_config,
    turn,
)
from podkit.commands.serverless_plan import change_line
from podkit.commands.serverless_reach import Reached, reach

if TYPE_CHECKING:
    from podkit.runpod.endpoint_types import Endpoint, Release, Rollout
    from podkit.serverless.config import Service
    from podkit.serverless.world import World

IMAGE_FIELDS = ("template.imageName", "image")
WORD = click.argument("word", metavar="[SERVICE|ID]", default="")


@dataclass(frozen=True)
class Releases:
    """The releases of an endpoint, newest first; of what changed only the image is shown."""

    endpoint: Endpoint
    releases: list[Release]
    rollout: Rollout

    def fields(self) -> Mapping[str, Any]:
        rows = []
        for one in self.releases:
            row = {
                "version": one.version,
                "created_at": moment(one.created_at),
                "source": one.source,
                "changed": [change.name for change in one.changes],
                "image": _new_image(one),
            }
            rows.append(row)
        rollout = {
            "in_progress": self.rollout.in_progress,
            "workers_on_latest": self.rollout.workers_on_latest,
            "workers": self.rollout.workers,
        }
        return {
            "endpoint": endpoint_fields(self.endpoint),
            "version": self.rollout.version,
            "rollout": rollout,
            "releases": rows,
        }

    def text(self) -> str:
        from podkit.commands.tables import columns

        rows = [("VERSION", "MADE", "SOURCE", "CHANGED")]
        for one in self.releases:
            changed = ", ".join(change.name for change in one.changes) or "-"
            image = _new_image(one)
            if image:
                changed += f" -> {image}"
            made = f"{one.created_at:%Y-%m-%d %H:%M}" if one.created_at else "-"
            rows.append((str(one.version or "-"), made, one.source, changed))
        return "\n".join(columns(*rows))


def _new_image(release: Release) -> str | None:
    """The image that a release brought, None if it left it. No other value is ever shown."""
    for change in release.changes:
        if change.name in IMAGE_FIELDS and isinstance(change.new, str):
            return change.new
    return None


@command("releases", json=True)
@WORD
@CONFIG
@ENDPOINT_ID
def releases(app: App, word: str, config_file: Path | None, endpoint_id: str) -> Result:
    """List an endpoint's releases, newest first.

    \b
    Examples:
      ./podkit.sh serverless releases
      ./podkit.sh serverless releases translation_endpoint --json
    """
    from podkit.serverless.refusals import explain_refusals

    there = reach(app, word, config_file, endpoint_id)
    with explain_refusals():
        found = there.client.list_releases(there.endpoint.id)
        rollout = there.client.get_rollout(there.endpoint.id)
    return Releases(there.endpoint, found, rollout)


@command("rollback", json=True)
@SERVICE
@CONFIG
@ENDPOINT_ID
@click.option("--to", type=click.IntRange(1), help="The version; default: the newest that differs.")
@click.option("--image-only", is_flag=True, help="Take back the image and nothing else.")
@NO_WAIT
def rollback(
    app: App,
    block: str,
    config_file: Path | None,
    endpoint_id: str,
    to: int | None,
    image_only: bool,
    wait: bool,
) -> Result:
    """Apply an endpoint's earlier settings as a new release; its id stays. Then try a job.

    \b
    Examples:
      ./podkit.sh serverless rollback
      ./podkit.sh serverless rollback translation_endpoint --to 3
    """
    from podkit.errors import RolloutFailed
    from podkit.serverless.applying import name_twins
    from podkit.serverless.rollback import find_earlier, roll_back

    config = read_config(app, config_file)
    service = config.choose(block)
    payload = first_job(config, service)
    with changing(app, *app.connect()) as world, turn(app):
        endpoint = _own(world, service, endpoint_id)
        earlier = find_earlier(world, endpoint, to, image_only=image_only)
        app.say(f"endpoint {endpoint.id} goes back to {earlier.name}:")
        for change in earlier.plan.changes:
            app.say(change_line(change))
        try:
            done = roll_back(world, endpoint, earlier, payload if wait else None, wait=wait)
        except RolloutFailed:
            name_twins(world, service.endpoint_name, endpoint)
            raise
        twins = name_twins(world, service.endpoint_name, endpoint)
    app.say(f"endpoint {endpoint.id} is rolled back; the config still wants what it says")
    return Done(service.block, "rolled-back", done.endpoint, done.version, done.job, tuple(twins))


@command("pause", json=True)
@WORD
@CONFIG
@ENDPOINT_ID
def pause(app: App, word: str, config_file: Path | None, endpoint_id: str) -> Result:
    """Set an endpoint's max workers to 0: jobs wait, and once those that run have ended nothing is
    billed.

    \b
    Examples:
      ./podkit.sh serverless pause translation_endpoint
    """
    from podkit.serverless.ending import set_workers

    there = reach(app, word, config_file, endpoint_id)
    endpoint = _changeable(there.endpoint, endpoint_id or word, "pause")
    with changing(app, there.settings, there.client) as world:
        paused = set_workers(world, endpoint, 0, 0)
    if paused is None:
        app.say(f"endpoint {endpoint.id} was paused already; nothing was sent")
    else:
        app.say(f"endpoint {endpoint.id} is paused; {_way_back(there)}")
    return Plain(endpoint.id, {"endpoint": endpoint_fields(paused or endpoint)})


def _way_back(there: Reached) -> str:
    """How a paused endpoint gets its workers again."""
    if there.service:
        return f"./podkit.sh serverless resume {there.service.block}"
    limits = f"{there.endpoint.min_workers} to {there.endpoint.max_workers} workers"
    return f"it had {limits}, which no block of the config gives it again: use the console"


@command("resume", json=True)
@SERVICE
@CONFIG
@ENDPOINT_ID
def resume(app: App, block: str, config_file: Path | None, endpoint_id: str) -> Result:
    """Give an endpoint the min and max workers of its config again.

    \b
    Examples:
      ./podkit.sh serverless resume translation_endpoint
    """
    from podkit.serverless.ending import set_workers

    service = read_config(app, config_file).choose(block)
    with changing(app, *app.connect()) as world:
        endpoint = _own(world, service, endpoint_id)
        resumed = set_workers(world, endpoint, service.min_workers, service.max_workers)
    if resumed is None:
        app.say(f"endpoint {endpoint.id} has its workers already; nothing was sent")
    else:
        app.say(f"endpoint {endpoint.id} has at most {service.max_workers} workers again")
    return Plain(endpoint.id, {"endpoint": endpoint_fields(resumed or endpoint)})


@command("delete", json=True)
@WORD
@CONFIG
@ENDPOINT_ID
@click.option("--yes", is_flag=True, help="Do not ask.")
def delete(
    app: App,
    word: str,
    config_file: Path | None,
    endpoint_id: str,
    yes: bool,
) -> Result:
    """Delete an endpoint with its workers and jobs: by service, name or id. Its id is gone forever.

    Returns once the API's list agrees. One that podkit did not make is deleted by its id alone.

    \b
    Examples:
      ./podkit.sh serverless delete translation_endpoint
      ./podkit.sh serverless delete 4m7x2k9q --yes
    """
    from podkit.serverless.ending import delete_endpoint
    from podkit.serverless.finding import delete_command

    there = reach(app, word, config_file, endpoint_id)
    endpoint = _changeable(there.endpoint, endpoint_id or word, "delete")
    if not yes:
        what = f"delete endpoint {endpoint.id} ({endpoint.name}) with its jobs?"
        app.confirm(what, delete_command(endpoint.id))
    with changing(app, there.settings, there.client) as world:
        delete_endpoint(world, endpoint)
    app.say(f"endpoint {endpoint.id} ({endpoint.name}) is deleted")
    return Plain(endpoint.id, {"deleted": endpoint.id})


def _changeable(endpoint: Endpoint, word: str, verb: str) -> Endpoint:
    """The endpoint, if podkit made it or it was named by its id. Raises UsageError."""
    from podkit.errors import UsageError
    from podkit.serverless.finding import is_ours

    if is_ours(endpoint) or word == endpoint.id:
        return endpoint
    what = f"podkit did not make endpoint {endpoint.id} ({endpoint.name})"
    raise UsageError(what, f"name it by its id: ./podkit.sh serverless {verb} {endpoint.id}")


def _own(world: World, service: Service, endpoint_id: str) -> Endpoint:
    """The endpoint of a service. Raises Missing if there is none."""
    from podkit.errors import Missing
    from podkit.serverless.finding import find_endpoint

    endpoint = find_endpoint(world.client.list_endpoints(), service, endpoint_id)
    if endpoint is None:
        what = f"no endpoint is named {service.endpoint_name}"
        raise Missing(what, f"./podkit.sh serverless deploy {service.block}")
    return endpoint
