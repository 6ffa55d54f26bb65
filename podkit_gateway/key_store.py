"""Keys in the database: made, listed, found by digest, rotated, revoked. The text of a key is never
stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncEngine

from podkit_gateway.domain import SCOPES, Caller, Limits, Subject
from podkit_gateway.keys import NewKey
from podkit_gateway.tables import keys, people, teams

DAY = 86_400.0
DEFAULT_LIFE = 90 * DAY


@dataclass(frozen=True)
class KeyRights:
    """What a key is made with; rotation hands all of it to the successor."""

    label: str = ""
    scopes: tuple[str, ...] = ("inference", "jobs")
    models: tuple[str, ...] | None = None
    limits: Limits = field(default_factory=Limits)
    allow_cidrs: tuple[str, ...] = ()
    allow_fallback: bool = True
    allow_external: bool = False
    on_behalf: bool = False

    def check(self) -> None:
        """Raises ValueError if the scopes do not go together."""
        unknown = set(self.scopes) - set(SCOPES)
        if unknown or not self.scopes:
            raise ValueError(f"scopes are some of {', '.join(SCOPES)}")
        if "admin" in self.scopes and {"inference", "jobs"} & set(self.scopes):
            raise ValueError("a key with admin has no inference or jobs; make two keys")
        if len(self.label) > 100:
            raise ValueError("a label has at most 100 characters")


async def add_key(
    engine: AsyncEngine,
    key: NewKey,
    owner_id: int,
    rights: KeyRights,
    *,
    created: float,
    expires: float | None,
) -> None:
    """Stores a new key: its digest, and its text up to the public id. Raises ValueError for wrong
    rights.
    """
    rights.check()
    values = {
        "id": key.id,
        "digest": key.digest,
        "prefix": key.text[: key.text.index(key.id) + len(key.id)],
        "label": rights.label,
        "owner_id": owner_id,
        "scopes": list(rights.scopes),
        "models": None if rights.models is None else list(rights.models),
        "limits": rights.limits.to_dict(),
        "allow_cidrs": list(rights.allow_cidrs),
        "allow_fallback": rights.allow_fallback,
        "allow_external": rights.allow_external,
        "on_behalf": rights.on_behalf,
        "created": created,
        "expires": expires,
    }
    async with engine.begin() as connection:
        await connection.execute(insert(keys).values(values))


async def find_key(engine: AsyncEngine, key_id: str) -> RowMapping | None:
    async with engine.connect() as connection:
        found = await connection.execute(select(keys).where(keys.c.id == key_id))
        return found.mappings().one_or_none()


async def list_keys(engine: AsyncEngine, owner_id: int | None = None) -> list[RowMapping]:
    """All keys of one owner, or of everybody, with the owner's e-mail; newest first, without
    digests.
    """
    shown = [column for column in keys.c if column.name != "digest"]
    query = select(*shown, people.c.email).join(people, people.c.id == keys.c.owner_id)
    if owner_id is not None:
        query = query.where(keys.c.owner_id == owner_id)
    async with engine.connect() as connection:
        found = await connection.execute(query.order_by(keys.c.created.desc(), keys.c.id))
        return list(found.mappings())


async def list_digests(engine: AsyncEngine, owner_id: int) -> list[str]:
    async with engine.connect() as connection:
        found = await connection.execute(select(keys.c.digest).where(keys.c.owner_id == owner_id))
        return list(found.scalars())


async def revoke_key(engine: AsyncEngine, key_id: str, now: float) -> str | None:
    """Ends the key at once. Returns its digest, for whoever keeps it in memory; None if there is no
    such key.
    """
    async with engine.begin() as connection:
        found = await connection.execute(select(keys.c.digest).where(keys.c.id == key_id))
        digest = found.scalar_one_or_none()
        live = (keys.c.id == key_id) & keys.c.revoked.is_(None)
        await connection.execute(update(keys).where(live).values(revoked=now))
        return digest


async def change_limits(engine: AsyncEngine, key_id: str, limits: Limits) -> str | None:
    """Gives the key other limits. Returns its digest; None if there is no such key."""
    async with engine.begin() as connection:
        found = await connection.execute(select(keys.c.digest).where(keys.c.id == key_id))
        digest = found.scalar_one_or_none()
        statement = update(keys).where(keys.c.id == key_id).values(limits=limits.to_dict())
        await connection.execute(statement)
        return digest


async def rotate_key(
    engine: AsyncEngine,
    key_id: str,
    successor: NewKey,
    *,
    now: float,
    overlap: float,
) -> str | None:
    """Makes `successor` with the same rights and the same length of life; the old key lives
    `overlap` seconds on.

    Returns the old key's digest; None if there is no live key of that id.
    """
    old = await find_key(engine, key_id)
    if old is None or old["revoked"] is not None:
        return None
    expires = None
    if old["expires"] is not None:
        expires = now + (old["expires"] - old["created"])
    await add_key(engine, successor, old["owner_id"], rights_of(old), created=now, expires=expires)
    end = now + overlap
    if old["expires"] is not None:
        end = min(end, old["expires"])
    async with engine.begin() as connection:
        statement = update(keys).where(keys.c.id == key_id)
        await connection.execute(statement.values(expires=end, successor=successor.id))
    return str(old["digest"])


def rights_of(row: RowMapping) -> KeyRights:
    return KeyRights(
        label=row["label"],
        scopes=tuple(row["scopes"]),
        models=None if row["models"] is None else tuple(row["models"]),
        limits=Limits.from_dict(row["limits"]),
        allow_cidrs=tuple(row["allow_cidrs"]),
        allow_fallback=row["allow_fallback"],
        allow_external=row["allow_external"],
        on_behalf=row["on_behalf"],
    )


async def touch_key(engine: AsyncEngine, key_id: str, now: float) -> None:
    """Notes that the key was used; callers do so at most once a minute for each key."""
    async with engine.begin() as connection:
        await connection.execute(update(keys).where(keys.c.id == key_id).values(last_used=now))


async def load_caller(
    engine: AsyncEngine,
    digest: str,
    now: float,
    defaults: Limits,
) -> Caller | None:
    """Who calls with the key of this digest; None if it is unknown, revoked, expired, or its owner
    is disabled.
    """
    query = (
        select(
            keys,
            people.c.disabled,
            people.c.team,
            people.c.limits.label("owner_limits"),
            people.c.model_limits,
            teams.c.limits.label("team_limits"),
        )
        .join(people, people.c.id == keys.c.owner_id)
        .outerjoin(teams, teams.c.name == people.c.team)
        .where(keys.c.digest == digest)
    )
    async with engine.connect() as connection:
        row = (await connection.execute(query)).mappings().one_or_none()
    if row is None or row["revoked"] is not None or row["disabled"] is not None:
        return None
    if row["expires"] is not None and row["expires"] <= now:
        return None
    return caller_of(row, defaults)


def caller_of(row: RowMapping, defaults: Limits) -> Caller:
    rights = rights_of(row)
    return Caller(
        owner_id=row["owner_id"],
        key_id=row["id"],
        scopes=frozenset(rights.scopes),
        team=row["team"] or "",
        models=None if rights.models is None else frozenset(rights.models),
        subjects=(
            Subject(f"key:{row['id']}", with_defaults(rights.limits, defaults)),
            *owner_subjects(row),
        ),
        model_limits=parse_model_limits(row["model_limits"]),
        allow_cidrs=rights.allow_cidrs,
        allow_fallback=rights.allow_fallback,
        allow_external=rights.allow_external,
        on_behalf=rights.on_behalf,
        expires=row["expires"],
    )


def owner_subjects(row: RowMapping) -> tuple[Subject, ...]:
    """The owner and their team, as far as they have limits of their own."""
    subjects = []
    if row["owner_limits"]:
        subjects.append(Subject(f"owner:{row['owner_id']}", Limits.from_dict(row["owner_limits"])))
    if row["team_limits"]:
        subjects.append(Subject(f"team:{row['team']}", Limits.from_dict(row["team_limits"])))
    return tuple(subjects)


def parse_model_limits(values: Mapping[str, Mapping[str, Any]]) -> dict[str, Limits]:
    return {model: Limits.from_dict(limits) for model, limits in values.items()}


def with_defaults(limits: Limits, defaults: Limits) -> Limits:
    """`limits`, with the gateway's own where the key says nothing."""
    return Limits.from_dict({**defaults.to_dict(), **limits.to_dict()})
