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


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_is_taken_in_any_case(guard: RequestGuard, scheme: str) -> None:
    assert ask(guard, "POST", "/v1/chat/completions", f"{scheme} {KEY}") == 200


APP = b"https://app.example.org"
OTHER = b"https://other.example.org"
PREFLIGHT = [
    (b"access-control-request-method", b"POST"),
    (b"access-control-request-headers", b"authorization,x-stainless-os"),
]


def asked_by_a_page(
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    origin: bytes,
    *headers: tuple[bytes, bytes],
    setting: str = "https://app.example.org/, http://localhost:5173",
) -> tuple[int, dict[bytes, bytes]]:
    """Status and headers of an answer; behind the guard everybody would be allowed."""
    monkeypatch.setenv("VLLM_API_KEY", KEY)
    monkeypatch.setenv("PODKIT_CORS_ORIGINS", setting)
    sent: list[Any] = []

    async def vllm(scope: Any, receive: Any, send: Any) -> None:
        everyone = [(b"Access-Control-Allow-Origin", b"*"), (b"x-request-id", b"1")]
        await send({"type": "http.response.start", "status": 200, "headers": everyone})

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": "/v1/chat/completions",
        "headers": [(b"origin", origin), *headers],
    }
    asyncio.run(RequestGuard(vllm)(scope, None, send))
    return sent[0]["status"], dict(sent[0]["headers"])


@pytest.mark.parametrize("origin", [APP, b"http://localhost:5173"])
def test_a_preflight_of_a_named_origin_is_answered_without_a_key(
    monkeypatch: pytest.MonkeyPatch, origin: bytes
) -> None:
    status, headers = asked_by_a_page(monkeypatch, "OPTIONS", origin, *PREFLIGHT)
    assert status == 204
    assert headers[b"access-control-allow-origin"] == origin
    assert headers[b"access-control-allow-headers"] == b"authorization,x-stainless-os"
    assert b"POST" in headers[b"access-control-allow-methods"]
    assert headers[b"vary"] == b"Origin"


@pytest.mark.parametrize(
    ("origin", "setting"),
    [
        (OTHER, "https://app.example.org"),
        (APP, ""),
        (b"null", ""),
        (b"https://app.example.org.evil.net", "https://app.example.org"),
        (APP, "*"),
    ],
)
def test_a_preflight_of_any_other_origin_is_refused(
    monkeypatch: pytest.MonkeyPatch, origin: bytes, setting: str
) -> None:
    status, headers = asked_by_a_page(monkeypatch, "OPTIONS", origin, *PREFLIGHT, setting=setting)
    assert status == 401
    assert b"access-control-allow-origin" not in headers


def test_only_a_page_of_a_named_origin_may_read_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    key = (b"authorization", f"Bearer {KEY}".encode())
    status, headers = asked_by_a_page(monkeypatch, "POST", APP, key)
    assert (status, headers[b"access-control-allow-origin"]) == (200, APP)
    status, headers = asked_by_a_page(monkeypatch, "POST", OTHER, key)
    assert (status, headers) == (200, {b"x-request-id": b"1"})


def test_a_page_of_a_named_origin_can_read_why_it_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    status, headers = asked_by_a_page(monkeypatch, "POST", APP)
    assert (status, headers[b"access-control-allow-origin"]) == (401, APP)


def test_options_that_is_no_preflight_wants_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    assert asked_by_a_page(monkeypatch, "OPTIONS", APP)[0] == 401


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
