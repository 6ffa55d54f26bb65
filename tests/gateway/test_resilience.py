"""What happens when backends fail, change and sleep."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests
from aiohttp import web

from podkit_gateway import backends, upstream
from podkit_gateway.backends import HEALTH_EVERY, HEALTH_TIMEOUT
from tests.waiting import eventually

from .process import Gateway, connect
from .stub import Stub, chunk, event, speak

pytestmark = pytest.mark.slow

ONE = """
[models.olmocr]
backends = ["pod"]
fallback = ["small"]
{model}

[models.small]
backends = ["other"]

[backends.pod]
url = "{url}"
{backend}

[backends.other]
url = "{other}"
"""


@pytest.fixture
def own(tmp_path: Path, stubs: list[Stub]) -> Iterator[Gateway]:
    """A gateway that a test may ruin."""
    for stub in stubs:
        stub.reset()
    gateway = Gateway(tmp_path)
    gateway.prepare()
    yield gateway
    gateway.stop()


def write(gateway: Gateway, stubs: list[Stub], model: str = "", backend: str = "") -> None:
    text = ONE.format(url=stubs[0].url, other=stubs[2].url, model=model, backend=backend)
    gateway.config.write_text(text, encoding="utf-8")


async def refuse(stub: Stub, _request: web.Request, _body: dict[str, Any]) -> web.Response:
    return web.Response(status=503)


async def page(stub: Stub, _request: web.Request, _body: dict[str, Any]) -> web.Response:
    return web.Response(status=502, text="<html>cloudflare canary</html>", content_type="text/html")


async def own_error(stub: Stub, _request: web.Request, _body: dict[str, Any]) -> web.Response:
    return web.json_response({"error": {"message": "too many tokens", "code": 400}}, status=400)


async def cut(stub: Stub, request: web.Request, _body: dict[str, Any]) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    await response.write(chunk("half"))
    request.transport.abort()  # type: ignore[union-attr]
    return response


def test_an_empty_503_is_answered_by_the_other_backend(
    gateway: Gateway, stubs: list[Stub], key: str
) -> None:
    stubs[0].handle = refuse
    answers = [gateway.ask(key) for _ in range(4)]
    assert [answer.headers["x-podkit-backend"] for answer in answers] == ["second"] * 4


def test_a_killed_backend_is_known_to_be_down_and_the_other_answers(
    own: Gateway, stubs: list[Stub], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert HEALTH_EVERY + HEALTH_TIMEOUT <= 15
    monkeypatch.setattr(backends, "HEALTH_EVERY", 0.2)
    doomed = Stub()
    own.config.write_text(
        '[models.olmocr]\nbackends = ["doomed", "on"]\n'
        f'[backends.doomed]\nurl = "{doomed.url}"\n[backends.on]\nurl = "{stubs[0].url}"\n'
    )
    own.start()
    key = own.make_key()
    eventually(lambda: own.metric("gateway_backend_up") == 2)
    doomed.stop()
    eventually(lambda: own.metric('gateway_backend_up{backend="doomed"}') == 0)
    assert own.ask(key).headers["x-podkit-backend"] == "on"


@pytest.fixture
def deaf() -> Iterator[str]:
    """A host that answers no request for a connection, as one that is off: its queue is full."""
    with socket.socket() as listening, ExitStack() as waiting:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for _ in range(4):
            one = waiting.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(listening.getsockname())
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/v1"


def test_a_backend_that_cannot_be_reached_is_replaced_by_the_other(
    own: Gateway, stubs: list[Stub], deaf: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upstream, "CONNECT_SECONDS", 2.0)
    own.config.write_text(
        '[models.olmocr]\nbackends = ["off", "on"]\n'
        f'[backends.off]\nurl = "{deaf}"\n[backends.on]\nurl = "{stubs[0].url}"\n'
    )
    own.start()
    key = own.make_key()
    answers = [own.ask(key) for _ in range(2)]
    assert [answer.headers["x-podkit-backend"] for answer in answers] == ["on"] * 2


def test_a_backends_html_never_reaches_a_client(
    gateway: Gateway, stubs: list[Stub], key: str
) -> None:
    for stub in stubs[:2]:
        stub.handle = page
    answer = gateway.ask(key)
    assert answer.status_code == 502
    assert answer.json()["error"]["type"] == "api_error"
    assert "canary" not in answer.text
    assert "127.0.0.1" not in answer.text + str(answer.headers)


def test_a_backends_own_error_passes_and_is_no_failure_of_it(
    gateway: Gateway, stubs: list[Stub], key: str
) -> None:
    for stub in stubs[:2]:
        stub.handle = own_error
    for _ in range(12):
        answer = gateway.ask(key)
        assert answer.status_code == 400
        assert answer.json() == {"error": {"message": "too many tokens", "code": 400}}


def test_a_stream_that_breaks_ends_with_an_error_and_without_done(
    gateway: Gateway, stubs: list[Stub], key: str
) -> None:
    for stub in stubs[:2]:
        stub.handle = cut
    answer = gateway.ask(key, json={"stream": True})
    lines = [line for line in answer.text.split("\n\n") if line]
    assert json.loads(lines[-1].removeprefix("data: "))["error"]["type"] == "api_error"
    assert "[DONE]" not in answer.text


def test_five_failures_open_the_breaker_and_a_fallback_is_labelled(
    own: Gateway, stubs: list[Stub]
) -> None:
    write(own, stubs)
    own.start()
    key = own.make_key()
    faithful = own.make_key("--no-fallback")
    stubs[0].handle = page
    for _ in range(5):
        assert own.ask(key).status_code == 502
    before = len(stubs[0].seen)
    answer = own.ask(key)
    assert answer.status_code == 200
    assert answer.headers["x-podkit-fallback"] == "small; reason=open-breaker"
    assert own.ask(key, headers={"x-podkit-no-fallback": "1"}).status_code == 503
    refused = own.ask(faithful)
    assert refused.status_code == 503
    assert int(refused.headers["Retry-After"]) > 0
    assert len(stubs[0].seen) == before
    eventually(lambda: own.metric('gateway_breaker_state{backend="pod"}') == 2)


def test_the_file_is_read_again_when_it_changes_and_a_wrong_one_changes_nothing(
    own: Gateway, stubs: list[Stub]
) -> None:
    own.start()
    key = own.make_key()
    assert own.ask(key).status_code == 404
    write(own, stubs)
    eventually(lambda: own.ask(key).status_code == 200)
    own.config.write_text("[models", encoding="utf-8")
    eventually(lambda: any(line.get("taken") is False for line in own.log()))
    assert own.ask(key).status_code == 200
    own.config.write_text("", encoding="utf-8")
    eventually(lambda: own.ask(key).status_code == 404)


def test_an_external_backend_needs_the_keys_leave(own: Gateway, stubs: list[Stub]) -> None:
    write(own, stubs, backend="external = true")
    own.start()
    assert own.ask(own.make_key("--no-fallback")).status_code == 503
    assert own.ask(own.make_key("--allow-external")).status_code == 200


WAITING = 'gateway_waiting_requests{model="olmocr"}'


def test_requests_are_held_while_their_backend_wakes_up(own: Gateway, stubs: list[Stub]) -> None:
    stubs[0].healthy = False
    stubs[0].handle = refuse
    write(own, stubs, model="hold_seconds = 30", backend="asleep = true")
    own.start()
    key = own.make_key()
    eventually(lambda: own.metric("gateway_backend_up") == 1)
    assert requests.get(f"{own.url}/ready", timeout=10).status_code == 200
    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(own.ask, key) for _ in range(3)]
        eventually(lambda: own.metric(WAITING) == 3)
        stubs[0].handle = speak
        stubs[0].healthy = True
        answers = [answer.result(30) for answer in waiting]
    assert [answer.headers["x-podkit-backend"] for answer in answers] == ["pod"] * 3
    eventually(lambda: own.metric(WAITING) == 0)


async def know_no_model(stub: Stub, _request: web.Request, _body: dict[str, Any]) -> web.Response:
    """A router whose engines are all scaled to zero (production-stack issue 1003)."""
    error = {"message": "Model olmocr not found", "type": "NotFoundError"}
    return web.json_response({"error": error}, status=404)


@pytest.mark.parametrize("failure", [know_no_model, refuse, page])
def test_a_request_is_held_by_a_backend_that_has_just_fallen_asleep(
    own: Gateway, stubs: list[Stub], failure: Any
) -> None:
    write(own, stubs, model="hold_seconds = 30", backend="asleep = true")
    own.start()
    key = own.make_key()
    eventually(lambda: own.metric('gateway_backend_up{backend="pod"}') == 1)
    stubs[0].handle = failure
    stubs[0].models = ()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(own.ask, key)
        eventually(lambda: own.metric(WAITING) == 1)
        stubs[0].handle = speak
        stubs[0].models = ("olmocr",)
        assert waiting.result(30).headers["x-podkit-backend"] == "pod"
    assert own.metric('gateway_breaker_state{backend="pod"}') == 0


def test_one_that_does_not_wake_in_time_is_replaced_by_the_fallback_or_refused(
    own: Gateway, stubs: list[Stub]
) -> None:
    stubs[0].healthy = False
    stubs[0].handle = refuse
    write(own, stubs, model="hold_seconds = 0.2", backend="asleep = true")
    own.start()
    eventually(lambda: own.metric("gateway_backend_up") == 1)
    assert own.ask(own.make_key()).headers["x-podkit-backend"] == "other"
    refused = own.ask(own.make_key("--no-fallback"))
    assert refused.status_code == 503
    assert int(refused.headers["Retry-After"]) > 0


def test_a_client_that_leaves_while_it_is_held_is_counted_no_more(
    own: Gateway, stubs: list[Stub]
) -> None:
    stubs[0].healthy = False
    stubs[0].handle = refuse
    write(own, stubs, model="hold_seconds = 300", backend="asleep = true")
    own.start()
    key = own.make_key()
    eventually(lambda: own.metric("gateway_backend_up") == 1)
    connection = connect(own, key, stream=True)
    eventually(lambda: own.metric(WAITING) == 1)
    connection.close()
    eventually(lambda: own.metric(WAITING) == 0)


async def call_tool(stub: Stub, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    if not body.get("stream"):
        raise AssertionError("a backend behind such a proxy is asked for a stream")
    name = {"name": "f", "arguments": ""}
    first = {"index": 0, "id": "call_1", "type": "function", "function": name}
    deltas = [
        {"role": "assistant", "content": ""},
        {"tool_calls": [first]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"a":'}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}]},
    ]
    pieces = []
    for delta in deltas:
        pieces.append(event({"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}))
    pieces.append(event({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}))
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    pieces += [event({"choices": [], "usage": usage}), b"data: [DONE]\n\n"]
    return await stub.stream(request, pieces)


@pytest.mark.usefixtures("within_a_minute")
def test_an_answer_is_folded_from_a_stream_where_a_proxy_cuts_silence(
    own: Gateway, stubs: list[Stub]
) -> None:
    write(own, stubs, backend="fold = true")
    own.start()
    key = own.make_key("--tokens-per-minute", "1000", "--no-fallback")
    answer = own.ask(key).json()
    assert answer["object"] == "chat.completion"
    assert answer["choices"][0]["message"] == {"role": "assistant", "content": "Bonjour à tous"}
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert own.ask(key).headers["x-ratelimit-remaining-tokens"] == "990"
    stubs[0].handle = call_tool
    choice = own.ask(key).json()["choices"][0]
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
    assert choice["message"]["tool_calls"] == [call]
    stubs[0].handle = cut
    assert own.ask(key).status_code == 502
