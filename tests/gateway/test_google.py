"""Signing in with an OpenID provider: the whole flow, and everything that must not be believed."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from joserfc import jwk, jwt

from tests.ports import free_port
from tests.waiting import eventually

from .oidc import CLIENT, Provider
from .process import PASSWORD, ROOT, Gateway, answers

HERE = Path(__file__).parent
NODE = ROOT / ".ci/node"
pytestmark = pytest.mark.slow

SETTINGS = {
    "GATEWAY_GOOGLE_CLIENT_ID": CLIENT,
    "GATEWAY_GOOGLE_CLIENT_SECRET": "client-secret",
    "GATEWAY_SIGN_UP": "open",
}


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    provider = Provider()
    yield provider
    provider.server.shutdown()


@pytest.fixture(scope="module")
def site(provider: Provider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("google")
    gateway = Gateway(folder, GATEWAY_GOOGLE_ISSUER=provider.url, **SETTINGS)
    gateway.prepare()
    gateway.start()
    yield gateway
    gateway.stop()


@pytest.fixture(autouse=True)
def honest(provider: Provider) -> None:
    provider.reset()


def visit(site: Gateway) -> tuple[requests.Session, requests.Response]:
    browser = requests.Session()
    browser.headers["Origin"] = site.url
    return browser, browser.get(f"{site.url}/auth/google", timeout=30)


def is_signed_in(site: Gateway, browser: requests.Session) -> bool:
    return browser.get(f"{site.url}/api/keys", timeout=10).status_code == 200


def test_a_person_signs_in_with_google_and_is_known_again_by_sub(
    site: Gateway, provider: Provider
) -> None:
    browser, _ = visit(site)
    assert is_signed_in(site, browser)
    assert provider.challenges[-1] == "S256"
    made = browser.post(f"{site.url}/api/keys", json={"label": "mine"}, timeout=10)
    provider.claims["email"] = "renamed@example.com"
    again, _ = visit(site)
    assert made.json()["id"] in again.get(f"{site.url}/api/keys", timeout=10).text


def forge_none(claims: dict[str, Any]) -> str:
    parts = [json.dumps(part).encode() for part in ({"alg": "none"}, claims)]
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts) + "."


def forge_key(claims: dict[str, Any]) -> str:
    other = jwk.RSAKey.generate_key(2048, {"kid": "one"})
    return jwt.encode({"alg": "RS256", "kid": "one"}, claims, other)


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "another-client"},
        {"iss": "https://accounts.example"},
        {"nonce": "another"},
        {"nonce": None},
        {"exp": 1_700_000_000},
        {"exp": None},
        {"sub": None},
        {"email": None},
    ],
    ids=str,
)
def test_a_token_with_wrong_claims_signs_nobody_in(
    site: Gateway, provider: Provider, changes: dict[str, Any]
) -> None:
    def sign(claims: dict[str, Any]) -> str:
        changed = {**claims, **changes}
        return provider.sign_well({name: v for name, v in changed.items() if v is not None})

    provider.sign = sign
    browser, answer = visit(site)
    assert answer.status_code == 401
    assert not is_signed_in(site, browser)


@pytest.mark.parametrize("forge", [forge_none, forge_key])
def test_a_forged_token_signs_nobody_in(site: Gateway, provider: Provider, forge: Any) -> None:
    provider.sign = forge
    browser, answer = visit(site)
    assert answer.status_code == 401
    assert not is_signed_in(site, browser)


def test_a_wrong_state_and_a_replayed_code_sign_nobody_in(
    site: Gateway, provider: Provider
) -> None:
    callback = f"{site.url}/auth/google/callback"
    assert requests.get(f"{callback}?code=c&state=s", timeout=10).status_code == 401
    browser, answer = visit(site)
    used = next(step.url for step in answer.history if "callback" in step.url)
    browser.cookies.clear()
    assert browser.get(used, timeout=10).status_code == 401


def test_an_account_of_the_same_email_is_joined_only_with_its_password(
    site: Gateway, provider: Provider
) -> None:
    provider.claims |= {"sub": "g-2", "email": "awa@example.com"}
    browser, answer = visit(site)
    assert "Join your accounts" in answer.text
    assert not is_signed_in(site, browser)
    join = f"{site.url}/auth/google/join"
    assert browser.post(join, data={"password": "wrong"}, timeout=30).status_code == 401
    assert not is_signed_in(site, browser)
    browser.post(join, data={"password": PASSWORD}, timeout=30)
    assert is_signed_in(site, browser)
    again, _ = visit(site)
    assert is_signed_in(site, again)


def test_an_email_that_is_not_verified_joins_nothing(site: Gateway, provider: Provider) -> None:
    provider.claims |= {"sub": "g-3", "email": "admin@example.com", "email_verified": False}
    browser, answer = visit(site)
    assert answer.status_code == 403
    assert not is_signed_in(site, browser)


CLAIMS = {"email": "new@example.com", "email_verified": True}


def start_mock(port: int, _callback: str) -> list[str]:
    """`oidc-provider-mock` of PyPI."""
    claims = json.dumps({"sub": "awa", **CLAIMS})
    words = ["-p", str(port), "--user-claims", claims, "-n", "1"]
    return [sys.executable, "-W", "ignore", "-m", "oidc_provider_mock", *words]


def start_mock_of_npm(port: int, _callback: str) -> list[str]:
    claims = json.dumps({"sub": "awa", "aud": CLIENT, **CLAIMS})
    return [*find_node("oauth2-mock-server"), str(HERE / "oauth2_mock.mjs"), str(port), claims]


def start_certified(port: int, callback: str) -> list[str]:
    words = [str(port), CLIENT, SETTINGS["GATEWAY_GOOGLE_CLIENT_SECRET"], callback]
    script = str(HERE / "oidc_provider.mjs")
    return [*find_node("oidc-provider"), script, *words, json.dumps(CLAIMS)]


def find_node(package: str) -> list[str]:
    """The start of a command; skips where the package is not installed."""
    node = shutil.which("node")
    if node is None or not (NODE / "node_modules" / package).is_dir():
        pytest.skip(f"{package} is missing: npm install --prefix .ci/node {package}")
    return [node]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("start", "forms"),
    [
        (start_mock, [{"sub": "awa"}]),
        (start_mock_of_npm, []),
        (
            start_certified,
            [{"prompt": "login", "login": "awa", "password": "x"}, {"prompt": "consent"}],
        ),
    ],
)
def test_the_flow_passes_with_a_provider_of_others(
    tmp_path: Path, start: Any, forms: list[dict[str, str]]
) -> None:
    port = free_port()
    url = f"http://localhost:{port}"
    gateway = Gateway(tmp_path, GATEWAY_GOOGLE_ISSUER=url, **SETTINGS)
    words = start(port, f"{gateway.url}/auth/google/callback")
    with (tmp_path / "provider.log").open("wb") as log:
        provider = subprocess.Popen(
            words, cwd=NODE if NODE.is_dir() else tmp_path, stdout=log, stderr=log
        )
    try:
        gateway.prepare()
        gateway.start()

        def is_up() -> bool:
            assert provider.poll() is None, (tmp_path / "provider.log").read_text()
            return answers(f"{url}/.well-known/openid-configuration")

        eventually(is_up)
        browser, page = visit(gateway)
        for form in forms:
            page = browser.post(page.url, data=form, timeout=30)
        assert is_signed_in(gateway, browser), page.text
    finally:
        gateway.stop()
        provider.terminate()
        provider.wait(10)
