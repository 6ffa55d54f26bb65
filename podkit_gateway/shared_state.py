"""What several processes share through Redis: windows of limits, parallel requests, and news of
revoked keys.

If Redis fails, requests are refused (503), or let through if GATEWAY_LIMITS_FAIL says so; either is
counted and logged.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from limits.aio.storage import MemoryStorage, RedisStorage
from redis.asyncio import Redis
from redis.exceptions import RedisError

from podkit_gateway.errors import Refusal
from podkit_gateway.limits import Leases, Windows
from podkit_gateway.settings import Secret

T = TypeVar("T")
LEASE_SECONDS = 90.0
"""A parallel place is renewed every third of this; one of a killed process is free again after it.
"""
REVOKED = "gateway:revoked"

TAKE = """
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[1])
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[2]) then return 0 end
redis.call('ZADD', KEYS[1], ARGV[3], ARGV[4])
redis.call('PEXPIRE', KEYS[1], 3600000)
return 1
"""


class RedisLeases:
    """Parallel requests of all processes: a sorted set of leases for each subject, by their end."""

    def __init__(self, redis: Redis, clock: Callable[[], float]) -> None:
        self._redis = redis
        self._clock = clock
        self._take = redis.register_script(TAKE)
        self._held: set[tuple[str, str]] = set()

    async def take(self, subject: str, limit: int, lease: str) -> bool:
        now = self._clock()
        arguments: list[bytes | bytearray | memoryview[int] | str | float] = [
            now,
            limit,
            now + LEASE_SECONDS,
            lease,
        ]
        taken = bool(await self._take(keys=[f"gateway:leases:{subject}"], args=arguments))
        if taken:
            self._held.add((subject, lease))
        return taken

    async def give_back(self, subject: str, lease: str) -> None:
        self._held.discard((subject, lease))
        await self._redis.zrem(f"gateway:leases:{subject}", lease)

    async def renew(self) -> None:
        """Makes all leases of this process last on; never returns."""
        while True:
            await asyncio.sleep(LEASE_SECONDS / 3)
            end = self._clock() + LEASE_SECONDS
            for subject, lease in list(self._held):
                try:
                    await self._redis.zadd(f"gateway:leases:{subject}", {lease: end}, xx=True)
                except (RedisError, OSError):
                    break


class FailingSafely:
    """Windows and leases that turn a failure of Redis into what the operator chose."""

    def __init__(
        self,
        windows: Windows,
        leases: Leases,
        *,
        open_on_failure: bool,
        on_failure: Callable[[str], None],
    ) -> None:
        self._windows = windows
        self._leases = leases
        self._open = open_on_failure
        self._on_failure = on_failure

    async def acquire_sliding_window_entry(
        self, key: str, limit: int, expiry: int, amount: int = 1
    ) -> bool:
        try:
            return await self._windows.acquire_sliding_window_entry(key, limit, expiry, amount)
        except (RedisError, OSError) as problem:
            return self._decide(problem, True)

    async def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        try:
            return await self._windows.get_sliding_window(key, expiry)
        except (RedisError, OSError) as problem:
            return self._decide(problem, (0, 0.0, 0, 0.0))

    async def take(self, subject: str, limit: int, lease: str) -> bool:
        try:
            return await self._leases.take(subject, limit, lease)
        except (RedisError, OSError) as problem:
            return self._decide(problem, True)

    async def give_back(self, subject: str, lease: str) -> None:
        try:
            await self._leases.give_back(subject, lease)
        except (RedisError, OSError) as problem:
            self._on_failure(type(problem).__name__)

    def _decide(self, problem: Exception, answer: T) -> T:
        self._on_failure(type(problem).__name__)
        if self._open:
            return answer
        raise Refusal(
            503,
            "service_unavailable",
            "Limits cannot be counted at the moment; try again soon.",
            headers=(("retry-after", "5"),),
        )


def open_redis(url: Secret) -> Redis:
    redis: Redis = Redis.from_url(url.reveal(), socket_timeout=2, socket_connect_timeout=2)
    return redis


def memory_windows() -> Windows:
    return MemoryStorage()


def redis_windows(url: Secret) -> Windows:
    """Windows in Redis. `limits` would take coredis unless told which library is installed."""
    options: dict[str, Any] = {"socket_timeout": 2, "socket_connect_timeout": 2}
    return RedisStorage(
        f"async+{url.reveal()}",
        implementation="redispy",
        key_prefix="gateway",
        **options,
    )


async def tell_revoked(redis: Redis | None, digest: str) -> None:
    """Has every process forget the key of this digest. Without Redis they do within 30 s."""
    if redis is not None:
        await redis.publish(REVOKED, digest)


async def follow_revoked(
    redis: Redis, forget: Callable[[str], None], forget_all: Callable[[], None]
) -> None:
    """Calls `forget` for every revoked digest, and `forget_all` whenever it begins to listen, as
    news before that was missed; never returns.
    """
    while True:
        try:
            async with redis.pubsub() as channel:
                await channel.subscribe(REVOKED)
                async for message in channel.listen():
                    if message["type"] == "subscribe":
                        forget_all()
                    elif message["type"] == "message":
                        forget(message["data"].decode("ascii"))
        except (RedisError, OSError):
            await asyncio.sleep(1)
