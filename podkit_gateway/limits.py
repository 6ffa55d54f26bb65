"""Whether a request may go on, and what is left: requests and tokens a minute, parallel requests,
tokens a day and month.

Requests and tokens are counted in a sliding window of a minute by the `limits` library, in memory
or in Redis. A refused request costs nothing. Tokens are known only afterwards, so a caller may go
over by what its parallel requests make.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from podkit_gateway.domain import Subject
from podkit_gateway.errors import Refusal

MINUTE = 60
QUOTA_SECONDS = 30.0
"""How old a cached sum of a day or month may be."""
NO_LIMIT = 2**53


class Windows(Protocol):
    """The part of a storage of the `limits` library that is used here."""

    async def acquire_sliding_window_entry(
        self, key: str, limit: int, expiry: int, amount: int = 1
    ) -> bool: ...

    async def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]: ...


class Leases(Protocol):
    """Who counts requests that are under way."""

    async def take(self, subject: str, limit: int, lease: str) -> bool: ...

    async def give_back(self, subject: str, lease: str) -> None: ...


@dataclass(frozen=True)
class Window:
    """What is left of one limit of a minute: `reset` is in seconds."""

    limit: int
    remaining: int
    reset: float


@dataclass(frozen=True)
class Quota:
    """Tokens used in the current UTC day and month."""

    day: int
    month: int


SumQuota = Callable[[str], Awaitable[Quota]]


class MemoryLeases:
    """Parallel requests of this process alone."""

    def __init__(self) -> None:
        self._taken: dict[str, set[str]] = {}

    async def take(self, subject: str, limit: int, lease: str) -> bool:
        taken = self._taken.setdefault(subject, set())
        if len(taken) >= limit:
            return False
        taken.add(lease)
        return True

    async def give_back(self, subject: str, lease: str) -> None:
        taken = self._taken.get(subject, set())
        taken.discard(lease)
        if not taken:
            self._taken.pop(subject, None)


class Quotas:
    """Sums of the day and month by subject, cached; the debits of this process are added."""

    def __init__(self, total: SumQuota, clock: Callable[[], float]) -> None:
        self._total = total
        self._clock = clock
        self._known: dict[str, tuple[float, Quota]] = {}

    async def used(self, subject: str) -> Quota:
        known = self._known.get(subject)
        if known is not None and self._clock() - known[0] < QUOTA_SECONDS:
            return known[1]
        total = await self._total(subject)
        self._known[subject] = (self._clock(), total)
        return total

    def debit(self, subject: str, tokens: int) -> None:
        known = self._known.get(subject)
        if known is not None:
            read_at, quota = known
            self._known[subject] = (read_at, Quota(quota.day + tokens, quota.month + tokens))


class Admission:
    """What one admitted request holds until it is finished, and the windows that its answer's
    headers tell of.
    """

    def __init__(
        self,
        requests: Window | None,
        tokens: Window | None,
        finish: Callable[[int], Awaitable[None]],
    ) -> None:
        self._requests = requests
        self._tokens = tokens
        self._finish = finish
        self._finished = False

    def headers(self) -> list[tuple[bytes, bytes]]:
        return limit_headers(self._requests, self._tokens)

    async def finish(self, tokens: int) -> None:
        """Gives the parallel place back, and counts the tokens that were used; once."""
        if not self._finished:
            self._finished = True
            await self._finish(tokens)


class Limiter:
    """Admits requests, and debits what they used."""

    def __init__(self, windows: Windows, leases: Leases, quotas: Quotas) -> None:
        self._windows = windows
        self._leases = leases
        self._quotas = quotas

    async def admit(self, subjects: Sequence[Subject], lease: str) -> Admission:
        """Counts one request for all subjects. Raises Refusal (429) and then counts it for none."""
        requests = await self._tightest("requests", subjects)
        tokens = await self._tightest("tokens", subjects)
        if requests is not None and requests.remaining < 1:
            raise too_many("requests per minute", requests, requests, tokens)
        if tokens is not None and tokens.remaining < 1:
            raise too_many("tokens per minute", tokens, requests, tokens)
        await self._check_quotas(subjects)
        try:
            await self._take_leases(subjects, lease)
            await self._count_request(subjects, requests, tokens)
        except BaseException:  # also a cancelled request must not hold its place
            await self._give_back(subjects, lease)
            raise
        if requests is not None:
            requests = Window(requests.limit, requests.remaining - 1, requests.reset)
        return Admission(requests, tokens, partial(self._finish, subjects, lease))

    async def _count_request(
        self, subjects: Sequence[Subject], requests: Window | None, tokens: Window | None
    ) -> None:
        for subject in subjects:
            limit = subject.limits.requests_per_minute
            if limit is None:
                continue
            name = window_name("requests", subject)
            if not await self._windows.acquire_sliding_window_entry(name, limit, MINUTE, 1):
                empty = Window(limit, 0, requests.reset if requests else MINUTE)
                raise too_many("requests per minute", empty, empty, tokens)

    async def _finish(self, subjects: Sequence[Subject], lease: str, tokens: int) -> None:
        await self._give_back(subjects, lease)
        if tokens < 1:
            return
        for subject in subjects:
            self._quotas.debit(subject.name, tokens)
            if subject.limits.tokens_per_minute is not None:
                name = window_name("tokens", subject)
                with contextlib.suppress(Refusal):  # the answer is there; the failure is counted
                    await self._windows.acquire_sliding_window_entry(name, NO_LIMIT, MINUTE, tokens)

    async def _tightest(self, kind: str, subjects: Sequence[Subject]) -> Window | None:
        tightest: Window | None = None
        for subject in subjects:
            limits = subject.limits
            limit = limits.requests_per_minute if kind == "requests" else limits.tokens_per_minute
            if limit is None:
                continue
            counts = await self._windows.get_sliding_window(window_name(kind, subject), MINUTE)
            window = read_window(limit, *counts)
            if tightest is None or window.remaining < tightest.remaining:
                tightest = window
        return tightest

    async def _check_quotas(self, subjects: Sequence[Subject]) -> None:
        for subject in subjects:
            per_day = subject.limits.tokens_per_day
            per_month = subject.limits.tokens_per_month
            if per_day is None and per_month is None:
                continue
            used = await self._quotas.used(subject.name)
            if per_day is not None and used.day >= per_day:
                raise out_of_quota("day", per_day)
            if per_month is not None and used.month >= per_month:
                raise out_of_quota("month", per_month)

    async def _take_leases(self, subjects: Sequence[Subject], lease: str) -> None:
        for subject in subjects:
            limit = subject.limits.parallel
            if limit is None or await self._leases.take(subject.name, limit, lease):
                continue
            raise Refusal(
                429,
                "rate_limit_error",
                f"{limit} requests of yours are under way, which is your limit; wait for one.",
                code="rate_limit_exceeded",
                headers=(("retry-after", "1"),),
            )

    async def _give_back(self, subjects: Sequence[Subject], lease: str) -> None:
        for subject in subjects:
            if subject.limits.parallel is not None:
                await self._leases.give_back(subject.name, lease)


def window_name(kind: str, subject: Subject) -> str:
    return f"gateway/{kind}/{subject.name}"


def read_window(
    limit: int,
    previous: int,
    previous_ends: float,
    current: int,
    current_ends: float,
) -> Window:
    """What is left of `limit`, from the counts of the last two minutes and the seconds until each
    leaves the window.
    """
    used = previous * previous_ends / MINUTE + current
    remaining = max(0, limit - math.floor(used))
    reset = float(MINUTE)
    if current or previous:
        reset = current_ends if current else previous_ends
    return Window(limit, remaining, min(max(reset, 0.0), float(MINUTE)))


def too_many(what: str, hit: Window, requests: Window | None, tokens: Window | None) -> Refusal:
    headers = [(name.decode(), value.decode()) for name, value in limit_headers(requests, tokens)]
    seconds = max(1, math.ceil(hit.reset))
    return Refusal(
        429,
        "rate_limit_error",
        f"Your limit of {hit.limit} {what} is reached; try again in {seconds} s.",
        code="rate_limit_exceeded",
        headers=(*headers, ("retry-after", str(seconds))),
    )


def out_of_quota(period: str, quota: int) -> Refusal:
    return Refusal(
        429,
        "rate_limit_error",
        f"Your quota of {quota} tokens a {period} is used up. "
        f"It starts again with the next {period} (UTC); an admin can raise it.",
        code="insufficient_quota",
        headers=(("retry-after", "3600"),),
    )


def limit_headers(requests: Window | None, tokens: Window | None) -> list[tuple[bytes, bytes]]:
    """OpenAI's x-ratelimit-* headers, and the pair of draft-ietf-httpapi-ratelimit-headers-11
    (2026-05-23).
    """
    headers: list[tuple[bytes, bytes]] = []
    policies: list[str] = []
    states: list[str] = []
    for window, kind, short in ((requests, "requests", "rpm"), (tokens, "tokens", "tpm")):
        if window is None:
            continue
        headers.append((f"x-ratelimit-limit-{kind}".encode(), str(window.limit).encode()))
        headers.append((f"x-ratelimit-remaining-{kind}".encode(), str(window.remaining).encode()))
        headers.append((f"x-ratelimit-reset-{kind}".encode(), in_words(window.reset).encode()))
        policies.append(f'"{short}";q={window.limit};w={MINUTE}')
        states.append(f'"{short}";r={window.remaining};t={math.ceil(window.reset)}')
    if policies:
        headers.append((b"ratelimit-policy", ", ".join(policies).encode()))
        headers.append((b"ratelimit", ", ".join(states).encode()))
    return headers


def in_words(seconds: float) -> str:
    """A time as OpenAI writes it: `12ms`, `6.5s`, `6m0s`."""
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    if seconds < MINUTE:
        return f"{seconds:.3g}s"
    minutes, rest = divmod(math.ceil(seconds), MINUTE)
    return f"{minutes}m{rest}s"
