"""What the routes of FastAPI share: the caller of a request, and errors in the form of the API that
was asked.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qsl

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from podkit_gateway.access import read_credential, require
from podkit_gateway.domain import Caller
from podkit_gateway.errors import Refusal
from podkit_gateway.incoming import client_address, read_headers
from podkit_gateway.openai import envelope
from podkit_gateway.runtime import Runtime

NO_STORE = {"cache-control": "no-store"}


def runtime_of(request: Request) -> Runtime:
    runtime: Runtime = request.app.state.runtime
    return runtime


def address_of(request: Request) -> str:
    return client_address(request.scope, runtime_of(request).settings.trusted_proxies)


async def find_caller(request: Request, scope: str | None = None) -> Caller:
    """Who sends this request. Raises Refusal, also if they lack the scope."""
    runtime = runtime_of(request)
    headers = read_headers(request.scope)
    caller = await runtime.access.identify(request.method, headers, address_of(request))
    if scope is not None:
        require(caller, scope)
    return caller


def read_credential_of(request: Request) -> str:
    return read_credential(read_headers(request.scope))


async def read_json(request: Request, limit: int = 64 * 1024) -> dict[str, Any]:
    """The body as an object. Raises Refusal unless it is JSON and says so, as no form does."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise Refusal(
            415, "invalid_request_error", "Send JSON, with content-type application/json."
        )
    try:
        body = json.loads(await read_bounded(request, limit))
    except (ValueError, RecursionError):
        raise Refusal(400, "invalid_request_error", "The body is not valid JSON.") from None
    if not isinstance(body, dict):
        raise Refusal(400, "invalid_request_error", "The body must be a JSON object.")
    return body


async def read_form(request: Request) -> dict[str, str]:
    """The fields of a page's form. Raises Refusal (400, 413)."""
    try:
        text = (await read_bounded(request, 16 * 1024)).decode("utf-8")
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=50))
    except ValueError:
        raise Refusal(400, "invalid_request_error", "The form cannot be read.") from None


async def read_bounded(request: Request, limit: int) -> bytes:
    """The body, of at most `limit` bytes. Raises Refusal (408, 413)."""
    pieces = []
    size = 0
    async with body_deadline(request):
        async for piece in request.stream():
            size += len(piece)
            if size > limit:
                text = f"The body is larger than {limit} bytes."
                raise Refusal(413, "invalid_request_error", text)
            pieces.append(piece)
    return b"".join(pieces)


@asynccontextmanager
async def body_deadline(request: Request) -> AsyncIterator[None]:
    """Gives up a body that does not arrive in time. Raises Refusal (408)."""
    seconds = runtime_of(request).settings.body_seconds
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        text = f"The body did not arrive within {seconds:g} s."
        raise Refusal(408, "timeout", text, headers=(("connection", "close"),)) from None


def read_field(body: dict[str, Any], name: str, kind: type, default: Any = None) -> Any:
    """A field of this type, or the default if it is absent or null. Raises Refusal (400)."""
    value = body.get(name)
    if value is None:
        return default
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        text = f"{name} must be of type {kind.__name__}."
        raise Refusal(400, "invalid_request_error", text, param=name)
    return value


def error_response(request: Request, refusal: Refusal) -> Response:
    """OpenAI's envelope under /v1, RFC 9457 elsewhere."""
    headers = dict(refusal.headers) | NO_STORE
    if request.url.path.startswith("/v1/"):
        return Response(envelope(refusal), refusal.status, headers, "application/json")
    problem = {
        "type": "about:blank",
        "title": refusal.kind.replace("_", " "),
        "status": refusal.status,
        "detail": refusal.message,
    }
    return JSONResponse(problem, refusal.status, headers, "application/problem+json")


def install_error_forms(app: FastAPI) -> None:
    async def on_refusal(request: Request, refusal: Exception) -> Response:
        if not isinstance(refusal, Refusal):
            raise refusal
        return error_response(request, refusal)

    async def on_http(request: Request, problem: Exception) -> Response:
        status = problem.status_code if isinstance(problem, HTTPException) else 400
        text = "There is nothing at this address." if status == 404 else "This cannot be done here."
        return error_response(request, Refusal(status, "invalid_request_error", text))

    async def on_invalid(request: Request, _problem: Exception) -> Response:
        text = "A parameter is missing or of the wrong form."
        return error_response(request, Refusal(422, "invalid_request_error", text))

    async def on_failure(request: Request, problem: Exception) -> Response:
        runtime_of(request).log.error("failure", error=type(problem).__name__)
        text = "The gateway failed; its log says more."
        return error_response(request, Refusal(500, "api_error", text))

    app.add_exception_handler(Refusal, on_refusal)
    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(Exception, on_failure)
