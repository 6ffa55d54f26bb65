"""The backends as they are now: which one takes the next request, and what is known of their
health.

gateway.toml is read again when it changes or on SIGHUP; one that is wrong changes nothing.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from podkit_gateway.breaker import Breaker
from podkit_gateway.config import BackendConfig, Config, ModelConfig
from podkit_gateway.domain import Caller
from podkit_gateway.errors import ConfigurationError

HEALTH_EVERY = 10.0
HEALTH_TIMEOUT = 3.0
RELOAD_EVERY = 1.0
WAKE_EVERY = 0.5

UNKNOWN = "unknown"
HEALTHY = "healthy"
DOWN = "down"
MISNAMED = "misnamed"
ASLEEP = "asleep"


@dataclass
class Backend:
    """One backend: what the file says, and what has been seen of it."""

    config: BackendConfig
    breaker: Breaker = field(default_factory=Breaker)
    state: str = UNKNOWN
    in_flight: int = 0
    asked_awake: float = -math.inf
    """When a waiting request has last asked whether it is awake, by the clock of the breakers."""
    errors: list[str] = field(default_factory=list)
    """Request ids and statuses of its last failures, for an admin; the newest last, ten at most."""

    def usable(self, now: float) -> bool:
        return self.state in {UNKNOWN, HEALTHY} and self.breaker.allows(now)

    def fail(self, now: float, note: str) -> None:
        self.breaker.fail(now)
        self.errors = [*self.errors[-9:], note]


@dataclass(frozen=True)
class Route:
    """Where a request goes; `fallback` is the reason why another model answers than was asked."""

    model: ModelConfig
    backend: Backend
    fallback: str = ""


class Backends:
    """All backends of gateway.toml."""

    def __init__(
        self,
        load: Callable[[], Config],
        session: aiohttp.ClientSession,
        clock: Callable[[], float],
    ) -> None:
        self._load = load
        self._session = session
        self._clock = clock
        self._turn = 0
        self.config = Config()
        self.by_name: dict[str, Backend] = {}
        self.problem = ""
        """Why the file was not taken over when it changed; empty if it was."""

    def reload(self) -> bool:
        """Takes over the file; a backend that is unchanged keeps its state. False if the file is
        wrong.
        """
        try:
            config = self._load()
        except ConfigurationError as problem:
            self.problem = str(problem)
            return False
        self.problem = ""
        kept = {}
        for name, backend in config.backends.items():
            known = self.by_name.get(name)
            if known is None or known.config != backend:
                known = Backend(backend)
            kept[name] = known
        self.config = config
        self.by_name = kept
        return True

    def now(self) -> float:
        """The time by the clock of the breakers, in seconds."""
        return self._clock()

    def members(self, model: ModelConfig) -> list[Backend]:
        return [self.by_name[name] for name in model.backends]

    def choose(
        self,
        model: ModelConfig,
        caller: Caller,
        tried: Iterable[Backend] = (),
        *,
        may_fall_back: bool = False,
    ) -> Route | None:
        """The backend with the least in flight, in turn among equals; then those of the fallbacks.
        None if none is usable.
        """
        backend = self._least_busy(model, caller, tried)
        if backend is not None:
            return Route(model, backend)
        if not (may_fall_back and caller.allow_fallback):
            return None
        for name in model.fallback:
            other = self.config.models[name]
            backend = self._least_busy(other, caller, tried) if caller.may_use(name) else None
            if backend is not None:
                return Route(other, backend, self._reason(model))
        return None

    def may_wait(self, model: ModelConfig) -> bool:
        """Whether a request to this model may be held, because a backend of it is asleep."""
        asleep = any(backend.state == ASLEEP for backend in self.members(model))
        return asleep and model.hold_seconds > 0

    async def wait_until_usable(
        self, model: ModelConfig, caller: Caller, until: float
    ) -> Route | None:
        """A backend of the model as soon as one is awake; None if none is until then."""
        while self._clock() < until:
            for backend in self.members(model):
                asked_before = self._clock() - backend.asked_awake
                if backend.state == ASLEEP and asked_before >= WAKE_EVERY:
                    backend.asked_awake = self._clock()
                    await self.check(backend)
            route = self.choose(model, caller)
            if route is not None:
                return route
            await asyncio.sleep(WAKE_EVERY)
        return None

    async def has_fallen_asleep(self, backend: Backend) -> bool:
        """Whether one that has just failed is one that may sleep, and does."""
        if not backend.config.asleep:
            return False
        await self.check(backend)
        return backend.state == ASLEEP

    def _least_busy(
        self, model: ModelConfig, caller: Caller, tried: Iterable[Backend]
    ) -> Backend | None:
        now = self._clock()
        usable = []
        for backend in self.members(model):
            allowed = caller.allow_external or not backend.config.external
            if allowed and backend not in tried and backend.usable(now):
                usable.append(backend)
        if not usable:
            return None
        fewest = min(backend.in_flight for backend in usable)
        idle = [backend for backend in usable if backend.in_flight == fewest]
        self._turn += 1
        return idle[self._turn % len(idle)]

    def _reason(self, model: ModelConfig) -> str:
        now = self._clock()
        for backend in self.members(model):
            if not backend.breaker.allows(now):
                return "open-breaker"
        return "unhealthy"

    async def check(self, backend: Backend) -> None:
        """Asks one backend whether it lives, and when it comes up whether it serves what the file
        says.
        """
        config = backend.config
        if config.kind != "openai":
            backend.state = HEALTHY
            return
        if not await self._answers(config):
            backend.state = ASLEEP if config.asleep else DOWN
            return
        if backend.state != HEALTHY or config.asleep:
            serves = await self._serves_its_models(config)
            missing = ASLEEP if config.asleep else MISNAMED  # a router answers for engines asleep
            backend.state = HEALTHY if serves else missing

    async def _answers(self, config: BackendConfig) -> bool:
        url = config.url.removesuffix("/v1") + "/health"
        timeout = aiohttp.ClientTimeout(total=HEALTH_TIMEOUT)
        try:
            async with self._session.get(url, timeout=timeout, allow_redirects=False) as response:
                return response.status < 500
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False

    async def _serves_its_models(self, config: BackendConfig) -> bool:
        headers = authorization(config)
        timeout = aiohttp.ClientTimeout(total=HEALTH_TIMEOUT)
        try:
            async with self._session.get(
                f"{config.url}/models", headers=headers, timeout=timeout, allow_redirects=False
            ) as response:
                if response.status != 200:
                    return True
                listed = await response.json(content_type=None)
                served = {model["id"] for model in listed["data"]}
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, TypeError, KeyError):
            return True  # it does not say what it serves, which is not to say something else
        wanted = set()
        for model in self.config.models.values():
            if config.name in model.backends:
                wanted.add(model.served)
        return wanted <= served

    async def check_all(self) -> None:
        await asyncio.gather(*(self.check(backend) for backend in self.by_name.values()))

    async def watch_health(self) -> None:
        """Begins to check all backends every 10 s, however long they take; never returns."""
        while True:
            await asyncio.gather(self.check_all(), asyncio.sleep(HEALTH_EVERY))

    async def watch_file(self, path: Path, on_change: Callable[[bool], None]) -> None:
        """Reads the file again when it changes; never returns."""
        known = stamp(path)
        while True:
            await asyncio.sleep(RELOAD_EVERY)
            now = stamp(path)
            if now != known:
                known = now
                on_change(self.reload())


def stamp(path: Path) -> tuple[int, int, int] | None:
    """What changes when the file does; None if it is not there."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def authorization(config: BackendConfig) -> dict[str, str]:
    return {} if config.key is None else {"Authorization": f"Bearer {config.key.reveal()}"}
