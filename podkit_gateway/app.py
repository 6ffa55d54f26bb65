"""The application: the hot path for inference, FastAPI for the rest, put together for one
process.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from . import account_api, health_api, models_api, pages
from .incoming import Receive, Scope, Send
from .proxy import PATHS
from .runtime import open_runtime
from .settings import Settings
from .web import install_error_forms


class Gateway:
    """Sends each request to the hot path or to the rest."""

    def __init__(self, rest: FastAPI) -> None:
        self.rest = rest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] in PATHS:
            await self.rest.state.runtime.proxy(scope, receive, send)
        else:
            await self.rest(scope, receive, send)


def make_app(settings: Settings, environment: Mapping[str, str]) -> Gateway | CORSMiddleware:
    """The ASGI application. Its lifespan opens the database and serves the metrics."""

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_runtime(settings, environment) as runtime:
            app.state.runtime = runtime
            server = runtime.metrics.serve(settings.metrics_host, settings.metrics_port)
            try:
                yield
            finally:
                server.shutdown()

    rest = FastAPI(title=settings.name, lifespan=lifespan, docs_url=None, redoc_url=None)
    install_error_forms(rest)
    for router in (health_api.router, models_api.router, account_api.router, pages.router):
        rest.include_router(router)
    gateway = Gateway(rest)
    if not settings.cors_origins:
        return gateway
    return CORSMiddleware(
        gateway,
        allow_origins=settings.cors_origins,
        allow_methods=["GET", "POST", "DELETE"],
        allow_headers=["authorization", "content-type"],
    )
