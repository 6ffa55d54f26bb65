"""The two requests that write settings. A create is never repeated blindly: after an unclear answer
the endpoint is looked up by its name and the create's own text, and adopted or found absent first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from podkit.errors import ApiError, BadRequest, EndpointUnclear
from podkit.runpod.endpoint_types import Endpoint
from podkit.serverless.finding import delete_command, endpoints_named, nonce_of
from podkit.serverless.history import Applied
from podkit.serverless.plan import Plan, create_body, plan_change, request_body
from podkit.serverless.quota import is_quota, quota_exceeded, quota_table
from podkit.serverless.world import POLL_SECONDS, World, send_once, why

LOOK_SECONDS = 30.0
"""How long an endpoint that was made just now may be missing from the list."""
CREATES = 2
CHANGES = 3


def create_endpoint(world: World, desired: Mapping[str, Any]) -> Endpoint:
    """A new endpoint. Raises QuotaExceeded, other ApiErrors for a clear refusal, and
    EndpointUnclear if one may exist that was not found."""
    name = desired["name"]
    for attempt in range(1, CREATES + 1):
        nonce = world.new_nonce()
        body = request_body(create_body(desired, nonce))
        world.note(f"an endpoint named {name} may exist: ./podkit.sh serverless plan finds it")
        with world.held():
            made = _create_once(world, name, body, nonce, is_first=attempt == 1)
        if made:
            return made
        if attempt < CREATES:
            world.say(f"no endpoint named {name} was made; asking again")
    what = f"an endpoint named {name} was asked for {CREATES} times without a clear answer"
    raise EndpointUnclear(f"{what}, and none was seen", "./podkit.sh serverless plan looks again")


def change_endpoint(
    world: World,
    endpoint: Endpoint,
    desired: Mapping[str, Any],
    plan: Plan,
) -> Endpoint:
    """The endpoint with the plan applied, read again afterwards. What somebody else changed at the
    same time is said.

    Raises QuotaExceeded, other ApiErrors for a clear refusal, and EndpointUnclear.
    """
    body = request_body(plan.body)
    world.note(f"endpoint {endpoint.id} may be changed: ./podkit.sh serverless plan shows it")
    _change(world, endpoint, desired, body)
    now = world.client.get_endpoint(endpoint.id)
    others = [change.field for change in plan_change(desired, now.settings).changes]
    if others:
        world.say(
            f"endpoint {now.id} differs from what was just sent, so somebody else changed it at "
            f"the same time: {', '.join(others)}"
        )
    return now


def note_applied(
    world: World,
    endpoint: Endpoint,
    version: int,
    settings: Mapping[str, Any],
) -> None:
    """Keep what was applied, for a rollback. `settings` have their `${NAME}`s unexpanded."""
    at = world.client.now().isoformat(timespec="seconds").replace("+00:00", "Z")
    try:
        world.history.add(endpoint.id, Applied(at, version, settings))
    except OSError as error:
        world.say(f"what was applied could not be noted for a rollback: {error.strerror}")


def tell_applied(world: World, endpoint: Endpoint, action: str) -> None:
    """Say for programs, before anything is waited for, which endpoint is there now."""
    world.tell("endpoint", {"id": endpoint.id, "name": endpoint.name, "action": action})


def left_line(endpoint: Endpoint) -> str:
    """What an interrupted command says of an endpoint that it leaves."""
    workers = f"at most {endpoint.max_workers} workers"
    if endpoint.min_workers:
        workers += f", of which {endpoint.min_workers} always run and are billed"
    return (
        f"endpoint {endpoint.id} ({endpoint.name}) is there, with {workers}; "
        f"{delete_command(endpoint.id)}"
    )


def name_twins(world: World, name: str, *known: Endpoint | None) -> list[str]:
    """The ids of endpoints of that name that are not `known`, all of them said. None is ever
    deleted here."""
    try:
        found = endpoints_named(world.client.list_endpoints(), name)
    except ApiError as error:
        world.say(f"could not check for another endpoint named {name} ({why(error)})")
        return []
    return say_twins(world, name, found, *known)


def say_twins(
    world: World,
    name: str,
    found: Sequence[Endpoint],
    *known: Endpoint | None,
) -> list[str]:
    """The ids of those `found` of that name that are not `known`, all of them said."""
    known_ids = [endpoint.id for endpoint in known if endpoint]
    ids = [endpoint.id for endpoint in found if endpoint.id not in known_ids]
    for endpoint_id in ids:
        command = delete_command(endpoint_id)
        world.say(f"another endpoint is named {name}: {endpoint_id}. Delete one: {command}")
    return ids


def _create_once(
    world: World,
    name: str,
    body: Mapping[str, Any],
    nonce: str,
    *,
    is_first: bool,
) -> Endpoint | None:
    """The endpoint that one create made, None if it made none. A refusal of the first proves that
    there is none; of a later one it does not, as the one before was unclear."""
    try:
        return send_once(world, lambda: world.client.create_endpoint(body))
    except ApiError as error:
        if not error.unclear:
            if is_first:
                world.note("")
            raise _explain(world, error, "", name, body) from None
        world.say(
            f"the answer to the create is unclear ({why(error)}); looking for an endpoint named "
            f"{name} for {LOOK_SECONDS:.0f} s"
        )
        return _look_up(world, name, nonce, error)


def _look_up(world: World, name: str, nonce: str, cause: ApiError) -> Endpoint | None:
    until = world.client.clock() + LOOK_SECONDS
    while True:
        # A list says nothing of what came after it was asked for, however late it is answered.
        is_last = world.client.clock() >= until
        try:
            listed = world.client.list_endpoints()
        except ApiError as error:
            what = (
                f"an endpoint named {name} may exist: the create was unclear ({why(cause)}), and "
                f"the list could not be read ({why(error)})"
            )
            hint = "./podkit.sh serverless deploy again finds it, or makes it"
            raise EndpointUnclear(what, hint) from None
        for endpoint in endpoints_named(listed, name):
            if nonce_of(endpoint) == nonce:
                world.say(f"it was made: {endpoint.id}")
                return endpoint
        if is_last:
            return None
        world.client.sleep(POLL_SECONDS)


def _change(
    world: World,
    endpoint: Endpoint,
    desired: Mapping[str, Any],
    body: Mapping[str, Any],
) -> None:
    """Sends the change until it is there: after an unclear answer the endpoint itself tells."""
    for _ in range(CHANGES):
        try:
            send_once(world, lambda: world.client.change_endpoint(endpoint.id, body))
            return
        except ApiError as error:
            if not error.unclear:
                world.note("")
                raise _explain(world, error, endpoint.id, endpoint.name, body) from None
            world.say(f"the answer to the change is unclear ({why(error)}); reading the endpoint")
        now = world.client.get_endpoint(endpoint.id)
        if not plan_change(desired, now.settings).changes:
            return
    what = f"endpoint {endpoint.id} could not be changed for certain"
    raise EndpointUnclear(what, "./podkit.sh serverless plan shows what it is now")


def _explain(
    world: World,
    error: ApiError,
    endpoint_id: str,
    name: str,
    body: Mapping[str, Any],
) -> Exception:
    """The refusal; if it was for the quota, who uses that is said."""
    if not (isinstance(error, BadRequest) and is_quota(error)):
        return error
    wanted = int((body.get("workers") or {}).get("max") or 0)
    listed = world.client.list_endpoints()
    for line in quota_table(listed, endpoint_id, name, wanted):
        world.say(line)
    return quota_exceeded(error, listed, endpoint_id, name, wanted)
