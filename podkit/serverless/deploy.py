"""A deploy: create or change in place, wait for the rollout, and try one job. The id stays.

An endpoint is never deleted here, and one that podkit did not make is not touched unless that is
asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from podkit.errors import Interrupted, PodkitError, RolloutFailed, UsageError
from podkit.runpod.endpoint_types import Endpoint
from podkit.serverless.applying import (
    change_endpoint,
    create_endpoint,
    left_line,
    name_twins,
    note_applied,
    tell_applied,
)
from podkit.serverless.config import is_literal_secret
from podkit.serverless.finding import delete_command
from podkit.serverless.history import HIDDEN
from podkit.serverless.plan import NEW_ENDPOINT, SERVICE_VARIABLE
from podkit.serverless.rollback import find_earlier, roll_back
from podkit.serverless.rollout import FirstJob, prove
from podkit.serverless.survey import Survey
from podkit.serverless.world import World

ACTIONS = {"create": "created", "replace": "replaced", "change": "changed"}


@dataclass(frozen=True)
class Wishes:
    """How a deploy is to go on. `payload` is the first job's input, None to try none."""

    payload: Mapping[str, Any] | None = None
    wait: bool = True
    replace: bool = False
    rollback_on_failure: bool = False


@dataclass(frozen=True)
class Deployed:
    """What a deploy did: `action` is created, changed, replaced or unchanged.

    `version` is the release that serves, None if nobody waited for it. `twins` are other endpoints
    of its name, but for the one that it replaces.
    """

    action: str
    endpoint: Endpoint
    version: int | None
    job: FirstJob | None
    twins: tuple[str, ...]


def deploy(world: World, found: Survey, wishes: Wishes) -> Deployed:
    """Make the endpoint what the survey's config wants.

    Raises UsageError for a change that needs a new endpoint, RolloutFailed if what was applied does
    not serve, and what create_endpoint() and change_endpoint() raise.
    """
    if found.action == "nothing" and found.endpoint:
        return Deployed("unchanged", found.endpoint, None, None, ())
    if found.action == "replace" and not wishes.replace:
        raise _needs_new(found)
    endpoint, version = _apply(world, found)
    world.note(left_line(endpoint))
    tell_applied(world, endpoint, ACTIONS[found.action])
    note_applied(world, endpoint, version, unexpanded_settings(found))
    served = None
    job = None
    try:
        if wishes.wait:
            served, job = prove(world, endpoint, version, wishes.payload)
    except Interrupted:
        raise
    except PodkitError as error:
        name_twins(world, found.service.endpoint_name, endpoint, found.endpoint)
        if not isinstance(error, RolloutFailed):
            raise
        raise _with_way_back(world, found, endpoint, wishes, error) from None
    twins = name_twins(world, found.service.endpoint_name, endpoint, found.endpoint)
    if found.action == "replace" and found.endpoint:
        world.say(
            f"endpoint {endpoint.id} is beside the old {found.endpoint.id}. Once nobody uses the "
            f"old one: {delete_command(found.endpoint.id)}"
        )
    return Deployed(ACTIONS[found.action], endpoint, served, job, tuple(twins))


def unexpanded_settings(found: Survey) -> dict[str, Any]:
    """The settings that the config wants, with its `${NAME}`s as they are written there, and HIDDEN
    for a secret that the config itself holds."""
    service = found.service
    env = {}
    for name, value in service.env.items():
        env[name] = HIDDEN if is_literal_secret(name, value) else value
    return {**found.desired, "env": {**env, SERVICE_VARIABLE: service.block}}


def _apply(world: World, found: Survey) -> tuple[Endpoint, int]:
    """The endpoint with its settings applied, and the version that this makes."""
    if found.endpoint is None or found.action == "replace":
        return create_endpoint(world, found.desired), 1
    before = world.client.get_rollout(found.endpoint.id).version or 0
    endpoint = change_endpoint(world, found.endpoint, found.desired, found.plan)
    return endpoint, before + int(found.plan.replaces_workers)


def _needs_new(found: Survey) -> UsageError:
    fields = [one.field for one in found.plan.changes if one.effect == NEW_ENDPOINT]
    what = (
        f"{', '.join(fields)} of {found.service.endpoint_name} cannot be changed: this needs a new "
        "endpoint with a new id"
    )
    return UsageError(what, "--replace makes it beside the old one, which is kept")


def _with_way_back(
    world: World,
    found: Survey,
    endpoint: Endpoint,
    wishes: Wishes,
    error: RolloutFailed,
) -> RolloutFailed:
    """The failure with the next step: the way back, which is gone if that was asked for."""
    block = found.service.block
    told = {"endpoint_id": endpoint.id}
    if found.action != "change":
        log = f"./podkit.sh serverless logs {endpoint.id}"
        hint = f"{log} shows more; {delete_command(endpoint.id)}"
        return RolloutFailed(f"{error.message}; endpoint {endpoint.id} stays", hint, **told)
    back = f"./podkit.sh serverless rollback {block}"
    if not wishes.rollback_on_failure:
        return RolloutFailed(
            f"{error.message}; endpoint {endpoint.id} stays as it is", back, **told
        )
    try:
        earlier = find_earlier(world, endpoint)
        version = roll_back(world, endpoint, earlier, wishes.payload).version
    except PodkitError as trouble:
        what = f"{error.message}; and it could not be rolled back: {trouble.message}"
        return RolloutFailed(what, trouble.hint or back, **told)
    what = f"{error.message}; rolled back to {earlier.name}, which serves as version {version}"
    hint = f"./podkit.sh serverless releases {block} shows what was tried"
    return RolloutFailed(what, hint, **told)
