"""The light chat page: who gets in, and what it does for them."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from podkit_sandbox.shims.open_webui.accounts import SigninLimit
from tests.sandbox.shims.stand_ins import (
    ASK,
    EMAIL,
    ROOT,
    get,
    of_a_page,
    post,
    python_of_the_page,
    serving_page,
)

pytestmark = pytest.mark.slow

HELLO = [{"role": "user", "content": "Hello"}]


def sign_in(url: str, password: str, email: str = "A@b.c") -> requests.Response:
    return post(f"{url}/api/v1/auths/signin", {"email": email, "password": password})


@pytest.fixture(scope="module")
def webui(url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A page in front of the model server."""
    folder = tmp_path_factory.mktemp("page")
    env = of_a_page(folder, "right") | {"OPENAI_API_BASE_URLS": f"{url}/v1"}
    with serving_page(folder, **env) as (webui, _):
        yield webui


@pytest.fixture(scope="module")
def token(webui: str) -> str:
    return str(sign_in(webui, "right").json()["token"])


def test_the_page_says_what_it_is_and_holds_all_that_it_needs(webui: str) -> None:
    answer = get(webui)
    assert "light page" in answer.text
    assert "--real-webui" in answer.text
    assert "http" not in answer.text.partition("<style>")[2]
    allowed = answer.headers["content-security-policy"]
    assert "default-src 'none'" in allowed
    assert "unsafe" not in allowed


def test_only_the_admin_of_the_settings_signs_in(webui: str) -> None:
    refused = sign_in(webui, "wrong")
    assert refused.status_code == 400
    assert "incorrect" in refused.json()["detail"]
    assert sign_in(webui, "right", "someone@else").status_code == 400
    taken = sign_in(webui, "right").json()
    assert (taken["token_type"], taken["role"], taken["email"]) == ("Bearer", "admin", EMAIL)
    assert get(f"{webui}/api/v1/auths/", taken["token"]).json()["email"] == EMAIL


def test_nobody_can_sign_up_and_there_is_an_admin_already(webui: str) -> None:
    assert get(f"{webui}/health").json() == {"status": True}
    assert get(f"{webui}/api/config").json().get("onboarding") is not True
    assert post(f"{webui}/api/v1/auths/signup", {}).status_code == 403


@pytest.mark.parametrize("body", [{}, [], None, {"email": EMAIL}, "x"])
def test_a_sign_in_without_a_login_is_refused(webui: str, body: object) -> None:
    assert post(f"{webui}/api/v1/auths/signin", body).status_code == 422


@pytest.mark.parametrize(
    "path", ["/api/models", "/api/v1/chats/", "/openai/models", "/api/v1/users/", "/api/v1/auths/"]
)
def test_a_stranger_is_shown_nothing(webui: str, path: str) -> None:
    assert get(webui + path).status_code == 401
    assert get(webui + path, "guessed").status_code == 401
    chat = post(f"{webui}/api/chat/completions", {"messages": HELLO})
    assert chat.status_code == 401


def test_who_has_signed_in_chats_with_the_model_as_it_streams(webui: str, token: str) -> None:
    models = get(f"{webui}/api/models", token).json()["data"]
    assert [model["id"] for model in models] == ["olmocr", "allenai/olmOCR"]
    body = {"model": "olmocr", "messages": HELLO, "stream": True}
    answer = post(f"{webui}/api/chat/completions", body, token)
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = [line[6:] for line in answer.text.splitlines() if line.startswith("data: {")]
    said = ""
    for event in events:
        said += json.loads(event)["choices"][0]["delta"].get("content", "")
    assert said.endswith("Hello")


def test_what_the_model_server_refuses_is_told_in_its_words(webui: str, token: str) -> None:
    answer = post(f"{webui}/api/chat/completions", {"messages": ASK * 2}, token)
    assert answer.status_code == 400
    assert "At most 1 image(s)" in answer.json()["error"]["message"]


def test_who_has_signed_out_is_a_stranger(webui: str) -> None:
    token = sign_in(webui, "right").json()["token"]
    get(f"{webui}/api/v1/auths/signout", token)
    assert get(f"{webui}/api/models", token).status_code == 401


def test_a_model_server_that_does_not_answer_yet_is_said_so(tmp_path: Path) -> None:
    with serving_page(tmp_path, **of_a_page(tmp_path, "right")) as (webui, _):
        token = sign_in(webui, "right").json()["token"]
        answer = get(f"{webui}/api/models", token)
    assert answer.status_code == 503
    assert "does not answer yet" in answer.json()["detail"]


def test_fifteen_tries_to_sign_in_in_three_minutes_are_allowed_for_each_email() -> None:
    now = 1_000_000 * 60.0
    limit = SigninLimit(lambda: now)
    assert [limit.is_over(EMAIL) for _ in range(16)] == [False] * 15 + [True]
    assert not limit.is_over("someone@else")
    now += 120
    assert limit.is_over(EMAIL)  # the 429s count too
    now += 240
    assert not limit.is_over(EMAIL)


def test_the_right_login_is_refused_with_429_once_a_stranger_has_tried_too_often(
    tmp_path: Path,
) -> None:
    with serving_page(tmp_path, **of_a_page(tmp_path, "right")) as (webui, _):
        tries = [sign_in(webui, "wrong").status_code for _ in range(15)]
        assert set(tries) == {400}
        refused = sign_in(webui, "right")
    assert refused.status_code == 429
    assert refused.json()["detail"]


def test_a_changed_password_is_ignored_until_it_is_written_as_a_pod_does(tmp_path: Path) -> None:
    with serving_page(tmp_path, **of_a_page(tmp_path, "old")):
        pass
    with serving_page(tmp_path, **of_a_page(tmp_path, "new")) as (webui, _):
        assert (tmp_path / "webui-data/webui.db-wal").exists()
        assert [sign_in(webui, word).status_code for word in ("old", "new")] == [200, 400]
        change = [python_of_the_page(tmp_path), "-P", ROOT / "startup/page_login.py"]
        env = os.environ | of_a_page(tmp_path, "new")
        subprocess.run([*map(str, change)], check=True, env=env)
        assert [sign_in(webui, word).status_code for word in ("old", "new")] == [400, 200]
