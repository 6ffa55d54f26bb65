"""What an operator should fix, one line each, with the command or setting that fixes it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp
from redis.exceptions import RedisError

from podkit_gateway.backends import Backends
from podkit_gateway.backup import newest_backup
from podkit_gateway.config import load_config
from podkit_gateway.errors import ConfigurationError
from podkit_gateway.settings import Settings
from podkit_gateway.shared_state import open_redis
from podkit_gateway.store import find_revision, is_reachable, open_engine
from podkit_gateway.tables import HEAD

OLDEST_BACKUP = 26 * 3600.0


@dataclass(frozen=True)
class Finding:
    """`ok`, `warning` or `problem`; a problem keeps the gateway from serving."""

    level: str
    what: str
    fix: str = ""


async def examine(settings: Settings, environment: Mapping[str, str]) -> list[Finding]:
    return [
        await examine_database(settings),
        *await examine_redis(settings),
        *await examine_backends(settings, environment),
        *examine_settings(settings),
        *examine_backup(settings),
    ]


async def examine_database(settings: Settings) -> Finding:
    engine = open_engine(settings.database_url)
    try:
        if not await is_reachable(engine):
            return Finding("problem", "the database does not answer", "GATEWAY_DATABASE_URL")
        revision = await find_revision(engine)
    finally:
        await engine.dispose()
    if revision != HEAD:
        return Finding("problem", "the database is not migrated", "podkit-gateway migrate")
    return Finding("ok", f"database at {revision}")


async def examine_redis(settings: Settings) -> list[Finding]:
    if settings.redis_url is None:
        return []
    redis = open_redis(settings.redis_url)
    try:
        await redis.ping()
    except (RedisError, OSError):
        return [Finding("problem", "Redis does not answer", "GATEWAY_REDIS_URL")]
    finally:
        await redis.aclose()
    return [Finding("ok", "Redis answers")]


async def examine_backends(settings: Settings, environment: Mapping[str, str]) -> list[Finding]:
    """gateway.toml, and each backend as it answers now."""
    try:
        config = load_config(settings.config, environment)
    except ConfigurationError as problem:
        return [Finding("problem", str(problem), f"edit {settings.config}")]
    if not config.models:
        return [Finding("warning", "no models yet", "./podkit.sh gateway sync")]
    async with aiohttp.ClientSession() as session:
        backends = Backends(lambda: config, session, time.monotonic)
        backends.reload()
        await backends.check_all()
    found = []
    for name, backend in backends.by_name.items():
        if backend.state in {"healthy", "asleep"}:
            found.append(Finding("ok", f"backend {name}: {backend.state}"))
        elif backend.state == "misnamed":
            text = f"backend {name} serves other models than {settings.config} says"
            found.append(Finding("problem", text, "set `served` in gateway.toml, or sync"))
        else:
            found.append(
                Finding("problem", f"backend {name} does not answer", "start or remove it")
            )
    return found


def examine_settings(settings: Settings) -> list[Finding]:
    found = []
    if not settings.secure:
        text = "people reach the gateway by http: fit for one machine alone"
        found.append(Finding("warning", text, "GATEWAY_PUBLIC_URL=https://..."))
    if settings.token_keys is None:
        text = "tokens end with the process, as it has made their key itself"
        found.append(Finding("warning", text, "GATEWAY_TOKEN_KEYS=ID:SECRET"))
    return found


def examine_backup(settings: Settings) -> list[Finding]:
    folder = settings.backup_folder
    if folder is None:
        return [Finding("warning", "backups are not watched", "GATEWAY_BACKUP_FOLDER")]
    newest = newest_backup(folder)
    if newest is None or time.time() - newest > OLDEST_BACKUP:
        fix = f"podkit-gateway backup {folder}/NAME"
        return [Finding("problem", "there is no backup of the last 26 hours", fix)]
    return [Finding("ok", "backup of the last 26 hours")]
