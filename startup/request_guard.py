"""The only door to vLLM: all but GET /health wants the key. It must never let through what it does
not understand.
"""

import hmac
import os
from typing import Any

REFUSAL = (
    b'{"error":{"message":"The API key is missing or wrong.","type":"unauthorized","code":401}}'
)


class RequestGuard:
    """ASGI middleware, for --middleware; the key is VLLM_API_KEY. Raises RuntimeError if that is
    empty.
    """

    def __init__(self, app: Any) -> None:
        key = os.environ.get("VLLM_API_KEY", "")
        if not key:
            raise RuntimeError("VLLM_API_KEY is empty: the API would be open to everyone")
        self.app = app
        self.expected = f"Bearer {key}".encode()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        kind = scope["type"]
        if kind == "lifespan" or is_health_check(scope) or self.has_key(scope):
            await self.app(scope, receive, send)
        elif kind == "websocket":
            await receive()  # websocket.connect; a close before the accept refuses the handshake
            await send({"type": "websocket.close", "code": 1008})
        else:
            headers = [(b"content-type", b"application/json"), (b"www-authenticate", b"Bearer")]
            await send({"type": "http.response.start", "status": 401, "headers": headers})
            await send({"type": "http.response.body", "body": REFUSAL})

    def has_key(self, scope: Any) -> bool:
        """True with exactly one Authorization header, which has the key."""
        given = values_of(scope, b"authorization")
        return len(given) == 1 and hmac.compare_digest(given[0], self.expected)


def is_health_check(scope: Any) -> bool:
    request = (scope["type"], scope.get("method"), scope.get("path"))
    return request == ("http", "GET", "/health")


def values_of(scope: Any, header: bytes) -> list[bytes]:
    """The values of every header of this name, in lower case."""
    return [value for name, value in scope.get("headers", []) if name.lower() == header]
