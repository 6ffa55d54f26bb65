"""What people and admins do with keys, people and teams; the account API and the pages both call
this.
"""

from __future__ import annotations

import csv
import io
import ipaddress
from collections.abc import Iterable
from typing import Any

from sqlalchemy import select
from sqlalchemy.engine import RowMapping

from podkit_gateway.backends import Backends
from podkit_gateway.domain import Caller, Limits
from podkit_gateway.errors import Refusal
from podkit_gateway.key_store import (
    KeyRights,
    add_key,
    change_limits,
    find_key,
    list_digests,
    revoke_key,
    rotate_key,
)
from podkit_gateway.keys import NewKey, make_key
from podkit_gateway.people import ROLES, end_sessions_of, find_person, list_people, set_team_limits
from podkit_gateway.people import change_person as store_person
from podkit_gateway.runtime import Runtime
from podkit_gateway.shared_state import tell_revoked
from podkit_gateway.tables import teams
from podkit_gateway.usage import SUMS

LONGEST_LIFE_DAYS = 3660


def no_such_thing() -> Refusal:
    """The same for what does not exist and what belongs to somebody else."""
    return Refusal(404, "invalid_request_error", "There is nothing at this address.")


def wrong(problem: object) -> Refusal:
    return Refusal(400, "invalid_request_error", f"{problem}.")


def show_key(row: RowMapping) -> dict[str, Any]:
    shown = dict(row)
    shown.pop("owner_id")
    return shown


async def make_own_key(runtime: Runtime, caller: Caller, rights: KeyRights, days: int) -> NewKey:
    """Makes a key for the caller, never with more rights than their own. Raises Refusal (400,
    403).
    """
    if not 1 <= days <= LONGEST_LIFE_DAYS:
        raise wrong(f"days is a number from 1 to {LONGEST_LIFE_DAYS}")
    is_admin = "admin" in caller.scopes
    privileged = rights.allow_external or rights.on_behalf or "admin" in rights.scopes
    if privileged and not is_admin:
        raise Refusal(403, "permission_error", "Only an admin makes keys with these rights.")
    if caller.key_id not in {"session", "token"} and not set(rights.scopes) <= caller.scopes:
        raise Refusal(403, "permission_error", "A key makes no key with more scopes than its own.")
    try:
        rights.check()
        for network in rights.allow_cidrs:
            ipaddress.ip_network(network)
    except ValueError as problem:
        raise wrong(problem) from None
    settings = runtime.settings
    key = make_key(settings.key_prefix, settings.key_env, runtime.random_bytes)
    now = runtime.clock()
    expires = now + days * 86_400
    await add_key(runtime.engine, key, caller.owner_id, rights, created=now, expires=expires)
    return key


async def find_own_key(runtime: Runtime, caller: Caller, key_id: str) -> RowMapping:
    """A key of the caller, or of anybody for an admin. Raises Refusal (404)."""
    row = await find_key(runtime.engine, key_id)
    if row is None or (row["owner_id"] != caller.owner_id and "admin" not in caller.scopes):
        raise no_such_thing()
    return row


async def revoke(runtime: Runtime, caller: Caller, key_id: str) -> None:
    await find_own_key(runtime, caller, key_id)
    await forget(runtime, await revoke_key(runtime.engine, key_id, runtime.clock()))


async def forget(runtime: Runtime, digest: str | None) -> None:
    """Has this process and the others look the key up again."""
    if digest is None:
        raise no_such_thing()
    runtime.access.forget(digest)
    await tell_revoked(runtime.redis, digest)


async def rotate(runtime: Runtime, caller: Caller, key_id: str, overlap: float) -> NewKey:
    """A successor with the same rights; the old key lives on for `overlap` seconds."""
    if not 0 <= overlap <= 30 * 86_400:
        raise wrong("the overlap is at most 30 days")
    await find_own_key(runtime, caller, key_id)
    settings = runtime.settings
    key = make_key(settings.key_prefix, settings.key_env, runtime.random_bytes)
    now = runtime.clock()
    await forget(runtime, await rotate_key(runtime.engine, key_id, key, now=now, overlap=overlap))
    return key


async def change_key_limits(runtime: Runtime, key_id: str, limits: Limits) -> None:
    await forget(runtime, await change_limits(runtime.engine, key_id, limits))


async def change_person(runtime: Runtime, person_id: int, body: dict[str, Any]) -> None:
    """Changes what `body` names: role, team, limits, model_limits, disabled. Raises Refusal (400,
    404).
    """
    if await find_person(runtime.engine, id=person_id) is None:
        raise no_such_thing()
    values: dict[str, Any] = {}
    try:
        for name, value in body.items():
            values[name] = check_change(name, value, runtime.clock())
    except (ValueError, TypeError, AttributeError) as problem:
        raise wrong(problem) from None
    if values.get("team"):
        await check_team(runtime, values["team"])
    if values:
        await store_person(runtime.engine, person_id, **values)
    if values.get("disabled"):
        await end_sessions_of(runtime.engine, person_id)
    await forget_keys_of(runtime, person_id)


async def disable(runtime: Runtime, person_id: int, disabled: bool) -> None:
    """Shuts a person out, or lets them in again."""
    await change_person(runtime, person_id, {"disabled": disabled})


async def forget_keys_of(runtime: Runtime, person_id: int) -> None:
    """Has every process look the keys of this person up again."""
    for digest in await list_digests(runtime.engine, person_id):
        await forget(runtime, digest)


def check_change(name: str, value: Any, now: float) -> Any:
    """What is stored for this change. Raises ValueError or TypeError."""
    if name == "role" and value in ROLES:
        return value
    if name == "team" and (value is None or isinstance(value, str)):
        return value or None
    if name == "limits":
        return Limits.from_dict(value).to_dict()
    if name == "model_limits":
        checked = {}
        for model, limits in value.items():
            checked[model] = Limits.from_dict(limits).to_dict()
        return checked
    if name == "disabled" and isinstance(value, bool):
        return now if value else None
    raise ValueError(f"{name} cannot be set to this")


async def check_team(runtime: Runtime, team: str) -> None:
    """Raises Refusal (400) if there is no such team."""
    async with runtime.engine.connect() as connection:
        found = await connection.execute(select(teams.c.name).where(teams.c.name == team))
        known = found.scalar_one_or_none()
    if known is None:
        raise wrong(f"there is no team of this name; make it with PUT /api/teams/{team[:40]}")


async def change_team(runtime: Runtime, team: str, limits: Limits) -> None:
    if not team.isprintable() or len(team) > 100:
        raise wrong("a team's name has at most 100 characters")
    await set_team_limits(runtime.engine, team, limits)
    for person in await list_people(runtime.engine):
        if person["team"] == team:
            await forget_keys_of(runtime, person["id"])


def show_backends(backends: Backends) -> list[dict[str, Any]]:
    """What is known of each backend; its address stays here."""
    shown = []
    for name, backend in backends.by_name.items():
        models = []
        for model in backends.config.models.values():
            if name in model.backends:
                models.append(model.name)
        shown.append(
            {
                "name": name,
                "kind": backend.config.kind,
                "models": models,
                "state": backend.state,
                "breaker": backend.breaker.state,
                "in_flight": backend.in_flight,
                "last_errors": backend.errors,
            }
        )
    return shown


def as_csv(rows: Iterable[RowMapping]) -> str:
    """The sums as a table. A cell that a spreadsheet would take for a formula gets a quote in
    front.
    """
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(("group", *SUMS))
    for row in rows:
        cells = [row["group"], *(row[name] for name in SUMS)]
        if str(cells[0])[:1] in {"=", "+", "-", "@", "\t"}:
            cells[0] = f"'{cells[0]}"
        table.writerow(cells)
    return text.getvalue()
