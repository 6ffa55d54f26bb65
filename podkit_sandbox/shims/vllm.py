"""Stands in for `vllm serve`: real flags, middleware and shapes of answers (0.32.0), with OCR for a model.

It must never pass for a model: every completion has the fingerprint `podkit-sandbox`, and a question
without an image is answered by a sentence that says who answers.
"""

import argparse
import asyncio
import importlib
import json
import os
import re
import socket
import sys
import time
import uuid
import zlib
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from podkit_sandbox.shims import ocr

Json = dict[str, Any]
PIXELS_PER_TOKEN = 28 * 28  # Qwen2.5-VL's patches of 14, merged 2 x 2
NUMBERS = {"port": 8000, "max-model-len": 32768, "shutdown-timeout": 0}
STRINGS = """safetensors-load-strategy gpu-memory-utilization mm-processor-cache-gb dtype kv-cache-dtype
    max-num-seqs max-num-batched-tokens tool-call-parser disable-access-log-for-endpoints revision seed"""
SWITCHES = "enable-auto-tool-choice disable-fastapi-docs enforce-eager"


def parse(argv: list[str]) -> argparse.Namespace:
    """The command line of `vllm serve`; exits 2 on a flag that it does not know."""
    parser = argparse.ArgumentParser(prog="vllm")
    serve = parser.add_subparsers(required=True).add_parser("serve")
    serve.add_argument("model")
    serve.add_argument("--host", default="")
    serve.add_argument("--served-model-name", nargs="+")
    serve.add_argument("--middleware", action="append", default=[])
    for flag in ("limit-mm-per-prompt", "mm-processor-kwargs"):
        serve.add_argument(f"--{flag}", type=json.loads, default={})
    for flag, number in NUMBERS.items():
        serve.add_argument(f"--{flag}", type=int, default=number)
    for flag in STRINGS.split():
        serve.add_argument(f"--{flag}")
    for flag in SWITCHES.split():
        serve.add_argument(f"--{flag}", action="store_true")
    return parser.parse_args(argv)


class Server:
    """One served model: its routes and the counters of /metrics."""

    def __init__(self, args: argparse.Namespace):
        self.args, self.names = args, args.served_model_name or [args.model]
        self.active, self.totals = 0, Counter[str]()

    def app(self) -> Starlette:
        """The ASGI application, inside the middleware that the command line names."""
        routes = [
            Route("/health", lambda _: Response()),
            Route("/version", lambda _: JSONResponse({"version": "0.32.0"})),
            Route("/metrics", self.metrics),
            Route("/tokenize", self.tokenize, methods=["POST"]),
            Route("/v1/models", self.models),
            Route("/v1/chat/completions", self.chat, methods=["POST"]),
        ]
        app = Starlette(routes=routes, exception_handlers={HTTPException: refused})
        for name in self.args.middleware:
            module, _, attribute = name.rpartition(".")
            app.add_middleware(getattr(importlib.import_module(module), attribute))
        return app

    def models(self, _: Request) -> Response:
        card = {"object": "model", "created": int(time.time()), "owned_by": "vllm", "root": self.args.model}
        card |= {"parent": None, "max_model_len": self.args.max_model_len, "permission": []}
        return JSONResponse({"object": "list", "data": [{"id": name, **card} for name in self.names]})

    def metrics(self, _: Request) -> Response:
        """Prometheus text. One image is read at a time: of the active requests one runs, the others wait."""
        values = {"num_requests_running": min(self.active, 1), "num_requests_waiting": max(self.active - 1, 0)}
        values |= {f"{kind}_tokens_total": self.totals[kind] for kind in ("prompt", "generation")}
        label = f'engine="0",model_name="{self.names[0]}"'
        lines = [f"vllm:{name}{{{label}}} {float(value)}" for name, value in values.items()]
        for reason in ("stop", "length"):
            success = f'vllm:request_success_total{{{label},finished_reason="{reason}"}}'
            lines.append(f"{success} {float(self.totals[reason])}")
        return PlainTextResponse("\n".join(lines) + "\n")

    async def tokenize(self, request: Request) -> Response:
        body = await read_body(request)
        words = tokens(str(body.get("prompt") or text_of(body.get("messages", []))))
        ids = [zlib.crc32(word.encode()) % 150_000 for word in words]
        return JSONResponse({"count": len(ids), "max_model_len": self.args.max_model_len, "tokens": ids})

    async def chat(self, request: Request) -> Response:
        """A chat completion, whole or as events; its tokens are words and patches of images."""
        body = await read_body(request)
        self.check(body)
        self.active += 1
        try:
            words, prompt = await asyncio.to_thread(self.answer, body["messages"])
        finally:
            self.active -= 1
        limit = body.get("max_completion_tokens") or body.get("max_tokens") or len(words)
        reason, words = "stop" if len(words) <= limit else "length", words[:limit]
        self.totals.update({"prompt": prompt, "generation": len(words), reason: 1})
        usage = {"prompt_tokens": prompt, "completion_tokens": len(words), "total_tokens": prompt + len(words)}
        head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time())}
        head |= {"model": body.get("model") or self.names[0], "system_fingerprint": "podkit-sandbox"}
        if body.get("stream"):
            told = usage if (body.get("stream_options") or {}).get("include_usage") else None
            return StreamingResponse(events(head, words, reason, told), media_type="text/event-stream")
        message = {"role": "assistant", "content": "".join(words), "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": reason}
        return JSONResponse({**head, "object": "chat.completion", "choices": [choice], "usage": usage})

    def check(self, body: Json) -> None:
        """Raises HTTPException for what vLLM refuses before it begins, in its words."""
        model, limit = body.get("model"), self.args.limit_mm_per_prompt.get("image", 999)
        if not isinstance(body.get("messages"), list):
            raise HTTPException(400, "Field required: messages")
        if model and model not in self.names:
            raise HTTPException(404, f"The model `{model}` does not exist.")
        if len(parts(body["messages"], "image_url")) > limit:
            raise HTTPException(400, f"At most {limit} image(s) may be provided in one prompt.")
        auto = body.get("tools") and body.get("tool_choice", "auto") == "auto"
        if auto and not self.args.enable_auto_tool_choice:
            flags = "--enable-auto-tool-choice and --tool-call-parser"
            raise HTTPException(400, f'"auto" tool choice requires {flags} to be set')

    def answer(self, messages: list[Json]) -> tuple[list[str], int]:
        """The words of the last question's images, or who is here in place of a model; the prompt's tokens."""
        asked = [message for message in messages if message.get("role") == "user"][-1:]
        cost, pages = len(tokens(text_of(messages))), []
        for image in parts(asked, "image_url"):
            try:
                pixels = ocr.decode(image["url"])
            except (ValueError, TypeError, KeyError) as error:
                raise HTTPException(400, f"Failed to load image: {error}") from error
            cost += pixels.shape[0] * pixels.shape[1] // PIXELS_PER_TOKEN
            pages.append(ocr.read(pixels))
        if not pages:
            here = f"This is the podkit sandbox's stand-in for {self.names[0]}, not a model"
            return tokens(f"{here}; without an image it can only repeat your question: {text_of(asked)}"), cost
        page = "\n\n".join(pages)
        if any("olmocr" in name.lower() for name in self.names):
            return tokens(front_matter(page)), cost
        return tokens(page or "(The sandbox's stand-in finds no text here.)"), cost


def front_matter(page: str) -> str:
    """A page's text as the olmOCR toolkit parses it."""
    flags = "is_rotation_valid: True\nrotation_correction: 0\nis_table: False\nis_diagram: False"
    return f"---\nprimary_language: null\n{flags}\n---\n{page}"


async def events(head: Json, words: list[str], reason: str, usage: Json | None) -> AsyncIterator[str]:
    """A completion as server-sent events, a word each."""
    deltas: list[Json] = [{"role": "assistant", "content": ""}, *({"content": word} for word in words), {}]
    for n, delta in enumerate(deltas, 1):
        choice = {"index": 0, "delta": delta, "finish_reason": reason if n == len(deltas) else None}
        yield f"data: {json.dumps({**head, 'object': 'chat.completion.chunk', 'choices': [choice]})}\n\n"
    if usage:
        last = {**head, "object": "chat.completion.chunk", "choices": [], "usage": usage}
        yield f"data: {json.dumps(last)}\n\n"
    yield "data: [DONE]\n\n"


def tokens(text: str) -> list[str]:
    """The text cut into words, each with the white space before it."""
    return re.findall(r"\s*\S+", text)


def parts(messages: list[Json], kind: str) -> list[Any]:
    """The content parts of one kind (`text`, `image_url`) in all messages; plain content is one text."""
    contents = [message.get("content") or [] for message in messages]
    lists = [[{"type": "text", "text": some}] if isinstance(some, str) else some for some in contents]
    return [part.get(kind) for content in lists for part in content if part.get("type") == kind]


def text_of(messages: list[Json]) -> str:
    return "\n".join(map(str, parts(messages, "text")))


async def read_body(request: Request) -> Json:
    """The request's JSON object. Raises HTTPException(400)."""
    try:
        body = await request.json()
    except ValueError as error:
        raise HTTPException(400, f"JSON decode error: {error}") from error
    if not isinstance(body, dict):
        raise HTTPException(400, "Input should be a valid dictionary")
    return body


async def refused(_: Request, error: Exception) -> Response:
    """vLLM's error object for an HTTPException."""
    code, message = getattr(error, "status_code", 500), getattr(error, "detail", "")
    kind = {400: "BadRequestError", 404: "NotFoundError"}.get(code, message)
    told = {"message": message, "type": kind, "param": None, "code": code}
    return JSONResponse({"error": told}, status_code=code)


def main() -> None:
    """Serves until SIGTERM; as the real one it takes its port first, then loads, then says that it is up."""
    args = parse(sys.argv[1:])
    listener = socket.create_server((args.host, args.port))
    if not (Path(args.model) / "config.json").is_file():
        sys.exit(f"ValueError: Invalid repository ID or local directory specified: '{args.model}'.")
    prefix = f"(APIServer pid={os.getpid()}) INFO {time.strftime('%m-%d %H:%M:%S')} [podkit_sandbox]"
    for line in ("Loading weights took 0.00 seconds", "Graph capturing finished in 0 secs"):
        print(prefix, line, "(a stand-in: there are none)", flush=True)
    quiet = bool(args.disable_access_log_for_endpoints)
    config = uvicorn.Config(Server(args).app(), access_log=not quiet, timeout_graceful_shutdown=args.shutdown_timeout)
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
