"""Which endpoint of the account is meant. Pure. It never guesses between two."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from podkit.errors import Missing, SeveralEndpoints, UsageError
from podkit.runpod.endpoint_types import Endpoint
from podkit.serverless.config import Service
from podkit.serverless.plan import CREATE_VARIABLE, SERVICE_VARIABLE

FLASHBOOT_SUFFIX = " -fb"
"""Ended the names of endpoints that had FlashBoot switched on, until early 2026."""


def endpoints_named(listed: Iterable[Endpoint], name: str) -> list[Endpoint]:
    """The endpoints of exactly this name, also as the console wrote it for FlashBoot."""
    return [one for one in listed if one.name in (name, name + FLASHBOOT_SUFFIX)]


def is_ours(endpoint: Endpoint) -> bool:
    """Whether podkit made the endpoint, or has adopted it."""
    return SERVICE_VARIABLE in (endpoint.settings.get("env") or {})


def nonce_of(endpoint: Endpoint) -> str:
    """The text by which an unclear create is recognised; empty if it has none."""
    return str((endpoint.settings.get("env") or {}).get(CREATE_VARIABLE) or "")


def find_endpoint(
    listed: Iterable[Endpoint],
    service: Service,
    endpoint_id: str = "",
    *,
    adopt: bool = False,
) -> Endpoint | None:
    """The service's endpoint, None if there is none. `endpoint_id` chooses among several.

    Raises SeveralEndpoints, Missing for an id that is none of them, and UsageError for one that
    podkit did not make, unless `adopt`.
    """
    found = endpoints_named(listed, service.endpoint_name)
    if endpoint_id:
        found = [one for one in found if one.id == endpoint_id]
        if not found:
            what = f"no endpoint {endpoint_id} is named {service.endpoint_name}"
            raise Missing(what, "./podkit.sh serverless status shows what there is")
    if len(found) > 1:
        raise several(found)
    if not found:
        return None
    endpoint = found[0]
    if not (adopt or is_ours(endpoint)):
        what = f"endpoint {endpoint.id} is named {endpoint.name}, and podkit did not make it"
        raise UsageError(what, "--adopt takes it over; or choose another endpoint_name")
    return endpoint


def meant_endpoint(listed: Iterable[Endpoint], word: str) -> Endpoint:
    """The endpoint of that id or name. Raises Missing and SeveralEndpoints."""
    known = list(listed)
    for endpoint in known:
        if endpoint.id == word:
            return endpoint
    found = endpoints_named(known, word)
    if len(found) > 1:
        raise several(found)
    if not found:
        what = f"no endpoint has the id or name {word}"
        raise Missing(what, "./podkit.sh serverless deploy makes one")
    return found[0]


def several(found: list[Endpoint]) -> SeveralEndpoints:
    """The refusal to choose between endpoints of one name. The newest is proposed for deletion, as
    clients may know the id of an older one."""
    always = datetime.min.replace(tzinfo=UTC)
    by_age = sorted(found, key=lambda endpoint: endpoint.created_at or always)
    ids = [endpoint.id for endpoint in by_age]
    what = f"{len(found)} endpoints are named {found[0].name}, the oldest first: {', '.join(ids)}"
    hint = f"choose one with --id, and delete another: {delete_command(ids[-1])}"
    return SeveralEndpoints(what, hint, endpoint_ids=ids)


def delete_command(endpoint_id: str) -> str:
    """The command that deletes an endpoint, as it works when typed."""
    return f"./podkit.sh serverless delete {endpoint_id} --yes"
