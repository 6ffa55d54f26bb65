"""The way back: old settings, applied as a new release of the same endpoint.

They come from what this checkout applied, else from the releases that the API lists. Of these only
the fields whose names were seen are trusted: a half of an old state is never applied unasked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from podkit.errors import UsageError
from podkit.runpod.endpoint_types import Endpoint, Release
from podkit.secret import Secret
from podkit.serverless.applying import change_endpoint, left_line, note_applied, tell_applied
from podkit.serverless.config import expand_env
from podkit.serverless.history import HIDDEN, Applied
from podkit.serverless.plan import SERVICE_VARIABLE, Plan, plan_change
from podkit.serverless.rollout import FirstJob, prove
from podkit.serverless.world import World

IMAGE_FIELDS = ("template.imageName", "image")
"""Names of the image in a release's diff; in the API's settings it is `image`."""
NUMBER_FIELDS = {
    "workers.min": ("workers", "min"),
    "workers.max": ("workers", "max"),
    "workers.idleTimeout": ("workers", "idleTimeout"),
    "workersMin": ("workers", "min"),
    "workersMax": ("workers", "max"),
    "idleTimeout": ("workers", "idleTimeout"),
    "timeout": ("timeout", ""),
    "executionTimeoutMs": ("timeout", ""),
}
"""Numbers in a diff by the document's names and the old internal ones, and where they belong."""


@dataclass(frozen=True)
class Earlier:
    """An earlier state: its name for people, its settings in the API's form, and the PATCH.

    `unexpanded` is what to note as applied; None for a state that only the API knew.
    """

    name: str
    settings: Mapping[str, Any] = field(repr=False)
    plan: Plan
    unexpanded: Mapping[str, Any] | None = field(repr=False)


@dataclass(frozen=True)
class RolledBack:
    """What a rollback did; `version` is None if nobody waited for it."""

    endpoint: Endpoint
    version: int | None
    job: FirstJob | None


def find_earlier(
    world: World,
    endpoint: Endpoint,
    to: int | None = None,
    *,
    image_only: bool = False,
) -> Earlier:
    """The state of version `to`, or else the newest one whose containers differ from now.

    Raises UsageError if there is none, if a release changed what cannot be read back, or if the
    provider builds the image.
    """
    releases = world.client.list_releases(endpoint.id)
    if releases and releases[0].source == "GIT_BUILD":
        what = f"the image of endpoint {endpoint.id} is built by the provider from a repository"
        raise UsageError(what, "roll back on the console's page of the endpoint, under Builds")
    found = None
    if not image_only:
        found = _find_applied(world, endpoint, to)
    if found is None:
        found = _find_released(endpoint, releases, to, image_only)
    if found.plan.needs_new_endpoint:
        raise UsageError(f"{found.name} was of another kind of compute, which stays as it is")
    if not found.plan.changes:
        raise UsageError(f"endpoint {endpoint.id} is as {found.name} was: nothing to roll back")
    return found


def roll_back(
    world: World,
    endpoint: Endpoint,
    earlier: Earlier,
    payload: Mapping[str, Any] | None,
    *,
    wait: bool = True,
) -> RolledBack:
    """Apply the earlier state at the same id, and try a job as a deploy does. Raises as it does."""
    before = world.client.get_rollout(endpoint.id).version or 0
    changed = change_endpoint(world, endpoint, earlier.settings, earlier.plan)
    world.note(left_line(changed))
    tell_applied(world, changed, "rolled-back")
    version = before + int(earlier.plan.replaces_workers)
    if earlier.unexpanded is not None:
        note_applied(world, changed, version, earlier.unexpanded)
    if not wait:
        return RolledBack(changed, None, None)
    served, job = prove(world, changed, version, payload)
    return RolledBack(changed, served, job)


def _find_applied(world: World, endpoint: Endpoint, to: int | None) -> Earlier | None:
    """The state as this checkout applied it, None if it did not."""
    for applied in reversed(world.history.read(endpoint.id)):
        if to is not None and applied.version != to:
            continue
        earlier = _expand(world, endpoint, applied)
        if to is not None or earlier.plan.replaces_workers:
            return earlier
    return None


def _expand(world: World, endpoint: Endpoint, applied: Applied) -> Earlier:
    """The state with its variables filled in again. Raises UsageError if one is nowhere to be
    had."""
    kept = dict(applied.settings["env"])
    block = kept.pop(SERVICE_VARIABLE, "")
    there = endpoint.settings.get("env") or {}
    secrets = {}
    for name in [name for name, value in kept.items() if value == HIDDEN]:
        del kept[name]
        if name not in there:
            what = f"the value of {name} was not kept, as it seems to be a secret"
            raise UsageError(what, "put the old values into the config, and deploy")
        secrets[name] = Secret(str(there[name]))
    filled = expand_env(block, kept, world.environment)
    settings = {**applied.settings, "env": {**filled, **secrets, SERVICE_VARIABLE: block}}
    return Earlier(
        name=f"version {applied.version} of {applied.at}",
        settings=settings,
        plan=plan_change(settings, endpoint.settings),
        unexpanded=applied.settings,
    )


def _find_released(
    endpoint: Endpoint,
    releases: Sequence[Release],
    to: int | None,
    image_only: bool,
) -> Earlier:
    """The state before the releases that came after `to`, undone one by one from now."""
    settings = dict(endpoint.settings)
    unknown: list[str] = []
    version = None
    for release in releases:
        if to is not None and (release.version or 0) <= to:
            version = release.version
            break
        if to is None and settings.get("image") != endpoint.settings.get("image"):
            version = release.version
            break
        for change in release.changes:
            if not _undone(settings, change.name, change.old, image_only):
                unknown.append(change.name)
    if version is None or (to is not None and version != to):
        what = f"no earlier version of endpoint {endpoint.id} is known"
        raise UsageError(what, "./podkit.sh serverless releases lists those that are")
    if unknown and not image_only:
        names = ", ".join(sorted({*unknown}))
        what = f"the API does not show how {names} was before, and nothing was noted here"
        raise UsageError(what, "--image-only takes back the image alone")
    return Earlier(
        name=f"version {version} as the API lists it",
        settings=settings,
        plan=plan_change(settings, endpoint.settings),
        unexpanded=None,
    )


def _undone(settings: dict[str, Any], name: str, old: Any, image_only: bool) -> bool:
    """Put the old value of one field back; whether that was possible."""
    if name in IMAGE_FIELDS and isinstance(old, str) and old:
        settings["image"] = old
        return True
    if name not in NUMBER_FIELDS or not isinstance(old, int | float) or image_only:
        return False
    top, inner = NUMBER_FIELDS[name]
    settings[top] = {**settings[top], inner: old} if inner else old
    return True
