"""Inference through a real gateway: what arrives at the backend, and what comes back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests
from aiohttp import web
from openai import OpenAI
from openai.types.chat import ChatCompletionMessageParam

from tests.waiting import eventually

from .process import Gateway
from .stub import Stub, all_seen

pytestmark = pytest.mark.slow


def test_a_question_is_answered_and_says_by_whom(gateway: Gateway, key: str) -> None:
    answer = gateway.ask(key)
    assert answer.status_code == 200
    assert answer.json()["choices"][0]["message"]["content"] == "Bonjour à tous"
    assert answer.headers["x-podkit-backend"] in {"first", "second"}
    assert answer.headers["x-podkit-model"] == "olmocr"


def test_the_openai_client_lists_asks_and_streams(gateway: Gateway, key: str) -> None:
    client = OpenAI(base_url=f"{gateway.url}/v1", api_key=key)
    assert {model.id for model in client.models.list()} == {"olmocr", "small"}
    question: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Bonjour"}]
    stream = client.chat.completions.create(model="olmocr", messages=question, stream=True)
    words = [chunk.choices[0].delta.content or "" for chunk in stream]
    assert "".join(words) == "Bonjour à tous"
    assert client.embeddings.create(model="olmocr", input="a").data[0].embedding == [0.1, 0.2]


def test_a_stream_is_what_the_backend_sends_without_the_usage_that_was_not_asked_for(
    gateway: Gateway, stubs: list[Stub], key: str
) -> None:
    body = {"model": "olmocr", "messages": [], "stream": True}
    direct = requests.post(f"{stubs[0].url}/chat/completions", json=body, timeout=10)
    through = gateway.ask(key, json=body)
    assert through.content == direct.content
    body["stream_options"] = {"include_usage": True}
    direct = requests.post(f"{stubs[0].url}/chat/completions", json=body, timeout=10)
    assert gateway.ask(key, json=body).content == direct.content


def test_a_backend_gets_its_own_key_and_nothing_that_tells_of_the_client(
    gateway: Gateway, stubs: list[Stub], key: str
) -> None:
    headers = {
        "Cookie": "session=abc",
        "X-Api-Key": "other",
        "X-Podkit-Secret": "1",
        "X-OpenWebUI-User-Email": "awa@example.com",
        "X-Forwarded-For": "1.2.3.4",
        "X-Request-Id": "mine-1",
    }
    answer = gateway.ask(key, headers=headers)
    seen = all_seen(stubs)[-1]
    names = set(seen.headers)
    assert seen.headers["authorization"] == "Bearer backends-own-key"
    assert seen.headers["x-request-id"] == answer.headers["X-Request-Id"] == "mine-1"
    assert not [name for name in names if "cookie" in name or "podkit" in name or "webui" in name]
    assert not {"x-api-key", "x-forwarded-for"} & names


async def tell_of_itself(
    stub: Stub, request: web.Request, body: dict[str, Any]
) -> web.StreamResponse:
    """As the provider's proxy, which adds headers of its own."""
    told = {"Server": "cloudflare", "X-Runpod-Pod": "abc123", "Set-Cookie": "__cf=abc123"}
    if body.get("stream"):
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", **told})
        await response.prepare(request)
        await response.write(b"data: [DONE]\n\n")
        return response
    return web.json_response({"choices": []}, headers=told)


@pytest.mark.parametrize("stream", [False, True])
def test_no_header_of_the_provider_reaches_a_client(
    gateway: Gateway, stubs: list[Stub], key: str, stream: bool
) -> None:
    for stub in stubs:
        stub.handle = tell_of_itself
    shown = str(gateway.ask(key, json={"stream": stream}).headers).lower()
    assert [word for word in ("cloudflare", "runpod", "abc123", "cookie") if word in shown] == []


def test_the_usage_of_every_answer_is_written_down(gateway: Gateway) -> None:
    key = gateway.make_key("--label", "counted")
    key_id = key.split("_")[2]
    gateway.ask(key)
    gateway.ask(key, json={"stream": True})
    gateway.ask(key, "/v1/embeddings", json={"input": "a"})

    def read() -> dict[str, object] | None:
        shown = requests.get(
            f"{gateway.url}/api/usage?by=key_id",
            headers={"Authorization": f"Bearer {reader}"},
            timeout=10,
        ).json()
        found = [row for row in shown["usage"] if row["group"] == key_id]
        return found[0] if found and found[0]["requests"] == 3 else None

    reader = gateway.make_key("--scope", "usage:read")
    row = eventually(read)
    assert (row["prompt_tokens"], row["completion_tokens"], row["failed"]) == (18, 6, 0)
    assert round(row["price"], 9) == round((18 * 1.0 + 6 * 2.0) / 1e6, 9)


def test_without_a_right_key_nothing_is_asked(
    gateway: Gateway, stubs: list[Stub], key: str
) -> None:
    mistyped = f"{key[:-6]}{'B' if key[-6] == 'A' else 'A'}{key[-5:]}"
    for shown in ("", "sk-1", mistyped, f"{key}x"):
        answer = requests.post(
            f"{gateway.url}/v1/chat/completions",
            headers={"Authorization": f"Bearer {shown}"} if shown else {},
            json={"model": "olmocr"},
            timeout=10,
        )
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert answer.json()["error"]["type"] == "authentication_error"
    assert [stub.seen for stub in stubs] == [[], [], []]


def test_a_model_that_a_key_may_not_use_looks_like_one_that_does_not_exist(
    gateway: Gateway,
) -> None:
    key = gateway.make_key("--model", "small")
    answers = [gateway.ask(key), gateway.ask(key, json={"model": "no-such"})]
    assert [answer.status_code for answer in answers] == [404, 404]
    texts = [answer.text.replace("no-such", "olmocr") for answer in answers]
    assert texts[0] == texts[1]
    listed = requests.get(
        f"{gateway.url}/v1/models", headers={"Authorization": f"Bearer {key}"}, timeout=10
    )
    assert [model["id"] for model in listed.json()["data"]] == ["small"]


def test_a_body_over_the_limit_is_refused_also_without_a_length(gateway: Gateway, key: str) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(40):
            yield b" " * 2**20

    answer = requests.post(
        f"{gateway.url}/v1/chat/completions",
        headers={"Authorization": f"Bearer {key}"},
        data=pieces(),
        timeout=30,
    )
    assert answer.status_code == 413


def test_what_is_no_request_is_refused_with_openais_envelope(gateway: Gateway, key: str) -> None:
    bodies = (
        b"",
        b"[]",
        b"{",
        b"\xff",
        b'{"model":5}',
        b'{"model":"olmocr","stream":"yes"}',
        b'{"model":"olmocr","model":"small"}',
        b'{"model":"olmocr","max_tokens":"many"}',
        b'{"model":"olmocr","a":' + b"[" * 100_000,
    )
    for body in bodies:
        answer = requests.post(
            f"{gateway.url}/v1/chat/completions",
            headers={"Authorization": f"Bearer {key}"},
            data=body,
            timeout=10,
        )
        assert answer.status_code == 400, body[:40]
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


def test_a_header_that_decides_about_trust_may_be_there_once(gateway: Gateway, key: str) -> None:
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=10)
    connection.putrequest("POST", "/v1/chat/completions")
    connection.putheader("Authorization", f"Bearer {key}")
    connection.putheader("Authorization", "Bearer other")
    connection.putheader("Content-Length", "2")
    connection.endheaders(b"{}")
    assert connection.getresponse().status == 400
    connection.close()
