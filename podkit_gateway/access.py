"""Who is calling: by a key, by a token, or by a browser's session. Everything else is refused
before its body is read.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from http.cookies import CookieError, SimpleCookie
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from podkit_gateway.domain import Caller, Limits
from podkit_gateway.errors import Refusal
from podkit_gateway.incoming import is_within, read_text
from podkit_gateway.key_store import load_caller, touch_key
from podkit_gateway.keys import is_well_formed, key_digest
from podkit_gateway.openai import invalid, unauthorized
from podkit_gateway.people import load_person
from podkit_gateway.settings import Settings
from podkit_gateway.tokens import Tokens

KNOWN_SECONDS = 30.0
UNKNOWN_SECONDS = 5.0
REMEMBERED = 4096
TOUCH_EVERY = 60.0
WARN_BEFORE = 14 * 86_400.0
SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}

Headers = dict[bytes, bytes]


class Remembered:
    """What was found for a digest, for some seconds; the oldest is forgotten when there are too
    many.
    """

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._seconds = seconds
        self._clock = clock
        self._found: dict[str, tuple[float, Caller | None]] = {}

    def get(self, digest: str) -> tuple[bool, Caller | None]:
        """Whether it is remembered, and what."""
        until, caller = self._found.get(digest, (-math.inf, None))
        return until > self._clock(), caller

    def put(self, digest: str, caller: Caller | None) -> None:
        self._found.pop(digest, None)
        if len(self._found) >= REMEMBERED:
            self._found.pop(next(iter(self._found)))
        self._found[digest] = (self._clock() + self._seconds, caller)

    def forget(self, digest: str) -> None:
        self._found.pop(digest, None)

    def clear(self) -> None:
        self._found.clear()


class Access:
    """Finds the caller of a request."""

    def __init__(
        self,
        engine: AsyncEngine,
        settings: Settings,
        tokens: Tokens,
        clock: Callable[[], float],
    ) -> None:
        self._engine = engine
        self._settings = settings
        self._tokens = tokens
        self._clock = clock
        self._known = Remembered(KNOWN_SECONDS, clock)
        self._unknown = Remembered(UNKNOWN_SECONDS, clock)
        self._forgotten = 0
        """How often a key was forgotten: what was read of one meanwhile may be of before."""
        self._touched: dict[str, float] = {}
        self._background: set[asyncio.Task[None]] = set()
        self.defaults = Limits(
            requests_per_minute=settings.default_requests_per_minute or None,
            parallel=settings.default_parallel or None,
            max_tokens=settings.default_max_tokens or None,
        )

    @property
    def cookie_name(self) -> str:
        """The prefix has browsers refuse a cookie that is not Secure, so plain http on one machine
        has none.
        """
        return "__Host-session" if self._settings.secure else "session"

    async def identify(self, method: str, headers: Headers, address: str) -> Caller:
        """The caller. Raises Refusal: 400, 401 or 403."""
        if self._settings.allow_cidrs and not is_within(address, self._settings.allow_cidrs):
            raise not_from_here()
        shown = read_credential(headers)
        if shown:
            caller = await self._by_bearer(shown)
        else:
            caller = await self._by_cookie(method, headers)
        if caller is None:
            raise unauthorized("The key is unknown, expired or revoked.")
        if caller.allow_cidrs and not is_within(address, caller.allow_cidrs):
            raise not_from_here()
        return caller

    def forget(self, digest: str) -> None:
        """Has the next request with this key look into the database again."""
        self._forgotten += 1
        self._known.forget(digest)
        self._unknown.forget(digest)

    def forget_all(self) -> None:
        """Has the next request with any key look into the database again."""
        self._forgotten += 1
        self._known.clear()
        self._unknown.clear()

    def warning(self, caller: Caller) -> str:
        """The day on which the key ends, if that is within 14 days; otherwise empty."""
        if caller.expires is None or caller.key_id in {"session", "token"}:
            return ""
        if caller.expires - self._clock() > WARN_BEFORE:
            return ""
        return iso_day(caller.expires)

    async def _by_bearer(self, shown: str) -> Caller | None:
        if shown.count(".") == 2:
            token_id = self._tokens.read(shown)
            if token_id is None:
                return None
            return await load_person(self._engine, token_id, "token", self._clock(), self.defaults)
        digest = key_digest(shown)
        for remembered in (self._known, self._unknown):
            found, caller = remembered.get(digest)
            if found:
                return self._still_valid(caller)
        if not is_well_formed(shown):
            raise unauthorized("This is not a key of this gateway; it may be cut or mistyped.")
        forgotten = self._forgotten
        caller = await load_caller(self._engine, digest, self._clock(), self.defaults)
        if forgotten == self._forgotten:
            (self._unknown if caller is None else self._known).put(digest, caller)
        return self._still_valid(caller)

    def _still_valid(self, caller: Caller | None) -> Caller | None:
        if caller is None:
            return None
        now = self._clock()
        if caller.expires is not None and caller.expires <= now:
            return None
        if now - self._touched.get(caller.key_id, -math.inf) >= TOUCH_EVERY:
            self._touched[caller.key_id] = now
            self._in_background(touch_key(self._engine, caller.key_id, now))
        return caller

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._finish)

    def _finish(self, task: asyncio.Task[None]) -> None:
        self._background.discard(task)
        if not task.cancelled():
            task.exception()

    async def _by_cookie(self, method: str, headers: Headers) -> Caller | None:
        session = read_cookie(headers, self.cookie_name)
        if not session:
            raise unauthorized("No key: send the header Authorization: Bearer KEY.")
        if method not in SAFE_METHODS:
            self.check_origin(headers)
        return await load_person(self._engine, session, "session", self._clock(), self.defaults)

    def check_origin(self, headers: Headers) -> None:
        """Raises Refusal (403) if a page of another origin has made the browser send this."""
        origin = read_text(headers, b"origin")
        site = read_text(headers, b"sec-fetch-site")
        if origin == self._settings.origin:
            return
        if origin in {"", "null"} and site == "same-origin":
            return  # a form of a page with Referrer-Policy: no-referrer has the origin null
        raise Refusal(403, "permission_error", "This came from a page of another origin.")


def read_credential(headers: Headers) -> str:
    """The key or token that the headers show; empty if none. Raises Refusal (401)."""
    authorization = read_text(headers, b"authorization")
    if authorization:
        scheme, _, shown = authorization.partition(" ")
        if scheme.lower() != "bearer" or not shown.strip():
            raise unauthorized("Send the header as Authorization: Bearer KEY.")
        return shown.strip()
    return read_text(headers, b"x-api-key")


def read_cookie(headers: Headers, name: str) -> str:
    try:
        cookies = SimpleCookie(read_text(headers, b"cookie"))
    except CookieError:
        raise invalid("The Cookie header cannot be read.") from None
    return cookies[name].value if name in cookies else ""


def require(caller: Caller, scope: str) -> None:
    """Raises Refusal (403) if the caller has not this scope."""
    if scope not in caller.scopes:
        raise Refusal(403, "permission_error", f"This key has not the scope {scope}.")


def not_from_here() -> Refusal:
    return Refusal(403, "permission_error", "Requests from this address are not allowed.")


def iso_day(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).date().isoformat()
