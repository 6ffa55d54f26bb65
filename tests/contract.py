"""The provider's OpenAPI document, which RUNPOD_OPENAPI names:
one loader for both sides of the wire.

Without it nothing is validated, and the tests that exist to validate skip and say so.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import pytest

if TYPE_CHECKING:
    from openapi_core import OpenAPI

SERVER = "https://api.runpod.io"
ALLOWED: set[object] = set()
"""Requests that were checked; a poll repeats the same one."""


@cache
def document() -> OpenAPI | None:
    name = os.environ.get("RUNPOD_OPENAPI")
    if not name:
        return None
    from openapi_core import Config, OpenAPI

    kinds: dict[str, Callable[[bytes], Any]] = {
        "application/problem+json": json.loads,
        "text/event-stream": bytes.decode,
    }
    options: dict[str, Any] = {
        "spec_validator_cls": None,  # whether it is a valid document takes each worker seconds
        "extra_media_type_deserializers": kinds,
    }
    return OpenAPI.from_dict(json.loads(Path(name).read_text()), Config(**options))


def needed() -> OpenAPI:
    """The document, for a test that is nothing without it."""
    found = document()
    if found is None:
        pytest.skip("RUNPOD_OPENAPI does not name the provider's OpenAPI document")
    return found


def check_request(contract: OpenAPI, sent: Any) -> None:
    """Raise if `sent`, a requests_mock request or a PreparedRequest,
    is not one that the document allows.
    """
    parts = urlsplit(sent.url)
    query = dict(
        pair.split("=", 1) for pair in unquote(parts.query.replace("+", " ")).split("&") if pair
    )
    headers = dict(sent.headers)
    if (
        "Last-Event-ID" in headers
    ):  # said to be a time, but the document's own example of one ends in /<number>
        headers["Last-Event-ID"] = headers["Last-Event-ID"].partition("/")[0]
    body = sent.body.encode() if isinstance(sent.body, str) else sent.body
    seen = (sent.method, sent.url, body, tuple(sorted(headers.items())))
    if seen in ALLOWED:
        return
    from openapi_core.testing import MockRequest

    contract.validate_request(
        MockRequest(SERVER, sent.method.lower(), parts.path, args=query, headers=headers, data=body)
    )
    ALLOWED.add(seen)


def check_answer(contract: OpenAPI, method: str, path: str, body: Any, status: int = 200) -> None:
    """Raise if `body` is not what the document promises for that call."""
    from openapi_core.testing import MockRequest, MockResponse

    answer = MockResponse(json.dumps(body).encode(), status)
    contract.validate_response(MockRequest(SERVER, method.lower(), f"/v2{path}"), answer)
