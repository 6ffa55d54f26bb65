"""What a client receives through the gateway is what the backend has sent, byte for byte."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
import requests
from aiohttp import web

from .process import Gateway
from .stub import USAGE, Stub, chunk, event, wants_usage

pytestmark = pytest.mark.slow

TEXTS = (
    "Bonjour à tous",
    "ɛ̃ẽ 日本語 🎉",
    'quote " and \\ and \n',
    '"usage":{"prompt_tokens":9}',
    "data: x",
)


def make_deltas(dice: random.Random) -> list[bytes]:
    """The chunks of one answer: text, tool calls or logprobs, as vLLM writes them."""
    pieces = []
    for _ in range(dice.randint(1, 12)):
        shape = dice.randrange(3)
        if shape == 0:
            pieces.append(chunk(dice.choice(TEXTS)))
        elif shape == 1:
            call = {"index": 0, "function": {"arguments": dice.choice(TEXTS)}}
            pieces.append(event({"choices": [{"index": 0, "delta": {"tool_calls": [call]}}]}))
        else:
            found = {"content": [{"token": dice.choice(TEXTS), "logprob": -0.1, "bytes": [1]}]}
            choice = {"index": 0, "delta": {"content": "a"}, "logprobs": found}
            pieces.append(event({"choices": [choice]}))
    return [*pieces, chunk(None, "stop")]


def cut_anywhere(data: bytes, dice: random.Random) -> list[bytes]:
    """The bytes in pieces that end in the middle of events and of characters."""
    pieces = []
    while data:
        size = dice.randint(1, 90)
        pieces.append(data[:size])
        data = data[size:]
    return pieces


async def play(stub: Stub, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    """The answer of the number that the request's `seed` gives."""
    dice = random.Random(body["seed"])
    kind = dice.randrange(4)
    if kind == 0:
        error = {"message": dice.choice(TEXTS), "type": "BadRequestError", "code": 400}
        text = json.dumps({"error": error}, ensure_ascii=dice.random() < 0.5)
        return web.Response(body=text.encode(), status=400, content_type="application/json")
    deltas = make_deltas(dice)
    if not body["stream"]:
        message = {"role": "assistant", "content": dice.choice(TEXTS)}
        answer = {"choices": [{"index": 0, "message": message}], "usage": USAGE, "n": len(deltas)}
        text = json.dumps(answer, ensure_ascii=False, indent=dice.choice([None, 1]))
        return web.Response(body=text.encode(), content_type="application/json")
    if wants_usage(body):
        deltas.append(event({"choices": [], "usage": USAGE}))
    data = b"".join(deltas) + b"data: [DONE]\n\n"
    return await stub.stream(request, cut_anywhere(data, dice))


def test_200_answers_are_the_same_directly_and_through_the_gateway(
    gateway: Gateway, stubs: list[Stub], key: str
) -> None:
    for stub in stubs:
        stub.handle = play
    direct = requests.Session()
    through = requests.Session()
    through.headers["Authorization"] = f"Bearer {key}"
    path = "chat/completions"
    for seed in range(200):
        body = {"model": "olmocr", "messages": [], "seed": seed, "stream": seed % 3 > 0}
        if seed % 3 == 2:
            body["stream_options"] = {"include_usage": True}
        wanted = direct.post(f"{stubs[0].url}/{path}", json=body, timeout=30)
        got = through.post(f"{gateway.url}/v1/{path}", json=body, timeout=30)
        assert (got.status_code, got.content) == (wanted.status_code, wanted.content), seed
        assert got.headers["Content-Type"] == wanted.headers["Content-Type"]
