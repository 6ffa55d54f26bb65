"""The routes: what is asked is checked before a header is sent, the pages are read while the stream
is open.
"""

import asyncio
import os
import sys
import traceback
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from http import HTTPStatus
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from podkit_sandbox.shims.vllm import shapes
from podkit_sandbox.shims.vllm.answers import Question, chat_question, completion_question
from podkit_sandbox.shims.vllm.flags import Options
from podkit_sandbox.shims.vllm.generation import token_id, tokens_of
from podkit_sandbox.shims.vllm.protocol import (
    ChatRequest,
    CompletionRequest,
    Generation,
    TokenizeRequest,
    parse,
)
from podkit_sandbox.shims.vllm.reader import PageReader, Unreadable
from podkit_sandbox.shims.vllm.refusals import Refusal, error_object, json_response

VERSION = "0.32.0"
KEEP_ALIVE = ": keep-alive\n\n"
DIED = (
    "EngineDeadError: EngineCore encountered an issue. See stack trace (above) for the root cause."
)
CLIENT_GONE = 499
"""The status of an answer that nobody reads, as vLLM logs it."""

Result = TypeVar("Result")
Whole = Callable[[shapes.Answer], dict[str, Any]]
Events = Callable[..., Iterator[str]]


class ClientGone(Exception):
    """The client has closed its connection; what it asked for is not worked on."""


class Server:
    """Answers for the names of one command line; belongs to one event loop."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._reader = PageReader()
        self._in_flight = 0
        self._totals = Counter(
            {"request_success": 0, "prompt_tokens": 0, "generation_tokens": 0},
        )

    def app(self) -> Starlette:
        """The routes, without the middleware of the command line."""
        routes = [
            Route("/health", lambda _: Response()),
            Route("/version", lambda _: json_response({"version": VERSION})),
            Route("/metrics", self.metrics),
            Route("/tokenize", self.tokenize, methods=["POST"]),
            Route("/v1/models", self.models),
            Route("/v1/chat/completions", self.chat, methods=["POST"]),
            Route("/v1/completions", self.complete, methods=["POST"]),
        ]
        handlers: Any = {
            HTTPException: http_refused,
            Refusal: refuse,
            Unreadable: unreadable,
            ClientGone: lambda *_: Response(status_code=CLIENT_GONE),
        }
        app = Starlette(routes=routes, exception_handlers=handlers)
        app.add_middleware(WithoutBareErrors)
        return app

    async def chat(self, request: Request) -> Response:
        """A chat completion, whole or as events."""
        body = await parse(request, ChatRequest)
        self._know(body.model)
        question = chat_question(body, self._options)
        return await self._answer(request, body, question, shapes.chat_answer, shapes.chat_events)

    async def complete(self, request: Request) -> Response:
        """A plain completion, whole or as events."""
        body = await parse(request, CompletionRequest)
        self._know(body.model)
        question = completion_question(body, self._options)
        return await self._answer(
            request, body, question, shapes.completion_answer, shapes.completion_events
        )

    async def tokenize(self, request: Request) -> Response:
        """The tokens of a prompt, or of the text of messages."""
        body = await parse(request, TokenizeRequest)
        self._know(body.model)
        texts = [body.prompt or ""]
        for message in body.messages or []:
            texts += [part.text or "" for part in message.parts]
        tokens = tokens_of("".join(texts))
        answer = {
            "count": len(tokens),
            "max_model_len": self._options.max_model_len,
            "tokens": [token_id(token) for token in tokens],
            "token_strs": tokens if body.return_token_strs else None,
        }
        return json_response(answer)

    def models(self, _: Request) -> Response:
        """A card for every served name."""
        cards = []
        for name in self._options.names:
            card = {
                "id": name,
                "object": "model",
                "created": 0,
                "owned_by": "vllm",
                "root": name,
                "parent": None,
                "max_model_len": self._options.max_model_len,
            }
            cards.append(card)
        return json_response({"object": "list", "data": cards})

    def metrics(self, _: Request) -> Response:
        """The counters that tell whether anybody works with the model."""
        label = f'engine="0",model_name="{self._options.names[0]}"'
        waiting = self._reader.waiting
        gauges = {
            "num_requests_running": self._in_flight - waiting,
            "num_requests_waiting": waiting,
        }
        lines = []
        for name, count in gauges.items():
            lines.append(f"vllm:{name}{{{label}}} {count}.0\n")
        for name, count in self._totals.items():
            lines.append(f"vllm:{name}_total{{{label}}} {count}.0\n")
        return Response("".join(lines), media_type="text/plain")

    def _know(self, model: str | None) -> None:
        if model is not None and model not in self._options.names:
            message = f"The model `{model}` does not exist."
            raise Refusal(message, status=404, kind="NotFoundError", parameter="model")

    async def _answer(
        self,
        request: Request,
        body: Generation,
        question: Question,
        whole: Whole,
        events: Events,
    ) -> Response:
        work = self._work(question)
        if not body.stream:
            return json_response(whole(await unless_gone(request, work)))
        with_usage = bool(body.stream_options and body.stream_options.include_usage)
        stream = self._stream(work, lambda answer: events(answer, with_usage=with_usage))
        return StreamingResponse(stream, media_type="text/event-stream")

    async def _work(self, question: Question) -> shapes.Answer:
        """Reads the pages and counts what was done."""
        self._in_flight += 1
        pages = []
        try:
            for picture in question.pictures:
                pages.append(await self._reader.read(picture.data))
        finally:
            self._in_flight -= 1
        answer = question.answer(pages)
        self._totals["request_success"] += len(answer.choices)
        self._totals["prompt_tokens"] += answer.usage["prompt_tokens"]
        self._totals["generation_tokens"] += answer.usage["completion_tokens"]
        if os.environ.get("PODKIT_SANDBOX_VLLM_ERROR") == "died":
            asyncio.get_running_loop().call_later(1, sys.exit, DIED)
        return answer

    async def _stream(
        self,
        work: Coroutine[Any, Any, shapes.Answer],
        events: Callable[[shapes.Answer], Iterator[str]],
    ) -> AsyncIterator[str]:
        """The events, and comments while there are none yet. Starlette ends it when the client has
        gone.
        """
        task = asyncio.ensure_future(work)
        try:
            while not task.done():
                await asyncio.wait([task], timeout=self._options.keep_alive_seconds or None)
                if not task.done():
                    yield KEEP_ALIVE
            for event in events(task.result()):
                yield event
        except Unreadable as error:
            yield shapes.sse(error_object(Refusal(str(error))))
            yield shapes.DONE
        finally:
            task.cancel()


async def unless_gone(request: Request, work: Coroutine[Any, Any, Result]) -> Result:
    """The result of the work, which is cancelled when the client goes. Raises ClientGone then."""
    working = asyncio.ensure_future(work)
    watching = asyncio.ensure_future(_until_gone(request))
    try:
        await asyncio.wait([working, watching], return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientGone
        return working.result()
    finally:
        working.cancel()
        watching.cancel()


async def _until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def refuse(_: Request, refusal: Refusal) -> Response:
    return json_response(error_object(refusal), refusal.status)


def unreadable(_: Request, error: Unreadable) -> Response:
    return json_response(error_object(Refusal(str(error))), 400)


def http_refused(_: Request, error: HTTPException) -> Response:
    """What is no route, or not asked so: the type of the error is the phrase of the status."""
    kind = HTTPStatus(error.status_code).phrase
    refusal = Refusal(error.detail, status=error.status_code, kind=kind)
    return json_response(error_object(refusal), error.status_code)


class WithoutBareErrors:
    """Turns a defect into vLLM's 500, with the connection left whole: the client's next request
    uses it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = False

        async def note_and_send(message: Message) -> None:
            nonlocal began
            began = True
            await send(message)

        try:
            await self._app(scope, receive, note_and_send)
        except Exception as error:
            if began:
                raise
            traceback.print_exc()
            refusal = Refusal(str(error), status=500, kind="InternalServerError")
            await json_response(error_object(refusal), 500)(scope, receive, send)
