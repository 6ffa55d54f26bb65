"""The request to a backend: what it is sent, what counts as its failure, and the one second try
before the first byte.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

import aiohttp

from podkit_gateway.backends import Backends, Route, authorization
from podkit_gateway.errors import NobodyAwake, Refusal
from podkit_gateway.exchange import Exchange, Order
from podkit_gateway.openai import unavailable

CONNECT_SECONDS = 5.0
FIRST_BYTE_SECONDS = 600.0
FIRST_BYTE_OF_STREAM_SECONDS = 120.0
"""Also between two pieces of it."""
WHOLE_SECONDS = 3600.0
IDLE_SECONDS = 4.0
"""How long an idle connection is kept: uvicorn, and so vLLM, closes one after 5 s, and a request
that is sent at that moment would be lost.
"""
FAILED = {502, 503, 504, 524}
AGAIN = {502, 503}
PASSED_ON = (b"accept", b"user-agent", b"traceparent", b"tracestate")


def time_limits(first_byte: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(
        total=WHOLE_SECONDS, sock_connect=CONNECT_SECONDS, sock_read=first_byte
    )


def open_session() -> aiohttp.ClientSession:
    """The connections to backends. Cookies are not kept: they would pass from one caller to
    another.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=60, keepalive_timeout=IDLE_SECONDS),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
    )


def headers_for(exchange: Exchange, route: Route) -> dict[str, str]:
    """What a backend is told: few headers of the client, none that says who it is, and the
    backend's own key.
    """
    headers = {
        "Accept-Encoding": "identity",
        "Content-Type": "application/json",
        "X-Request-Id": exchange.request_id,
        **authorization(route.backend.config),
    }
    for name in PASSED_ON:
        if name in exchange.headers:
            headers[name.decode("ascii").title()] = exchange.headers[name].decode("latin-1")
    return headers


class Upstream:
    """Sends requests to backends."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        backends: Backends,
        clock: Callable[[], float],
    ) -> None:
        self._session = session
        self._backends = backends
        self._clock = clock
        self._limits = {
            False: time_limits(FIRST_BYTE_SECONDS),
            True: time_limits(FIRST_BYTE_OF_STREAM_SECONDS),
        }

    @asynccontextmanager
    async def ask(
        self, exchange: Exchange, order: Order, route: Route
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The beginning of an answer, whose connection is closed at the end unless it was read
        whole.

        Asks a second backend if the first cannot have made an answer; `exchange.route` is the one
        that did. Raises Refusal (503, 504), or NobodyAwake.
        """
        response = await self._try(exchange, order, route)
        if response is None:
            route = self._another(exchange, order, route)
            response = await self._try(exchange, order, route, last=True)
        if response is None:
            raise self._nobody(order, route)
        route.backend.in_flight += 1
        try:
            yield response
        finally:
            route.backend.in_flight -= 1
            response.close()

    async def _try(
        self, exchange: Exchange, order: Order, route: Route, *, last: bool = False
    ) -> aiohttp.ClientResponse | None:
        """What this backend answers; None if another one may be asked instead."""
        exchange.route = route
        backend = route.backend
        backend.breaker.start(self._clock())
        backend.in_flight += 1
        try:
            response = await self._post(exchange, order, route)
        except aiohttp.ConnectionTimeoutError:
            await self._lose(exchange, route, "no connection")
            return None
        except TimeoutError:
            self._fail(exchange, route, "no first byte")
            raise Refusal(504, "timeout", f"The model {route.model.name} took too long.") from None
        except (aiohttp.ClientError, OSError) as problem:
            await self._lose(exchange, route, type(problem).__name__)
            return None
        except asyncio.CancelledError:
            backend.breaker.leave(self._clock())
            raise
        finally:
            backend.in_flight -= 1
        taken = False
        try:
            taken = await self._is_answer(exchange, route, response, last)
        finally:
            if not taken:
                response.close()
        return response if taken else None

    async def _is_answer(
        self, exchange: Exchange, route: Route, response: aiohttp.ClientResponse, last: bool
    ) -> bool:
        """Whether the client gets this answer; otherwise another backend may be asked."""
        backends = self._backends
        without_engines = response.status == 404  # from a router whose engines are asleep
        if without_engines and await backends.has_fallen_asleep(route.backend):
            route.backend.breaker.leave(self._clock())
            return False
        if response.status not in FAILED:
            route.backend.breaker.succeed()
            return True
        if await self._lose(exchange, route, str(response.status)):
            return False
        return last or response.status not in AGAIN or response.content_length != 0

    async def _post(self, exchange: Exchange, order: Order, route: Route) -> aiohttp.ClientResponse:
        return await self._session.post(
            route.backend.config.url + exchange.path.removeprefix("/v1"),
            data=order.body_for(route),
            headers=headers_for(exchange, route),
            allow_redirects=False,
            timeout=self._limits[order.asked.stream],
        )

    async def _lose(self, exchange: Exchange, route: Route, what: str) -> bool:
        """Notes a failure, unless the backend has only fallen asleep; whether it has."""
        if await self._backends.has_fallen_asleep(route.backend):
            route.backend.breaker.leave(self._clock())
            return True
        self._fail(exchange, route, what)
        return False

    def _fail(self, exchange: Exchange, route: Route, what: str) -> None:
        route.backend.fail(self._clock(), f"{exchange.request_id} {what}")

    def _another(self, exchange: Exchange, order: Order, failed: Route) -> Route:
        """Another backend, of the same model or of a fallback. Raises Refusal (503) or NobodyAwake
        if there is none.
        """
        may_fall_back = exchange.may_fall_back and not self._backends.may_wait(order.model)
        other = self._backends.choose(
            order.model, order.caller, [failed.backend], may_fall_back=may_fall_back
        )
        if other is None:
            raise self._nobody(order, failed)
        return other

    def _nobody(self, order: Order, failed: Route) -> Exception:
        """Why no backend can be asked."""
        if self._backends.may_wait(order.model):
            return NobodyAwake()
        return unavailable(failed.model.name, 10)


def is_json(response: aiohttp.ClientResponse, body: bytes) -> bool:
    """Whether this is a JSON object, as it says."""
    if response.content_type != "application/json":
        return False
    try:
        return isinstance(json.loads(body), dict)
    except (ValueError, RecursionError):
        return False


def answer_headers(
    response: aiohttp.ClientResponse, passed: Iterable[str]
) -> list[tuple[bytes, bytes]]:
    """Those headers of a backend that clients may see; hosts, cookies and ids of the provider are
    not among them.
    """
    headers = []
    for name in passed:
        value = response.headers.get(name)
        if value is not None:
            headers.append((name.lower().encode(), value.encode("latin-1")))
    return headers


def backend_error(response_status: int) -> Refusal:
    """What a backend's error becomes that is not in OpenAI's form: its status, never its text."""
    status = response_status if response_status >= 400 else 502
    kind = "invalid_request_error" if status < 500 else "api_error"
    if status == 503:
        kind = "service_unavailable"
    if status in {504, 524}:
        status = 504
        kind = "timeout"
    message = f"The backend answered {response_status}."
    return Refusal(status, kind, message)
