"""Stands in for `vllm serve`: real flags, middleware and shapes of answers (0.32.0), with OCR for a model.

It must never pass for a model: every completion has the fingerprint `podkit-sandbox`, and a question without an
image is answered by who is here. PODKIT_SANDBOX_VLLM_ERROR makes it fail; `died` a second after a completion.
"""

import argparse
import asyncio
import importlib
import json
import os
import re
import sys
import time
from collections import Counter
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from podkit_sandbox.shims import ocr

Json = dict[str, Any]
ERROR = os.environ.get("PODKIT_SANDBOX_VLLM_ERROR")
ERRORS = {
    "oom": "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.",
    "port": "OSError: [Errno 98] Address already in use",
    "died": "EngineDeadError: EngineCore encountered an issue. See stack trace (above) for the root cause.",
}
FLAGS: list[tuple[str, Json]] = [
    ("served-model-name", {"nargs": "+"}),
    ("middleware", {"action": "append", "default": []}),
    ("port max-model-len", {"type": int}),
    ("limit-mm-per-prompt mm-processor-kwargs", {"type": json.loads, "default": {}}),
    ("allowed-media-domains sse-keep-alive-interval", {}),
    ("enable-auto-tool-choice disable-fastapi-docs enforce-eager", {"action": "store_true"}),
    (
        "host gpu-memory-utilization safetensors-load-strategy mm-processor-cache-gb dtype kv-cache-dtype",
        {},
    ),
    (
        "tool-call-parser disable-access-log-for-endpoints shutdown-timeout max-num-seqs max-num-batched-tokens",
        {},
    ),
]
FRONT_MATTER = "---\nprimary_language: null\nis_rotation_valid: True\nrotation_correction: 0\nis_table: False\n"
FRONT_MATTER += "is_diagram: False\n---\n"

parser = argparse.ArgumentParser(prog="vllm")  # exits 2 on an unknown flag
serve = parser.add_subparsers(required=True).add_parser("serve")
serve.add_argument("model")
for flags, options in FLAGS:
    for flag in flags.split():
        serve.add_argument(f"--{flag}", **options)
ARGS = parser.parse_args()
NAMES = ARGS.served_model_name
counts = Counter(num_requests_running=0, num_requests_waiting=0, request_success_total=0)
counts.update(prompt_tokens_total=0, generation_tokens_total=0)
words = re.compile(r"\s*\S+").findall  # each with the white space before it


def parts(messages: list[Json], kind: str) -> list[Any]:
    """The content of one kind (`text`, `image_url`) in all messages; plain content is text."""
    contents = [message.get("content") or [] for message in messages]
    lists = [[{"text": content}] if isinstance(content, str) else content for content in contents]
    return [part[kind] for content in lists for part in content if kind in part]


def answer(question: Json) -> str:
    """The words of the question's images, or who is here in place of a model."""
    if pages := [ocr.read(image["url"]) for image in parts([question], "image_url")]:
        return (FRONT_MATTER if "olmocr" in NAMES else "") + "\n\n".join(pages)
    here = f"This is the podkit sandbox's stand-in for {NAMES[0]}, not a model"
    return f"{here}; without an image it can only repeat your question: {' '.join(parts([question], 'text'))}"


def check(body: Json) -> None:
    """Raises HTTPException for what vLLM refuses before it begins, in its words."""
    model, limit = body.get("model", NAMES[0]), ARGS.limit_mm_per_prompt.get("image", 999)
    if model not in NAMES:
        raise HTTPException(404, f"The model `{model}` does not exist.")
    if len(parts(body["messages"], "image_url")) > limit:
        raise HTTPException(400, f"At most {limit} image(s) may be provided in one prompt.")
    if (
        body.get("tools")
        and body.get("tool_choice", "auto") == "auto"
        and not ARGS.enable_auto_tool_choice
    ):
        flags = "--enable-auto-tool-choice and --tool-call-parser"
        raise HTTPException(400, f'"auto" tool choice requires {flags} to be set')


async def chat(request: Request) -> Response:
    """A chat completion, whole or as events; its tokens are words."""
    body = await request.json()
    check(body)
    counts["num_requests_running"] += 1
    try:
        said = words(await asyncio.to_thread(answer, body["messages"][-1]))
    finally:
        counts["num_requests_running"] -= 1
    prompt = len(words(" ".join(parts(body["messages"], "text"))))
    counts.update(
        request_success_total=1, prompt_tokens_total=prompt, generation_tokens_total=len(said)
    )
    usage = {
        "prompt_tokens": prompt,
        "completion_tokens": len(said),
        "total_tokens": prompt + len(said),
    }
    head: Json = {
        "id": f"chatcmpl-{time.time_ns()}",
        "created": int(time.time()),
        "model": NAMES[0],
    }
    head["system_fingerprint"] = "podkit-sandbox"
    if ERROR == "died":
        asyncio.get_running_loop().call_later(1, sys.exit, ERRORS[ERROR])
    if body.get("stream"):
        told = usage if (body.get("stream_options") or {}).get("include_usage") else None
        return StreamingResponse(
            map("data: {}\n\n".format, events(head, said, told)), media_type="text/event-stream"
        )
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": "".join(said)},
        "finish_reason": "stop",
    }
    return JSONResponse({**head, "object": "chat.completion", "choices": [choice], "usage": usage})


def events(head: Json, said: list[str], usage: Json | None) -> list[str]:
    """The data of a stream's events, one a word."""
    deltas = [{"role": "assistant"}, *({"content": word} for word in said), {}]
    choices = [
        [{"index": 0, "delta": delta, "finish_reason": None if delta else "stop"}]
        for delta in deltas
    ]
    chunks = [{"choices": choice} for choice in choices] + (
        [{"choices": [], "usage": usage}] if usage else []
    )
    return [
        *(json.dumps({**head, "object": "chat.completion.chunk", **chunk}) for chunk in chunks),
        "[DONE]",
    ]


def models(_: Request) -> Response:
    card = {
        "object": "model",
        "created": 0,
        "owned_by": "vllm",
        "max_model_len": ARGS.max_model_len,
    }
    return JSONResponse({"object": "list", "data": [{"id": name, **card} for name in NAMES]})


def metrics(_: Request) -> Response:
    label = f'engine="0",model_name="{NAMES[0]}"'
    lines = [f"vllm:{name}{{{label}}} {count}.0\n" for name, count in counts.items()]
    return Response("".join(lines), media_type="text/plain")


async def tokenize(request: Request) -> Response:
    count = len(words((await request.json())["prompt"]))
    return JSONResponse(
        {"count": count, "max_model_len": ARGS.max_model_len, "tokens": list(range(count))}
    )


async def refused(_: Request, error: Exception) -> Response:
    """vLLM's error object; what it cannot read is a 400."""
    code, message = getattr(error, "status_code", 400), getattr(error, "detail", str(error))
    kind = "NotFoundError" if code == 404 else "BadRequestError"
    return JSONResponse(
        {"error": {"message": message, "type": kind, "param": None, "code": code}}, code
    )


if ERROR in ("oom", "port"):
    sys.exit(ERRORS[ERROR])
routes = [
    Route("/health", lambda _: Response()),
    Route("/version", lambda _: JSONResponse({"version": "0.32.0"})),
    Route("/metrics", metrics),
    Route("/tokenize", tokenize, methods=["POST"]),
    Route("/v1/models", models),
    Route("/v1/chat/completions", chat, methods=["POST"]),
]
app = Starlette(
    routes=routes,
    exception_handlers=dict.fromkeys((HTTPException, ValueError, LookupError), refused),
)
for name in ARGS.middleware:
    module, _, attribute = name.rpartition(".")
    app.add_middleware(getattr(importlib.import_module(module), attribute))
uvicorn.run(app, port=ARGS.port, access_log=False)  # on loopback, whatever --host says
