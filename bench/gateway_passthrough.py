"""The least that a proxy of the gateway's libraries costs: a plain ASGI callable under uvicorn that
copies bytes to and from aiohttp, and knows nothing.

    python bench/gateway_passthrough.py PORT BACKEND_PORT SLOW_PORT
"""

from __future__ import annotations

import sys
from typing import Any

import aiohttp
import uvicorn


class Passthrough:
    """Sends each request to the backend, or to the slow one if its header X-Kind says so."""

    def __init__(self, backend: int, slow: int) -> None:
        self._backend = backend
        self._slow = slow
        self._session: aiohttp.ClientSession | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._live(receive, send)
            return
        port = self._slow if (b"x-kind", b"slow") in scope["headers"] else self._backend
        body = (await receive())["body"]
        assert self._session is not None
        async with self._session.post(
            f"http://127.0.0.1:{port}{scope['path']}",
            data=body,
            headers={"Content-Type": "application/json"},
        ) as answer:
            kind = (b"content-type", answer.headers["content-type"].encode())
            start = {"type": "http.response.start", "status": answer.status, "headers": [kind]}
            await send(start)
            while piece := await answer.content.readany():
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def _live(self, receive: Any, send: Any) -> None:
        await receive()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), auto_decompress=False
        )
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._session.close()
        await send({"type": "lifespan.shutdown.complete"})


if __name__ == "__main__":
    own, backend, slow = map(int, sys.argv[1:])
    uvicorn.run(
        Passthrough(backend, slow),
        port=own,
        loop="uvloop",
        http="httptools",
        log_config=None,
        access_log=False,
        ws="none",
    )
