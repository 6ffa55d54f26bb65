"""Pausing an endpoint, resuming it, and deleting it for certain."""

from __future__ import annotations

from podkit.errors import ApiError, EndpointUnclear, NotFound
from podkit.runpod.endpoint_types import Endpoint
from podkit.serverless.applying import change_endpoint, say_twins
from podkit.serverless.finding import delete_command, endpoints_named
from podkit.serverless.plan import plan_change
from podkit.serverless.world import POLL_SECONDS, World, why

GONE_SECONDS = 60.0
"""How long the list may go on showing an endpoint that was deleted."""


def set_workers(world: World, endpoint: Endpoint, least: int, most: int) -> Endpoint | None:
    """The endpoint with these limits, at once and without a release; None if it had them already.

    With `most` 0 it is paused: its jobs wait. Raises what change_endpoint() raises.
    """
    workers = {**endpoint.settings["workers"], "min": least, "max": most}
    desired = {**endpoint.settings, "workers": workers}
    plan = plan_change(desired, endpoint.settings)
    if not plan.changes:
        return None
    return change_endpoint(world, endpoint, desired, plan)


def delete_endpoint(world: World, endpoint: Endpoint) -> None:
    """Delete the endpoint with its workers and jobs, and wait until the list agrees.

    Raises EndpointUnclear if that cannot be found out, and ApiError for a clear refusal.
    """
    world.note(f"endpoint {endpoint.id} may still be there: {delete_command(endpoint.id)}")
    until = world.client.clock() + GONE_SECONDS
    while True:
        _delete(world, endpoint)
        listed = _list_again(world, endpoint)
        if not any(one.id == endpoint.id for one in listed):
            world.history.forget(endpoint.id)
            say_twins(world, endpoint.name, endpoints_named(listed, endpoint.name))
            return
        if world.client.clock() >= until:
            what = f"endpoint {endpoint.id} is still listed after it was deleted"
            raise EndpointUnclear(what, delete_command(endpoint.id))
        world.client.sleep(POLL_SECONDS)


def _delete(world: World, endpoint: Endpoint) -> None:
    try:
        world.client.delete_endpoint(endpoint.id)
    except NotFound:
        return
    except ApiError as error:
        if not error.unclear:
            world.note("")
            raise
        world.say(f"the answer to the delete is unclear ({why(error)})")


def _list_again(world: World, endpoint: Endpoint) -> list[Endpoint]:
    try:
        return world.client.list_endpoints()
    except ApiError as error:
        what = f"endpoint {endpoint.id} may still be there: the list cannot be read ({why(error)})"
        raise EndpointUnclear(what, delete_command(endpoint.id)) from None
