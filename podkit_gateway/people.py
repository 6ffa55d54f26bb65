"""People, their passwords, and their signed-in sessions.

An unknown account answers as slowly as a known one, and a password costs memory and time on
purpose: never more than two are checked at once.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import unicodedata
from collections.abc import Callable
from typing import Any

import argon2
from sqlalchemy import insert, select, update
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncEngine

from podkit_gateway.domain import PERSON_SCOPES, Caller, Limits, Subject
from podkit_gateway.key_store import owner_subjects, parse_model_limits
from podkit_gateway.tables import people, sessions, teams

HOUR = 3600.0
SESSION_IDLE = 12 * HOUR
SESSION_LIFE = 7 * 24 * HOUR
SHORTEST_PASSWORD = 12
LONGEST_PASSWORD = 1024
ROLES = ("member", "admin")


class Passwords:
    """Hashes and checks passwords with argon2's defaults, in threads, two at once."""

    def __init__(self, hasher: argon2.PasswordHasher) -> None:
        self._hasher = hasher
        self._turns = asyncio.Semaphore(2)
        self._dummy: str | None = None

    async def make_hash(self, password: str) -> str:
        async with self._turns:
            return await asyncio.to_thread(self._hasher.hash, password)

    async def matches(self, stored: str | None, password: str) -> bool:
        """Whether this is the password; takes as long if there is none stored."""
        if self._dummy is None:
            self._dummy = await self.make_hash("nobody has this password")
        async with self._turns:
            right = await asyncio.to_thread(self._verify, stored or self._dummy, password)
        return right and stored is not None

    def _verify(self, stored: str, password: str) -> bool:
        try:
            return self._hasher.verify(stored, password)
        except argon2.exceptions.VerificationError:
            return False


def check_new_password(password: str) -> None:
    """Raises ValueError for one that is too short or too long."""
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise ValueError(f"a password has {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters")


def normal_email(text: str) -> str:
    """The address as it is stored: NFC, and the domain in small letters. Raises ValueError if it is
    none.
    """
    email = unicodedata.normalize("NFC", text.strip())
    name, at, domain = email.rpartition("@")
    plain = email.isprintable() and " " not in email
    if not (at and name and "." in domain and plain and len(email) <= 320):
        raise ValueError("this is not an e-mail address")
    return f"{name}@{domain.casefold()}"


def text_digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def new_session_id(random_bytes: Callable[[int], bytes]) -> str:
    return base64.urlsafe_b64encode(random_bytes(32)).decode("ascii").rstrip("=")


async def add_person(
    engine: AsyncEngine,
    email: str,
    *,
    now: float,
    password_hash: str | None = None,
    role: str = "member",
    google_sub: str | None = None,
) -> int:
    """Stores a person and returns their id. Raises IntegrityError if the e-mail is taken."""
    values: dict[str, Any] = {
        "email": normal_email(email),
        "password": password_hash,
        "google_sub": google_sub,
        "role": role,
        "limits": {},
        "model_limits": {},
        "created": now,
    }
    async with engine.begin() as connection:
        made = await connection.execute(insert(people).values(values).returning(people.c.id))
        return int(made.scalar_one())


async def find_person(engine: AsyncEngine, **known: Any) -> RowMapping | None:
    """The one person with these values, as `email=` or `google_sub=`."""
    query = select(people)
    for name, value in known.items():
        query = query.where(people.c[name] == value)
    async with engine.connect() as connection:
        return (await connection.execute(query)).mappings().one_or_none()


async def list_people(engine: AsyncEngine) -> list[RowMapping]:
    shown = [column for column in people.c if column.name not in {"password", "google_sub"}]
    async with engine.connect() as connection:
        found = await connection.execute(select(*shown).order_by(people.c.id))
        return list(found.mappings())


async def change_person(engine: AsyncEngine, person_id: int, **values: Any) -> None:
    async with engine.begin() as connection:
        await connection.execute(update(people).where(people.c.id == person_id).values(**values))


async def set_team_limits(engine: AsyncEngine, team: str, limits: Limits) -> None:
    """Gives a team its limits; makes the team if there is none of this name."""
    values = {"limits": limits.to_dict()}
    async with engine.begin() as connection:
        changed = await connection.execute(update(teams).where(teams.c.name == team).values(values))
        if changed.rowcount == 0:
            await connection.execute(insert(teams).values(name=team, **values))


async def add_session(
    engine: AsyncEngine, text: str, kind: str, person_id: int, *, now: float, life: float
) -> None:
    """Stores a session or token by the digest of its text or id."""
    values = {
        "digest": text_digest(text),
        "kind": kind,
        "person_id": person_id,
        "created": now,
        "last_seen": now,
        "expires": now + life,
    }
    async with engine.begin() as connection:
        await connection.execute(sessions.delete().where(sessions.c.expires < now))
        await connection.execute(insert(sessions).values(values))


async def end_session(engine: AsyncEngine, text: str) -> None:
    async with engine.begin() as connection:
        await connection.execute(sessions.delete().where(sessions.c.digest == text_digest(text)))


async def end_sessions_of(engine: AsyncEngine, person_id: int) -> None:
    async with engine.begin() as connection:
        await connection.execute(sessions.delete().where(sessions.c.person_id == person_id))


async def load_person(
    engine: AsyncEngine,
    text: str,
    kind: str,
    now: float,
    defaults: Limits,
) -> Caller | None:
    """Who is signed in with this session or token; None if it has ended. Notes that it was seen."""
    digest = text_digest(text)
    query = (
        select(
            sessions,
            people.c.role,
            people.c.team,
            people.c.disabled,
            people.c.model_limits,
            people.c.limits.label("owner_limits"),
            teams.c.limits.label("team_limits"),
        )
        .join(people, people.c.id == sessions.c.person_id)
        .outerjoin(teams, teams.c.name == people.c.team)
        .where(sessions.c.digest == digest, sessions.c.kind == kind)
    )
    async with engine.connect() as connection:
        row = (await connection.execute(query)).mappings().one_or_none()
    if row is None or row["disabled"] is not None or row["expires"] <= now:
        return None
    if kind == "session" and now - row["last_seen"] > SESSION_IDLE:
        return None
    if now - row["last_seen"] > 60:
        async with engine.begin() as connection:
            seen = update(sessions).where(sessions.c.digest == digest)
            await connection.execute(seen.values(last_seen=now))
    return signed_in_caller(row, kind, defaults)


def signed_in_caller(row: RowMapping, kind: str, defaults: Limits) -> Caller:
    owner_id = row["person_id"]
    scopes = PERSON_SCOPES
    if row["role"] == "admin":
        scopes = PERSON_SCOPES | {"admin"}
    return Caller(
        owner_id=owner_id,
        key_id=kind,
        scopes=scopes,
        team=row["team"] or "",
        subjects=(Subject(f"signed-in:{owner_id}", defaults), *owner_subjects(row)),
        model_limits=parse_model_limits(row["model_limits"]),
        expires=row["expires"],
    )
