"""The application: the hot path for inference, FastAPI for the rest, put together for one
process.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

from fastapi import FastAPI, Request
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.sessions import SessionMiddleware

from podkit_gateway import account_api, audio_api, health_api, jobs_api, models_api, pages
from podkit_gateway.access import not_from_here
from podkit_gateway.incoming import Receive, Scope, Send, client_address, is_within
from podkit_gateway.job_client import JobClient
from podkit_gateway.jobs import Jobs
from podkit_gateway.proxy import PATHS
from podkit_gateway.runtime import Runtime, keep_doing, make_proxy, open_runtime
from podkit_gateway.settings import Settings
from podkit_gateway.web import error_response, install_error_forms

FOR_ALL = ("/health", "/ready", "/hooks/")
"""What tells nothing and, under /hooks/, what the provider calls by a name that it alone knows."""


def make_jobs(runtime: Runtime) -> Jobs:
    settings = runtime.settings
    client = JobClient(
        runtime.session,
        runtime.clock,
        jobs_url=settings.jobs_url,
        api_url=settings.api_url,
    )
    return Jobs(runtime, client)


class Gateway:
    """Sends each request to the hot path or to the rest, if its address is one that is let in."""

    def __init__(self, rest: FastAPI, settings: Settings) -> None:
        self.rest = rest
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.rest(scope, receive, send)
        elif scope["path"] in PATHS:
            await self.rest.state.proxy(scope, receive, send)
        elif self._lets_in(scope):
            await self.rest(scope, receive, send)
        else:
            await error_response(Request(scope), not_from_here())(scope, receive, send)

    def _lets_in(self, scope: Scope) -> bool:
        """Whether the address may come here at all; the hot path asks the same of its callers."""
        settings = self._settings
        if not settings.allow_cidrs or scope["path"].startswith(FOR_ALL):
            return True
        return is_within(client_address(scope, settings.trusted_proxies), settings.allow_cidrs)


def add_google(rest: FastAPI, settings: Settings) -> None:
    """Imports Authlib, which takes half a second, only where it is wanted."""
    from podkit_gateway import google

    rest.state.google = google.register_google(settings)
    rest.include_router(google.router)
    rest.add_middleware(
        SessionMiddleware,
        secret_key=google.state_secret(settings),
        session_cookie=google.STATE_COOKIE,
        max_age=google.STATE_SECONDS,
        same_site="lax",
        https_only=settings.secure,
    )


async def warn(runtime: Runtime) -> None:
    """Logs what keeps this gateway from serving, as /ready says it."""
    for problem in await health_api.find_problems(runtime):
        runtime.log.warning("not ready", problem=problem)


def make_app(
    settings: Settings, environment: Mapping[str, str], log: Any
) -> Gateway | CORSMiddleware:
    """The ASGI application. Its lifespan opens the database and serves the metrics."""

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_runtime(settings, environment, log) as runtime:
            app.state.runtime = runtime
            app.state.proxy = make_proxy(runtime)
            app.state.jobs = make_jobs(runtime)
            await warn(runtime)
            following = asyncio.create_task(keep_doing(log, "jobs", app.state.jobs.run))
            server = runtime.metrics.serve(settings.metrics_host, settings.metrics_port)
            try:
                yield
            finally:
                following.cancel()
                server.shutdown()
                server.server_close()

    rest = FastAPI(title=settings.name, lifespan=lifespan, docs_url=None, redoc_url=None)
    install_error_forms(rest)
    for router in (
        health_api.router,
        models_api.router,
        account_api.router,
        audio_api.router,
        jobs_api.router,
        pages.router,
    ):
        rest.include_router(router)
    gateway = Gateway(rest, settings)
    if settings.google_client_id:
        add_google(rest, settings)
    if not settings.cors_origins:
        return gateway
    return CORSMiddleware(
        gateway,
        allow_origins=settings.cors_origins,
        allow_methods=["GET", "POST", "DELETE"],
        allow_headers=["authorization", "content-type"],
    )
