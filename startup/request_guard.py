"""The only door to vLLM: every path and method but GET /health wants the bearer key.

vLLM's own key check leaves /invocations, /tokenize, /metrics and more open. This class is given to it with
--middleware. It must never let a request through that it does not understand.
"""

import hmac
import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

REFUSAL = b'{"error":{"message":"The API key is missing or wrong.","type":"unauthorized","code":401}}'


class RequestGuard:
    """ASGI middleware; the key is VLLM_API_KEY. Raises RuntimeError if that is empty."""

    def __init__(self, app: App) -> None:
        key = os.environ.get("VLLM_API_KEY", "")
        if not key:
            raise RuntimeError("VLLM_API_KEY is empty: the API would be open to everyone")
        self.app = app
        self.expected = b"Bearer " + key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or self._allowed(scope):
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()  # websocket.connect; a close before the accept refuses the handshake
            await send({"type": "websocket.close", "code": 1008})
        else:
            headers = [(b"content-type", b"application/json"), (b"www-authenticate", b"Bearer")]
            await send({"type": "http.response.start", "status": 401, "headers": headers})
            await send({"type": "http.response.body", "body": REFUSAL})

    def _allowed(self, scope: Scope) -> bool:
        """True for GET /health, and for exactly one Authorization header that holds the key."""
        if scope["type"] == "http" and scope["method"] == "GET" and scope["path"] == "/health":
            return True
        given = [value for name, value in scope["headers"] if name.lower() == b"authorization"]
        return len(given) == 1 and hmac.compare_digest(given[0], self.expected)
