"""The commands for an operator's data: the database, people, keys, usage, backends."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import click
from argon2 import PasswordHasher
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from podkit_gateway import key_store, people, store, usage
from podkit_gateway.cli import cli, json_option, settings_of, show, show_rows, tell
from podkit_gateway.config import load_config
from podkit_gateway.domain import SCOPES, Limits
from podkit_gateway.errors import GatewayError
from podkit_gateway.keys import make_key
from podkit_gateway.settings import Settings
from podkit_gateway.shared_state import open_redis, tell_revoked
from podkit_gateway.tables import HEAD

T = TypeVar("T")
DAY = 86_400


def with_engine(settings: Settings, work: Callable[[AsyncEngine], Awaitable[T]]) -> T:
    """Does `work` with the database, which must be migrated. Raises GatewayError."""

    async def run() -> T:
        engine = store.open_engine(settings.database_url)
        try:
            if not await store.is_current(engine):
                raise GatewayError("the database is not migrated; run: podkit-gateway migrate")
            return await work(engine)
        finally:
            await engine.dispose()

    return asyncio.run(run())


async def tell_others(settings: Settings, digest: str) -> None:
    """Has running processes forget a key; without Redis they do so within 30 s."""
    if settings.redis_url is None:
        return
    redis = open_redis(settings.redis_url)
    try:
        await tell_revoked(redis, digest)
    finally:
        await redis.aclose()


@cli.command()
@json_option
@click.pass_context
def migrate(context: click.Context, as_json: bool) -> None:
    """Make or update the tables of the database."""
    settings = settings_of(context)

    async def run() -> None:
        engine = store.open_engine(settings.database_url)
        try:
            await store.migrate(engine)
        finally:
            await engine.dispose()

    asyncio.run(run())
    tell({"revision": HEAD}, as_json, "The database is up to date.")


@cli.group()
def admin() -> None:
    """Make an admin."""


@admin.command("create")
@click.option("--email", required=True)
@click.option("--password-stdin", is_flag=True, help="Read the password from stdin.")
@json_option
@click.pass_context
def admin_create(context: click.Context, email: str, password_stdin: bool, as_json: bool) -> None:
    """Make a person who may administer; asks for the password."""
    password = read_password(password_stdin)
    add_with_role(settings_of(context), email, "admin", password, as_json)


def read_password(from_stdin: bool) -> str:
    """The password, from a prompt that does not show it or from stdin; never from argv."""
    if from_stdin:
        password = sys.stdin.readline().rstrip("\n")
    else:
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    people.check_new_password(password)
    return str(password)


def add_with_role(settings: Settings, email: str, role: str, password: str, as_json: bool) -> None:
    async def add(engine: AsyncEngine) -> int:
        password_hash = await people.Passwords(PasswordHasher()).make_hash(password)
        try:
            return await people.add_person(
                engine, email, now=time.time(), password_hash=password_hash, role=role
            )
        except IntegrityError:
            raise GatewayError(f"there is an account {email} already") from None

    person_id = with_engine(settings, add)
    show({"id": person_id, "email": email, "role": role}, as_json, email)


@cli.group("people")
def people_group() -> None:
    """The people who may sign in."""


@people_group.command("add")
@click.option("--email", required=True)
@click.option("--password-stdin", is_flag=True, help="Read the password from stdin.")
@json_option
@click.pass_context
def people_add(context: click.Context, email: str, password_stdin: bool, as_json: bool) -> None:
    """Make a member; asks for the password."""
    add_with_role(settings_of(context), email, "member", read_password(password_stdin), as_json)


@people_group.command("list")
@json_option
@click.pass_context
def people_list(context: click.Context, as_json: bool) -> None:
    """List all people."""
    rows = with_engine(settings_of(context), people.list_people)
    show_rows(rows, as_json, ["id", "email", "role", "team", "disabled"])


@people_group.command("disable")
@click.option("--email", required=True)
@json_option
@click.pass_context
def people_disable(context: click.Context, email: str, as_json: bool) -> None:
    """End a person's sessions, and refuse their keys."""
    settings = settings_of(context)

    async def disable(engine: AsyncEngine) -> None:
        person = await find_by_email(engine, email)
        await people.change_person(engine, person["id"], disabled=time.time())
        await people.end_sessions_of(engine, person["id"])
        for digest in await key_store.list_digests(engine, person["id"]):
            await tell_others(settings, digest)

    with_engine(settings, disable)
    text = f"{email} is disabled; running gateways refuse their keys within 30 s."
    tell({"email": email, "disabled": True}, as_json, text)


async def find_by_email(engine: AsyncEngine, email: str) -> Any:
    person = await people.find_person(engine, email=people.normal_email(email))
    if person is None:
        raise GatewayError(f"there is no account {email}")
    return person


@cli.group()
def keys() -> None:
    """API keys."""


@keys.command("create")
@click.option("--owner", required=True, metavar="EMAIL", help="Whose key it is.")
@click.option("--label", default="")
@click.option("--scope", "scopes", multiple=True, type=click.Choice(SCOPES))
@click.option("--model", "models", multiple=True, help="A model it may use; all if not given.")
@click.option("--days", type=click.IntRange(1), default=90, show_default=True)
@click.option("--no-expiry", is_flag=True, help="Never expires.")
@click.option("--requests-per-minute", type=click.IntRange(0))
@click.option("--tokens-per-minute", type=click.IntRange(0))
@click.option("--tokens-per-day", type=click.IntRange(0))
@click.option("--tokens-per-month", type=click.IntRange(0))
@click.option("--parallel", type=click.IntRange(1))
@click.option("--max-tokens", type=click.IntRange(1), help="The most tokens of one answer.")
@click.option("--allow-cidr", "cidrs", multiple=True, help="A network it may be used from.")
@click.option("--no-fallback", is_flag=True, help="Never answered by another model.")
@click.option("--allow-external", is_flag=True, help="May be answered by a third party.")
@click.option("--on-behalf", is_flag=True, help="For Open WebUI: usage counts per person.")
@json_option
@click.pass_context
def keys_create(context: click.Context, /, **given: Any) -> None:
    """Make a key and print it: the only time that it is shown."""
    settings = settings_of(context)
    names = Limits().__dataclass_fields__
    rights = key_store.KeyRights(
        label=given["label"],
        scopes=given["scopes"] or ("inference", "jobs"),
        models=given["models"] or None,
        limits=Limits(**{name: given[name] for name in names}),
        allow_cidrs=given["cidrs"],
        allow_fallback=not given["no_fallback"],
        allow_external=given["allow_external"],
        on_behalf=given["on_behalf"],
    )
    key = make_key(settings.key_prefix, settings.key_env, os.urandom)
    now = time.time()
    expires = None if given["no_expiry"] else now + given["days"] * DAY

    async def add(engine: AsyncEngine) -> None:
        owner = await find_by_email(engine, given["owner"])
        await key_store.add_key(engine, key, owner["id"], rights, created=now, expires=expires)

    with_engine(settings, add)
    show({"id": key.id, "key": key.text, "expires": expires}, given["as_json"], key.text)


@keys.command("list")
@json_option
@click.pass_context
def keys_list(context: click.Context, as_json: bool) -> None:
    """List all keys; their texts are not stored."""
    rows = with_engine(settings_of(context), key_store.list_keys)
    show_rows(rows, as_json, ["id", "email", "label", "scopes", "models", "expires", "revoked"])


@keys.command("limit")
@click.argument("key_id")
@click.option("--requests-per-minute", type=click.IntRange(0))
@click.option("--tokens-per-minute", type=click.IntRange(0))
@click.option("--tokens-per-day", type=click.IntRange(0))
@click.option("--tokens-per-month", type=click.IntRange(0))
@click.option("--parallel", type=click.IntRange(1))
@click.option("--max-tokens", type=click.IntRange(1))
@json_option
@click.pass_context
def keys_limit(
    context: click.Context, /, key_id: str, as_json: bool, **changed: int | None
) -> None:
    """Change limits of a key; those not given stay."""
    settings = settings_of(context)

    async def change(engine: AsyncEngine) -> Limits:
        row = await key_store.find_key(engine, key_id)
        if row is None:
            raise GatewayError(f"there is no key {key_id}")
        given = {name: value for name, value in changed.items() if value is not None}
        limits = Limits.from_dict({**row["limits"], **given})
        await tell_others(settings, await key_store.change_limits(engine, key_id, limits) or "")
        return limits

    limits = with_engine(settings, change).to_dict()
    tell({"id": key_id, "limits": limits}, as_json, f"{key_id} has the new limits within 30 s.")


@keys.command("rotate")
@click.argument("key_id")
@click.option("--overlap", "hours", type=click.FloatRange(0), default=24, show_default=True)
@json_option
@click.pass_context
def keys_rotate(context: click.Context, key_id: str, hours: float, as_json: bool) -> None:
    """Make a successor with the same rights; the old key works for OVERLAP hours more."""
    settings = settings_of(context)
    key = make_key(settings.key_prefix, settings.key_env, os.urandom)

    async def rotate(engine: AsyncEngine) -> None:
        digest = await key_store.rotate_key(
            engine, key_id, key, now=time.time(), overlap=hours * 3600
        )
        if digest is None:
            raise GatewayError(f"there is no live key {key_id}")
        await tell_others(settings, digest)

    with_engine(settings, rotate)
    show({"id": key.id, "key": key.text}, as_json, key.text)


@keys.command("revoke")
@click.argument("key_id")
@json_option
@click.pass_context
def keys_revoke(context: click.Context, key_id: str, as_json: bool) -> None:
    """End a key."""
    settings = settings_of(context)

    async def revoke(engine: AsyncEngine) -> None:
        digest = await key_store.revoke_key(engine, key_id, time.time())
        if digest is None:
            raise GatewayError(f"there is no key {key_id}")
        await tell_others(settings, digest)

    with_engine(settings, revoke)
    soon = "at once" if settings.redis_url else "within 30 s"
    text = f"{key_id} is revoked; running gateways refuse it {soon}."
    tell({"id": key_id, "revoked": True}, as_json, text)


@cli.command("usage")
@click.option("--days", type=click.IntRange(1), default=30, show_default=True)
@click.option(
    "--by", type=click.Choice(["model", "key_id", "owner", "person", "day"]), default="owner"
)
@click.option("--csv", "as_csv", is_flag=True, help="Print a table for a spreadsheet.")
@json_option
@click.pass_context
def show_usage(context: click.Context, days: int, by: str, as_csv: bool, as_json: bool) -> None:
    """Requests, tokens and costs."""
    since = time.time() - days * DAY
    rows = with_engine(
        settings_of(context), lambda engine: usage.summarize(engine, since=since, by=by)
    )
    if as_csv:
        from podkit_gateway.accounts import as_csv as table

        click.echo(table(rows), nl=False)
        return
    show_rows(rows, as_json, ["group", *usage.SUMS])


@cli.command()
@json_option
@click.pass_context
def backends(context: click.Context, as_json: bool) -> None:
    """The models and backends of gateway.toml, checked."""
    config = load_config(settings_of(context).config, os.environ)
    rows = []
    for model in config.models.values():
        for name in model.backends:
            backend = config.backends[name]
            where = backend.url or backend.endpoint
            rows.append({"model": model.name, "backend": name, "kind": backend.kind, "at": where})
    show_rows(rows, as_json, ["model", "backend", "kind", "at"])
