"""The guard before a small app that would answer everything."""

import asyncio
from typing import Any

import pytest
from request_guard import RequestGuard

KEY = "Sk-Test"


async def everything(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"let in"})
    elif scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
    else:
        await send({"type": "lifespan.startup.complete"})


@pytest.fixture
def guard(monkeypatch: pytest.MonkeyPatch) -> RequestGuard:
    monkeypatch.setenv("VLLM_API_KEY", KEY)
    return RequestGuard(everything)


def ask(guard: RequestGuard, method: str, path: str, *keys: str, kind: str = "http") -> Any:
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": f"{kind}.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"authorization", key.encode("latin-1")) for key in keys]
    asyncio.run(
        guard({"type": kind, "method": method, "path": path, "headers": headers}, receive, send)
    )
    return sent[0].get("status", sent[0]["type"])


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE"])
@pytest.mark.parametrize(
    "path", ["/", "/v1/models", "/metrics", "/invocations", "/tokenize", "/health/", "/Health"]
)
def test_everything_wants_the_key(guard: RequestGuard, method: str, path: str) -> None:
    assert ask(guard, method, path) == 401
    assert ask(guard, method, path, f"Bearer {KEY}") == 200


@pytest.mark.parametrize("method", ["HEAD", "POST", "OPTIONS"])
def test_only_get_health_is_open(guard: RequestGuard, method: str) -> None:
    assert ask(guard, "GET", "/health") == 200
    assert ask(guard, method, "/health") == 401


@pytest.mark.parametrize(
    "keys",
    [
        ["Bearer nope"],
        ["Bearer sk-test"],
        ["Bearer SK-TEST"],
        ["bearer Sk-Test"],
        ["Bearer Sk-Testx"],
        ["Bearer Sk-Test "],
        ["Bearer  Sk-Test"],
        ["Bearer Sk-Tes"],
        ["Bearer "],
        [""],
        ["Sk-Test"],
        ["Basic Sk-Test"],
        ["Bearer Sk-T\xe9st"],
        ["Bearer Sk-Test", "Bearer Sk-Test"],
        ["Bearer Sk-Test", "Bearer nope"],
    ],
)
def test_nothing_but_the_exact_key_opens(guard: RequestGuard, keys: list[str]) -> None:
    assert ask(guard, "POST", "/v1/chat/completions", *keys) == 401


def test_websockets_want_the_key_too(guard: RequestGuard) -> None:
    assert ask(guard, "GET", "/health", kind="websocket") == "websocket.close"
    assert ask(guard, "GET", "/v1/realtime", "Bearer nope", kind="websocket") == "websocket.close"
    assert (
        ask(guard, "GET", "/v1/realtime", f"Bearer {KEY}", kind="websocket") == "websocket.accept"
    )


def test_the_lifespan_passes(guard: RequestGuard) -> None:
    assert ask(guard, "", "", kind="lifespan") == "lifespan.startup.complete"


def test_without_a_key_it_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_API_KEY", "")
    with pytest.raises(RuntimeError, match="VLLM_API_KEY is empty"):
        RequestGuard(everything)
