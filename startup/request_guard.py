"""The only door to vLLM: all but GET /health wants the key. It must never let through what it does not understand."""

import hmac
import os
from typing import Any

REFUSAL = (
    b'{"error":{"message":"The API key is missing or wrong.","type":"unauthorized","code":401}}'
)


class RequestGuard:
    """ASGI middleware, for --middleware; the key is VLLM_API_KEY. Raises RuntimeError if that is empty."""

    def __init__(self, app: Any) -> None:
        self.app, self.expected = app, f"Bearer {os.environ.get('VLLM_API_KEY', '')}".encode()
        if self.expected == b"Bearer ":
            raise RuntimeError("VLLM_API_KEY is empty: the API would be open to everyone")

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        health = (scope["type"], scope.get("method"), scope.get("path")) == (
            "http",
            "GET",
            "/health",
        )
        given = [
            value for name, value in scope.get("headers", []) if name.lower() == b"authorization"
        ]
        keyed = len(given) == 1 and hmac.compare_digest(given[0], self.expected)
        if scope["type"] == "lifespan" or health or keyed:
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()  # websocket.connect; a close before the accept refuses the handshake
            await send({"type": "websocket.close", "code": 1008})
        else:
            headers = [(b"content-type", b"application/json"), (b"www-authenticate", b"Bearer")]
            await send({"type": "http.response.start", "status": 401, "headers": headers})
            await send({"type": "http.response.body", "body": REFUSAL})
