"""The hot path: chat, completions and embeddings, from the client to a backend and back. Read this
first.

A plain ASGI callable: bytes are copied as they come, and a client that leaves frees the backend in
every phase. It never looks into messages, never logs content, and never waits for the database once
a key is known.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy.exc import SQLAlchemyError

from podkit_gateway.access import Access, require
from podkit_gateway.answers import copy_stream, fold, pass_error, pass_whole
from podkit_gateway.backends import Backends, Route
from podkit_gateway.config import ModelConfig
from podkit_gateway.domain import Caller
from podkit_gateway.errors import ClientGone, NobodyAwake, Refusal
from podkit_gateway.exchange import CLIENT_LEFT, LEFT, Exchange, Order
from podkit_gateway.incoming import (
    Receive,
    Scope,
    Send,
    choose_request_id,
    client_address,
    read_body,
    read_headers,
    wait_for_leaving,
)
from podkit_gateway.limits import Limiter
from podkit_gateway.openai import find_cap, invalid, no_such_model, parse_request, unavailable
from podkit_gateway.settings import Settings
from podkit_gateway.upstream import Upstream

PATHS = {
    "/v1/chat/completions": "chat",
    "/v1/completions": "completion",
    "/v1/embeddings": "embedding",
}


@dataclass(frozen=True)
class Parts:
    """What the hot path works with; `clock` is steady, in seconds."""

    settings: Settings
    access: Access
    limiter: Limiter
    backends: Backends
    upstream: Upstream
    clock: Callable[[], float]
    new_id: Callable[[], str]
    on_waiting: Callable[[str, int], None]
    """Told of requests that begin (+1) and stop (-1) to wait for a backend."""
    on_finished: Callable[[Exchange], None]
    """Told of every exchange when it is over: log, metrics, usage."""


class Proxy:
    """Answers the paths of PATHS."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        parts = self._parts
        path = scope["path"]
        own_id = parts.new_id()
        exchange = Exchange(path, send, own_id, own_id, parts.clock(), PATHS[path])
        try:
            order = await self._admit(exchange, scope, receive)
            await self._answer_or_leave(exchange, order, receive)
        except Refusal as refusal:
            await exchange.refuse(refusal)
        except ClientGone:
            exchange.status = CLIENT_LEFT
        except SQLAlchemyError:
            await exchange.refuse(no_database())
        except Exception:
            await exchange.refuse(Refusal(500, "api_error", "The gateway failed; see its log."))
            raise
        finally:
            await exchange.settle()
            parts.on_finished(exchange)

    async def _admit(self, exchange: Exchange, scope: Scope, receive: Receive) -> Order:
        """Everything before a backend is asked: who, what, and whether it is within the limits."""
        parts = self._parts
        settings = parts.settings
        exchange.headers = read_headers(scope)
        exchange.request_id = choose_request_id(exchange.headers, exchange.id)
        if scope["method"] != "POST":
            raise invalid("Use POST.", status=405)
        exchange.address = client_address(scope, settings.trusted_proxies)
        caller = await parts.access.identify("POST", exchange.headers, exchange.address)
        exchange.caller = caller
        require(caller, "inference")
        ends = parts.access.warning(caller)
        if ends:
            exchange.extra.append((b"x-podkit-key-expires", ends.encode()))
        body = await read_body(receive, exchange.headers, settings.max_body, settings.body_seconds)
        exchange.bytes_in = len(body)
        asked = parse_request(body)
        model = parts.backends.config.models.get(asked.model)
        if model is None or model.task != "chat" or not caller.may_use(asked.model):
            raise no_such_model(asked.model)
        exchange.model_asked = model.name
        subjects = caller.subjects_for(model.name)
        cap = find_cap(asked, subjects)
        route = self._choose(exchange, caller, model)
        order = Order(caller, asked, body, exchange.kind, model, cap, route)
        exchange.admission = await parts.limiter.admit(subjects, exchange.id)
        return order

    def _choose(self, exchange: Exchange, caller: Caller, model: ModelConfig) -> Route | None:
        """Where the request goes; None if it may be held until a backend wakes up.

        Raises Refusal (503), before the request counts against any limit.
        """
        backends = self._parts.backends
        route = backends.choose(model, caller)
        if route is None and not backends.may_wait(model):
            route = backends.choose(model, caller, may_fall_back=exchange.may_fall_back)
            if route is None:
                raise unavailable(model.name, 10)
        return route

    async def _answer_or_leave(self, exchange: Exchange, order: Order, receive: Receive) -> None:
        """Answers, unless the client leaves first: then the request to the backend is cut."""
        leaving = asyncio.create_task(wait_for_leaving(receive))
        request = asyncio.current_task()
        answered = False

        def cut(_left: asyncio.Task[None]) -> None:
            if request is not None and not answered and not exchange.complete:
                request.cancel(LEFT)

        leaving.add_done_callback(cut)
        try:
            await self._answer(exchange, order)
        except asyncio.CancelledError as cancelled:
            if request is None or LEFT not in cancelled.args:
                raise
            request.uncancel()
            raise ClientGone from None
        finally:
            answered = True
            leaving.cancel()

    async def _answer(self, exchange: Exchange, order: Order) -> None:
        """Asks a backend; the request is held while all of them sleep. Raises Refusal."""
        give_up = self._parts.clock() + order.model.hold_seconds
        route = order.route
        while True:
            try:
                if route is None:
                    route = await self._wait_for_route(exchange, order, give_up)
                await self._pass(exchange, order, route)
                return
            except NobodyAwake:
                route = None

    async def _pass(self, exchange: Exchange, order: Order, route: Route) -> None:
        async with self._parts.upstream.ask(exchange, order, route) as response:
            if response.status != 200:
                await pass_error(exchange, response)
            elif exchange.route is not None and order.is_folded_from(exchange.route):
                await fold(exchange, response, self._parts.clock)
            elif order.asked.stream:
                swallow = not order.asked.wants_usage
                await copy_stream(exchange, response, self._parts.clock, swallow_usage=swallow)
            else:
                await pass_whole(exchange, response, self._parts.clock)

    async def _wait_for_route(self, exchange: Exchange, order: Order, give_up: float) -> Route:
        """Where the request goes once a backend is awake, or a fallback if none wakes in time.
        Raises Refusal (503).
        """
        parts = self._parts
        model = order.model
        parts.on_waiting(model.name, 1)
        try:
            route = await parts.backends.wait_until_usable(model, order.caller, give_up)
        finally:
            parts.on_waiting(model.name, -1)
        if route is None:
            route = parts.backends.choose(model, order.caller, may_fall_back=exchange.may_fall_back)
        if route is None:
            raise unavailable(model.name, 10)
        return route


def no_database() -> Refusal:
    return Refusal(503, "service_unavailable", "The database does not answer.")
