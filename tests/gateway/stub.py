"""A small backend on a real socket: speaks vLLM's form of the OpenAI API, and does what a test
tells it.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

Handle = Callable[["Stub", web.Request, dict[str, Any]], Awaitable[web.StreamResponse]]
USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}


@dataclass
class Seen:
    """A request that came in; `left` is set when the gateway closed the connection before its
    end.
    """

    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    left: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)


def chunk(text: str | None, finish: str | None = None) -> bytes:
    delta = {} if text is None else {"content": text}
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return event({"choices": [choice]})


def event(fields: dict[str, Any]) -> bytes:
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    text = json.dumps({**head, **fields}, ensure_ascii=False, separators=(",", ":"))
    return b"data: " + text.encode() + b"\n\n"


def all_seen(stubs: list[Stub]) -> list[Seen]:
    """What has come in at any of them."""
    seen = []
    for stub in stubs:
        seen += stub.seen
    return seen


def wants_usage(body: dict[str, Any]) -> bool:
    return bool((body.get("stream_options") or {}).get("include_usage"))


async def speak(stub: Stub, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    """What vLLM would say to a question: `Bonjour à tous`, whole or as a stream."""
    if request.path == "/v1/embeddings":
        data = [{"object": "embedding", "index": 0, "embedding": [0.1, 0.2]}]
        usage = {"prompt_tokens": 4, "total_tokens": 4}
        return web.json_response({"object": "list", "data": data, "model": "m", "usage": usage})
    if not body.get("stream"):
        message = {"role": "assistant", "content": "Bonjour à tous"}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        answer = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m"}
        return web.json_response({**answer, "choices": [choice], "usage": USAGE})
    pieces = [chunk("Bonjour"), chunk(" à tous"), chunk(None, "stop")]
    if wants_usage(body):
        pieces.append(event({"choices": [], "usage": USAGE}))
    return await stub.stream(request, [*pieces, b"data: [DONE]\n\n"])


class Stub:
    """Serves from a thread; `handle` answers the paths of the API."""

    def __init__(self, models: tuple[str, ...] = ("olmocr",)) -> None:
        self.models = models
        self._own_models = models
        self.handle: Handle = speak
        self.healthy = True
        self.seen: list[Seen] = []
        self.pause = 0.0
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self.port = 0
        self._runner: web.AppRunner | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._ready.wait(10)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def reset(self) -> None:
        self.handle = speak
        self.models = self._own_models
        self.healthy = True
        self.pause = 0.0
        self.seen.clear()

    def stop(self) -> None:
        async def end() -> None:
            if self._runner is not None:
                await self._runner.cleanup()

        asyncio.run_coroutine_threadsafe(end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    async def stream(self, request: web.Request, pieces: list[bytes]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for piece in pieces:
            await response.write(piece)
            if self.pause:
                await asyncio.sleep(self.pause)
        await response.write_eof()
        return response

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._start())
        self._ready.set()
        self._loop.run_forever()

    async def _start(self) -> None:
        app = web.Application(client_max_size=2**26)
        app.router.add_get("/health", self._health)
        app.router.add_get("/v1/models", self._list)
        app.router.add_post("/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, handler_cancellation=True, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def _health(self, _request: web.Request) -> web.Response:
        return web.Response(status=200 if self.healthy else 503)

    async def _list(self, _request: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": model} for model in self.models]})

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        seen = Seen(request.path, headers, {})
        self.seen.append(seen)
        try:
            text = await request.read()
            seen.body = json.loads(text) if text else {}
            return await self.handle(self, request, seen.body)
        except (asyncio.CancelledError, ConnectionError):
            seen.left.set()
            raise
        finally:
            seen.ended.set()
