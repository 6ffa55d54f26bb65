"""What an attacker tries from outside, and what must not be found anywhere afterwards."""

from __future__ import annotations

import http.client
import os
import socket
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import pytest
import requests
from aiohttp import web
from argon2 import PasswordHasher, extract_parameters

from podkit_gateway import runtime, server
from podkit_gateway.keys import make_key
from tests.waiting import eventually

from .conftest import config_for
from .process import PASSWORD, Gateway
from .stub import Stub, chunk

pytestmark = pytest.mark.slow

CANARY = "canary7f3a"


def test_ten_thousand_random_keys_open_nothing(
    gateway: Gateway, stubs: list[Stub], key: str
) -> None:
    def guess(_number: int) -> set[int]:
        connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=60)
        codes = set()
        for _ in range(1000):
            text = make_key("pk", "live", os.urandom).text
            headers = {"Authorization": f"Bearer {text}", "Content-Length": "2"}
            connection.request("POST", "/v1/chat/completions", b"{}", headers)
            answer = connection.getresponse()
            answer.read()
            codes.add(answer.status)
        connection.close()
        return codes

    with ThreadPoolExecutor(10) as pool:
        assert set().union(*pool.map(guess, range(10))) == {401}
    assert gateway.ask(key).status_code == 200


async def echo(stub: Stub, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    """What a model says may repeat what it was told."""
    if body.get("stream"):
        return await stub.stream(request, [chunk(CANARY), b"data: [DONE]\n\n"])
    return web.json_response({"choices": [{"message": {"content": CANARY}}]})


async def refuse_with_text(
    _stub: Stub, _request: web.Request, _body: dict[str, Any]
) -> web.StreamResponse:
    return web.json_response({"error": {"message": CANARY}}, status=400)


def have_backends_say_it(gateway: Gateway, stubs: list[Stub], key: str) -> None:
    for handle in (echo, refuse_with_text):
        for stub in stubs:
            stub.handle = handle
        for stream in (False, True):
            assert CANARY in gateway.ask(key, json={"stream": stream}).text
    for stub in stubs:
        stub.reset()


def test_a_canary_is_in_no_log_metric_database_or_error(stubs: list[Stub], tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, config_for(stubs), FIRST_KEY=f"{CANARY}-backend")
    gateway.prepare()
    gateway.start()
    key = gateway.make_key()
    texts = []
    question = {"messages": [{"role": "user", "content": CANARY}], "user": CANARY}
    headers = {"X-Canary": CANARY, "Cookie": f"a={CANARY}", "User-Agent": CANARY}
    for changes in ({}, {"stream": True}, {"model": CANARY}, {"stream": CANARY}):
        answer = gateway.ask(key, json={**question, **changes}, headers=headers)
        if not changes.get("model"):
            texts.append(answer.text + str(answer.headers))
    have_backends_say_it(gateway, stubs, key)
    upload = {"file": (f"{CANARY}.mp3", CANARY.encode())}
    texts.append(gateway.post(key, "/v1/audio/transcriptions", files=upload).text)
    texts.append(gateway.ask(f"{key}{CANARY}").text)
    requests.get(f"{gateway.url}/{CANARY}?{CANARY}=1", timeout=10)
    body = {"email": f"{CANARY}@example.com", "password": CANARY * 2}
    texts.append(requests.post(f"{gateway.url}/auth/sign-in", json=body, timeout=30).text)
    texts.append(requests.post(f"{gateway.url}/v1/translate", data=CANARY, timeout=30).text)
    eventually(lambda: gateway.metric("gateway_requests_total") >= 5)
    texts.append(gateway.metrics())
    gateway.stop()
    with sqlite3.connect(gateway.database) as database:
        assert database.execute("SELECT count(*) FROM usage").fetchone() == (6,)
    texts += [path.read_bytes().decode("latin-1") for path in tmp_path.rglob("*.*")]
    texts.append(gateway.log_path.read_text())
    for secret in (CANARY, key, PASSWORD):
        assert [text[:200] for text in texts if secret in text] == []


def test_a_head_or_body_that_never_ends_is_given_up(
    stubs: list[Stub], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = Gateway(tmp_path, config_for(stubs), FIRST_KEY="x", GATEWAY_BODY_SECONDS="0.5")
    gateway.prepare()
    gateway.start()
    key = gateway.make_key()
    slow = socket.create_connection(("127.0.0.1", gateway.port), timeout=60)
    head = f"Host: x\r\nAuthorization: Bearer {key}\r\nContent-Length: 100\r\n\r\n"
    slow.sendall(f"POST /v1/chat/completions HTTP/1.1\r\n{head}{{".encode())
    assert b"408" in slow.recv(65536)
    monkeypatch.setattr(server, "HEAD_SECONDS", 0.5)
    half = socket.create_connection(("127.0.0.1", gateway.port), timeout=60)
    half.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n")
    assert half.recv(65536) == b""
    gateway.stop()


def test_smuggled_requests_are_not_two(gateway: Gateway, stubs: list[Stub], key: str) -> None:
    inner = f"POST /v1/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n\r\n"
    raw = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Length: {len(inner)}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{inner}"
    )
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=20) as connection:
        connection.sendall(raw.encode())
        first = connection.recv(65536)
    assert first == b"" or b" 400 " in first.split(b"\r\n", 1)[0]
    assert [stub.seen for stub in stubs] == [[], [], []]


@pytest.mark.parametrize("path", ["/v1/models", "/v1/jobs/job_1", "/api/keys", "/api/usage"])
def test_nothing_is_told_without_a_key(gateway: Gateway, path: str) -> None:
    assert requests.get(gateway.url + path, timeout=10).status_code == 401


def test_a_key_works_only_from_its_networks(gateway: Gateway) -> None:
    key = gateway.make_key("--allow-cidr", "10.0.0.0/8")
    assert gateway.ask(key).status_code == 403
    assert gateway.ask(key, headers={"X-Forwarded-For": "10.0.0.1"}).status_code == 403
    assert gateway.ask(gateway.make_key("--allow-cidr", "127.0.0.0/8")).status_code == 200


def test_whoever_is_not_let_in_cannot_even_guess_a_password(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, GATEWAY_ALLOW_CIDRS="10.0.0.0/8")
    gateway.prepare()
    gateway.start()
    who = {"email": "awa@example.com", "password": PASSWORD}
    for path in ("auth/sign-in", "auth/token", "auth/sign-up", "sign-in", "v1/chat/completions"):
        for headers in ({}, {"X-Forwarded-For": "10.0.0.1"}):
            answer = requests.post(f"{gateway.url}/{path}", json=who, headers=headers, timeout=10)
            assert answer.status_code == 403, path
    for path, code in (("sign-in", 403), ("v1/models", 403), ("health", 200), ("hooks/x", 404)):
        assert requests.get(f"{gateway.url}/{path}", timeout=10).status_code == code, path
    gateway.stop()


def test_names_of_a_person_count_only_from_a_key_that_may_say_them(
    gateway: Gateway,
) -> None:
    for name, options in (("eve", ()), ("ali", ("--on-behalf",))):
        key = gateway.make_key(*options)
        gateway.ask(key, headers={"X-OpenWebUI-User-Email": f"{name}@example.com"})

    def persons() -> str:
        return gateway.quickly("usage", "--by", "person")

    eventually(lambda: "ali@example.com" in persons())
    assert "eve@example.com" not in persons()


class CountedHasher(PasswordHasher):
    """Notes how much work each check is: the parameters of its hash, and the password's length."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=8, parallelism=1)
        self.work: list[tuple[object, int]] = []

    def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:
        self.work.append((extract_parameters(str(hash)), len(password)))
        return super().verify(hash, password)


def test_a_sign_in_is_the_same_work_for_an_account_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hasher = CountedHasher()
    monkeypatch.setattr(runtime, "PasswordHasher", lambda: hasher)
    gateway = Gateway(tmp_path)
    gateway.prepare()
    gateway.start()
    for email in ("awa@example.com", "nobody@example.com"):
        body = {"email": email, "password": "wrong wrong wrong"}
        answer = requests.post(f"{gateway.url}/auth/sign-in", json=body, timeout=30)
        assert answer.status_code == 401
    gateway.stop()
    known, unknown = hasher.work
    assert known == unknown


def test_pages_forbid_scripts_frames_and_storing(gateway: Gateway) -> None:
    headers = requests.get(f"{gateway.url}/sign-in", timeout=10).headers
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cache-Control"] == "no-store"
