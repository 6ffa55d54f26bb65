"""The only door to vLLM: all but GET /health wants the key.

It must never let through what it does not understand. Web pages may ask only from the origins that
PODKIT_CORS_ORIGINS names, whatever vLLM itself would allow.
"""

import hmac
import os
from typing import Any

Headers = list[tuple[bytes, bytes]]

REFUSAL = (
    b'{"error":{"message":"The API key is missing or wrong.","type":"unauthorized","code":401}}'
)
PREFLIGHT_SECONDS = b"600"
"""How long a browser may remember what a preflight allowed."""


class RequestGuard:
    """ASGI middleware, for --middleware; the key is VLLM_API_KEY. Raises RuntimeError if that is
    empty.
    """

    def __init__(self, app: Any) -> None:
        key = os.environ.get("VLLM_API_KEY", "")
        if not key:
            raise RuntimeError("VLLM_API_KEY is empty: the API would be open to everyone")
        self.app = app
        self.key = key.encode()
        self.origins = read_origins(os.environ.get("PODKIT_CORS_ORIGINS", ""))

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        kind = scope["type"]
        allowed = self.cors_headers(scope)
        if kind == "http" and allowed and is_preflight(scope):
            await answer(send, 204, allowed + preflight_headers(scope))
        elif kind == "lifespan" or is_health_check(scope) or self.has_key(scope):
            await self.app(scope, receive, with_cors_headers(send, allowed))
        elif kind == "websocket":
            await receive()  # websocket.connect; a close before the accept refuses the handshake
            await send({"type": "websocket.close", "code": 1008})
        else:
            headers = [(b"content-type", b"application/json"), (b"www-authenticate", b"Bearer")]
            await answer(send, 401, allowed + headers, REFUSAL)

    def has_key(self, scope: Any) -> bool:
        """True with exactly one Authorization header, which has the key; its scheme in any case
        (RFC 9110, 11.1).
        """
        given = values_of(scope, b"authorization")
        if len(given) != 1:
            return False
        scheme, _, key = given[0].partition(b" ")
        return scheme.lower() == b"bearer" and hmac.compare_digest(key, self.key)

    def cors_headers(self, scope: Any) -> Headers:
        """What lets a page of an allowed origin read the answer; empty for every other."""
        origins = values_of(scope, b"origin")
        if len(origins) != 1 or origins[0] not in self.origins:
            return []
        return [(b"access-control-allow-origin", origins[0]), (b"vary", b"Origin")]


def read_origins(setting: str) -> set[bytes]:
    """The origins of PODKIT_CORS_ORIGINS, which commas separate, such as https://app.example.org."""
    origins = set()
    for origin in setting.split(","):
        name = origin.strip().rstrip("/")
        if name:
            origins.add(name.encode())
    return origins


def is_health_check(scope: Any) -> bool:
    request = (scope["type"], scope.get("method"), scope.get("path"))
    return request == ("http", "GET", "/health")


def is_preflight(scope: Any) -> bool:
    """A browser's question before a request of another origin; it has no key yet."""
    return scope["method"] == "OPTIONS" and bool(values_of(scope, b"access-control-request-method"))


def preflight_headers(scope: Any) -> Headers:
    """Every method and the headers that are asked for: the key decides, not these."""
    headers = [
        (b"access-control-allow-methods", b"GET, POST, DELETE, OPTIONS"),
        (b"access-control-max-age", PREFLIGHT_SECONDS),
    ]
    for asked in values_of(scope, b"access-control-request-headers"):
        headers.append((b"access-control-allow-headers", asked))
    return headers


def with_cors_headers(send: Any, allowed: Headers) -> Any:
    """A `send` that puts `allowed` in the place of vLLM's own headers, which allow every origin."""

    async def send_with(message: Any) -> None:
        if message["type"] == "http.response.start":
            headers = list(allowed)
            for name, value in message.get("headers", []):
                if not name.lower().startswith(b"access-control-"):
                    headers.append((name, value))
            message = {**message, "headers": headers}
        await send(message)

    return send_with


async def answer(send: Any, status: int, headers: Headers, body: bytes = b"") -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def values_of(scope: Any, header: bytes) -> list[bytes]:
    """The values of every header of this name, in lower case."""
    return [value for name, value in scope.get("headers", []) if name.lower() == header]
