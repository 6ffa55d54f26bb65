"""Everything one process of the gateway is made of, put together once, started and stopped as a
whole.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from dataclasses import dataclass
from functools import partial
from secrets import token_hex
from typing import Any

import aiohttp
from argon2 import PasswordHasher
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine

from podkit_gateway.access import Access
from podkit_gateway.backends import Backends
from podkit_gateway.backup import newest_backup
from podkit_gateway.config import load_config
from podkit_gateway.domain import Caller, UsageEvent
from podkit_gateway.exchange import Exchange
from podkit_gateway.limits import Leases, Limiter, MemoryLeases, Quota, Quotas, Windows
from podkit_gateway.metrics import BREAKER_STATES, Metrics
from podkit_gateway.people import Passwords
from podkit_gateway.proxy import Parts, Proxy
from podkit_gateway.settings import Settings
from podkit_gateway.shared_state import (
    FailingSafely,
    RedisLeases,
    follow_revoked,
    memory_windows,
    open_redis,
    redis_windows,
)
from podkit_gateway.store import open_engine
from podkit_gateway.tokens import Tokens, parse_token_keys
from podkit_gateway.upstream import Upstream, open_session
from podkit_gateway.usage import UsageWriter, sum_quota, token_price

LOG_FAILURES_EVERY = 60.0
GAUGES_EVERY = 1.0
WORK_AGAIN = 1.0
Work = Callable[[], Coroutine[Any, Any, None]]


@dataclass(frozen=True)
class Runtime:
    """What routes and jobs work with."""

    settings: Settings
    environment: Mapping[str, str]
    engine: AsyncEngine
    redis: Redis | None
    windows: Windows
    session: aiohttp.ClientSession
    backends: Backends
    access: Access
    tokens: Tokens
    passwords: Passwords
    limiter: Limiter
    usage: UsageWriter
    metrics: Metrics
    log: Any
    clock: Callable[[], float] = time.time
    random_bytes: Callable[[int], bytes] = os.urandom


def new_request_id() -> str:
    return f"req_{token_hex(16)}"


class Bookkeeper:
    """Writes down every exchange when it is over: one log line, metrics, and a row of usage."""

    def __init__(self, usage: UsageWriter, metrics: Metrics, log: Any, *, log_client: bool) -> None:
        self._usage = usage
        self._metrics = metrics
        self._log = log
        self._log_client = log_client

    def finish(self, exchange: Exchange) -> None:
        seconds = time.monotonic() - exchange.started
        first = seconds
        if exchange.first_byte is not None:
            first = exchange.first_byte - exchange.started
        model = exchange.route.model.name if exchange.route else exchange.model_asked
        backend = exchange.route.backend.config.name if exchange.route else ""
        self._count(exchange, model or "other", backend, first, seconds)
        if exchange.caller is not None and exchange.route is not None:
            self._usage.add(self._event(exchange, model, backend, first, seconds))
        client = {"client": exchange.address} if self._log_client else {}
        self._log.info(
            "request",
            id=exchange.request_id,
            key=exchange.caller.key_id if exchange.caller else "",
            owner=exchange.caller.owner_id if exchange.caller else 0,
            kind=exchange.kind,
            model=model,
            backend=backend,
            status=exchange.status,
            reason=exchange.reason,
            tokens=exchange.tokens.total,
            first_byte_ms=int(first * 1000),
            ms=int(seconds * 1000),
            **client,
        )

    def _count(
        self, exchange: Exchange, model: str, backend: str, first: float, seconds: float
    ) -> None:
        metrics = self._metrics
        metrics.count_answer(model, backend, exchange.status)
        if exchange.route is None:
            metrics.rejected.labels(exchange.reason or "client_left").inc()
            return
        of_model = metrics.of_model(model)
        of_model.first_byte.observe(first)
        of_model.seconds.observe(seconds)
        of_model.prompt.inc(exchange.tokens.prompt)
        of_model.completion.inc(exchange.tokens.completion)

    def _event(
        self, exchange: Exchange, model: str, backend: str, first: float, seconds: float
    ) -> UsageEvent:
        caller = exchange.caller
        route = exchange.route
        tokens = exchange.tokens
        return UsageEvent(
            id=exchange.id,
            time=time.time() - seconds,
            key_id=caller.key_id if caller else "",
            owner_id=caller.owner_id if caller else 0,
            team=caller.team if caller else "",
            person=person_of(caller, exchange.headers),
            model_asked=exchange.model_asked,
            model=model,
            backend=backend,
            kind=exchange.kind,
            status=exchange.status,
            prompt_tokens=tokens.prompt,
            completion_tokens=tokens.completion,
            cached_tokens=tokens.cached,
            counted=tokens.counted,
            units=0.0,
            first_byte_ms=int(first * 1000),
            total_ms=int(seconds * 1000),
            bytes_in=exchange.bytes_in,
            bytes_out=exchange.bytes_out,
            price=token_price(route.model.price, tokens) if route else 0.0,
        )


def person_of(caller: Caller | None, headers: Mapping[bytes, bytes]) -> str:
    """For whom Open WebUI asks, if the key may say so; otherwise nobody is believed."""
    if caller is None or not caller.on_behalf:
        return ""
    for name in (b"x-openwebui-user-email", b"x-openwebui-user-id"):
        value = headers.get(name, b"").decode("utf-8", "replace").strip()
        if value:
            return value[:320]
    return ""


class FailureLog:
    """One log line a minute while limits cannot be counted; the metric has each."""

    def __init__(self, metrics: Metrics, log: Any) -> None:
        self._metrics = metrics
        self._log = log
        self._logged = 0.0

    def note(self, error: str) -> None:
        self._metrics.limits_failed.inc()
        if time.time() - self._logged >= LOG_FAILURES_EVERY:
            self._logged = time.time()
            self._log.error("limits cannot be counted", error=error)


@contextlib.asynccontextmanager
async def open_runtime(
    settings: Settings, environment: Mapping[str, str], log: Any
) -> AsyncIterator[Runtime]:
    """A running gateway without its server; everything it has begun ends with it."""
    metrics = Metrics()
    engine = open_engine(settings.database_url)
    session = open_session()
    redis = open_redis(settings.redis_url) if settings.redis_url else None
    usage = UsageWriter(
        engine, time.time, keep_days=settings.keep_usage_days, on_lost=metrics.usage_lost.inc
    )
    failures = FailureLog(metrics, log)
    windows, leases, renewing = open_limits(settings, redis, failures)
    limiter = Limiter(windows, leases, Quotas(make_sum(engine, usage), time.time))
    backends = Backends(lambda: load_config(settings.config, environment), session, time.monotonic)
    tokens = Tokens(
        parse_token_keys(settings.token_keys, os.urandom), settings.public_url, time.time
    )
    access = Access(engine, settings, tokens, time.time)
    runtime = Runtime(
        settings=settings,
        environment=environment,
        engine=engine,
        redis=redis,
        windows=windows,
        session=session,
        backends=backends,
        access=access,
        tokens=tokens,
        passwords=Passwords(PasswordHasher()),
        limiter=limiter,
        usage=usage,
        metrics=metrics,
        log=log,
    )
    work = [*background(runtime), *renewing]
    try:
        yield runtime
    finally:
        await stop(runtime, [*work])


def make_proxy(runtime: Runtime) -> Proxy:
    """The hot path of this process."""
    metrics = runtime.metrics
    log_client = runtime.settings.log_client
    books = Bookkeeper(runtime.usage, metrics, runtime.log, log_client=log_client)
    return Proxy(
        Parts(
            settings=runtime.settings,
            access=runtime.access,
            limiter=runtime.limiter,
            backends=runtime.backends,
            upstream=Upstream(runtime.session, runtime.backends, time.monotonic),
            clock=time.monotonic,
            new_id=new_request_id,
            on_waiting=lambda model, step: metrics.waiting.labels(model).inc(step),
            on_finished=books.finish,
        )
    )


def open_limits(
    settings: Settings, redis: Redis | None, failures: FailureLog
) -> tuple[Windows, Leases, list[asyncio.Task[None]]]:
    """Where limits are counted, and the tasks that this needs."""
    if redis is None or settings.redis_url is None:
        return memory_windows(), MemoryLeases(), []
    leases = RedisLeases(redis, time.time)
    safe = FailingSafely(
        redis_windows(settings.redis_url),
        leases,
        open_on_failure=settings.limits_fail == "open",
        on_failure=failures.note,
    )
    return safe, safe, [asyncio.create_task(leases.renew())]


def make_sum(
    engine: AsyncEngine, usage: UsageWriter
) -> Callable[[str], Coroutine[Any, Any, Quota]]:
    async def total(subject: str) -> Quota:
        await usage.flush()
        return await sum_quota(engine, subject, time.time())

    return total


def background(runtime: Runtime) -> list[asyncio.Task[None]]:
    """What runs beside the requests."""
    backends = runtime.backends
    log = runtime.log

    def note_reload(taken: bool) -> None:
        log.info("gateway.toml read again", taken=taken, problem=backends.problem)

    if not backends.reload():
        log.error("gateway.toml is wrong", problem=backends.problem)
    loop = asyncio.get_running_loop()
    with contextlib.suppress(ValueError, RuntimeError):
        loop.add_signal_handler(signal.SIGHUP, lambda: note_reload(backends.reload()))
    access = runtime.access
    work: dict[str, Work] = {
        "health checks": backends.watch_health,
        "gateway.toml": partial(backends.watch_file, runtime.settings.config, note_reload),
        "usage": runtime.usage.run,
        "gauges": partial(show_gauges, runtime),
    }
    if runtime.redis is not None:
        work["revoked keys"] = partial(
            follow_revoked, runtime.redis, access.forget, access.forget_all
        )
    return [asyncio.create_task(keep_doing(log, name, piece)) for name, piece in work.items()]


async def keep_doing(log: Any, name: str, work: Work) -> None:
    """Begins `work` again if it fails, and says so: nobody would notice that it has ended."""
    while True:
        try:
            await work()
        except Exception as problem:
            log.error("work in the background failed", work=name, error=type(problem).__name__)
        await asyncio.sleep(WORK_AGAIN)


async def show_gauges(runtime: Runtime) -> None:
    """Keeps the metrics current that are states, not counts; never returns."""
    metrics = runtime.metrics
    while True:
        metrics.usage_queue.set(runtime.usage.waiting())
        metrics.backend_up.clear()
        metrics.breaker.clear()
        for name, backend in runtime.backends.by_name.items():
            metrics.backend_up.labels(name).set(backend.state == "healthy")
            metrics.breaker.labels(name).set(BREAKER_STATES[backend.breaker.state])
        for model in runtime.backends.config.models.values():
            members = runtime.backends.members(model)
            total = sum(backend.in_flight for backend in members)
            metrics.in_flight.labels(model.name).set(total)
            metrics.waiting.labels(model.name).inc(0)
        show_ages(runtime)
        await asyncio.sleep(GAUGES_EVERY)


def show_ages(runtime: Runtime) -> None:
    """When the newest backup was made, and when the TLS certificate ends."""
    folder = runtime.settings.backup_folder
    if folder is not None:
        runtime.metrics.backup_time.set(newest_backup(folder) or 0)
    certificate = runtime.settings.tls_cert
    if certificate is not None:
        runtime.metrics.certificate_ends.set(certificate_end(certificate.read_bytes()))


def certificate_end(text: bytes) -> float:
    """Unix time at which a PEM certificate ends."""
    from cryptography import x509

    return x509.load_pem_x509_certificate(text).not_valid_after_utc.timestamp()


async def stop(runtime: Runtime, work: list[asyncio.Task[None]]) -> None:
    """Ends the background and writes what is left of usage."""
    for task in work:
        task.cancel()
    await asyncio.gather(*work, return_exceptions=True)
    try:
        await asyncio.wait_for(runtime.usage.flush(), 10)
    except Exception as problem:
        runtime.log.error("usage was not written", error=type(problem).__name__)
    await runtime.session.close()
    if runtime.redis is not None:
        await runtime.redis.aclose()
    await runtime.engine.dispose()
