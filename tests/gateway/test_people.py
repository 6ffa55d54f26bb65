"""People: signing in, three ways to show who one is, what others may not see, and pages of other
origins.
"""

from __future__ import annotations

import time
from pathlib import Path

import jwt
import pytest
import requests

from .process import PASSWORD, Gateway

pytestmark = pytest.mark.slow

ADMIN = {"email": "admin@example.com", "password": PASSWORD}


def sign_in(gateway: Gateway, who: dict[str, str]) -> requests.Session:
    session = requests.Session()
    session.headers["Origin"] = gateway.url
    answer = session.post(f"{gateway.url}/auth/sign-in", json=who, timeout=30)
    assert answer.status_code == 200, answer.text
    return session


def get_token(gateway: Gateway, who: dict[str, str]) -> str:
    answer = requests.post(f"{gateway.url}/auth/token", json=who, timeout=30)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["access_token"])


@pytest.fixture(scope="module")
def token(running: Gateway) -> str:
    return get_token(running, running.add_person())


@pytest.fixture(scope="module")
def session(running: Gateway) -> requests.Session:
    return sign_in(running, running.add_person())


@pytest.fixture(scope="module")
def admin(running: Gateway) -> requests.Session:
    return sign_in(running, ADMIN)


def test_key_token_and_session_open_the_same_door_until_each_is_revoked(
    gateway: Gateway, session: requests.Session
) -> None:
    question = {"model": "olmocr", "messages": []}
    path = f"{gateway.url}/v1/chat/completions"
    own = sign_in(gateway, gateway.add_person())
    token = get_token(gateway, gateway.add_person())
    made = session.post(f"{gateway.url}/api/keys", json={"label": "one"}, timeout=10).json()
    for shown in (made["key"], token):
        headers = {"Authorization": f"Bearer {shown}"}
        assert requests.post(path, json=question, headers=headers, timeout=10).status_code == 200
    assert own.post(path, json=question, timeout=10).status_code == 200
    session.delete(f"{gateway.url}/api/keys/{made['id']}", timeout=10)
    assert gateway.ask(made["key"]).status_code == 401
    headers = {"Authorization": f"Bearer {token}"}
    ended = requests.delete(f"{gateway.url}/auth/token", headers=headers, timeout=10)
    assert ended.status_code == 204
    assert gateway.ask(token).status_code == 401
    cookie = dict(own.cookies)
    assert own.post(f"{gateway.url}/auth/sign-out", timeout=10).status_code == 204
    again = requests.post(
        path, json=question, cookies=cookie, headers={"Origin": gateway.url}, timeout=10
    )
    assert again.status_code == 401


def test_a_key_is_shown_once(gateway: Gateway, session: requests.Session) -> None:
    made = session.post(f"{gateway.url}/api/keys", json={}, timeout=10)
    assert made.headers["Cache-Control"] == "no-store"
    listed = session.get(f"{gateway.url}/api/keys", timeout=10).text
    assert made.json()["id"] in listed
    assert made.json()["key"] not in listed
    assert made.json()["key"].encode() not in (gateway.folder / "gateway.db").read_bytes()


def test_a_rotated_key_works_beside_its_successor_until_the_overlap_ends(
    gateway: Gateway, session: requests.Session
) -> None:
    old = session.post(f"{gateway.url}/api/keys", json={"models": ["olmocr"]}, timeout=10).json()
    path = f"{gateway.url}/api/keys/{old['id']}/rotate"
    new = session.post(path, json={"overlap_hours": 1}, timeout=10).json()
    assert [gateway.ask(key["key"]).status_code for key in (old, new)] == [200, 200]
    assert gateway.ask(new["key"], json={"model": "small"}).status_code == 404
    session.post(path, json={"overlap_hours": 0}, timeout=10)
    assert gateway.ask(old["key"]).status_code == 401
    assert gateway.ask(new["key"]).status_code == 200


def test_a_member_sees_and_ends_nobody_elses_keys(
    gateway: Gateway, session: requests.Session
) -> None:
    key_id = gateway.make_key(owner="admin@example.com").split("_")[2]
    assert key_id not in session.get(f"{gateway.url}/api/keys", timeout=10).text
    hidden = (
        ("DELETE", f"keys/{key_id}"),
        ("POST", f"keys/{key_id}/rotate"),
        ("GET", "keys?all=1"),
        ("GET", "usage?all=1"),
    )
    for method, path in hidden:
        answer = session.request(method, f"{gateway.url}/api/{path}", json={}, timeout=10)
        assert answer.status_code == 404, path
    for path in ("people", "backends"):
        assert session.get(f"{gateway.url}/api/{path}", timeout=10).status_code == 403
    escalated = session.post(f"{gateway.url}/api/keys", json={"scopes": ["admin"]}, timeout=10)
    assert escalated.status_code == 403


def test_an_admins_key_has_no_inference(gateway: Gateway) -> None:
    key = gateway.make_key("--scope", "admin", owner="admin@example.com")
    assert gateway.ask(key).status_code == 403
    text = gateway.refused(
        *("keys", "create", "--owner", "admin@example.com"),
        *("--scope", "admin", "--scope", "inference"),
    )
    assert "two keys" in text


def test_forged_and_altered_tokens_are_refused(gateway: Gateway, token: str) -> None:
    head, claims, signature = token.split(".")
    now = int(time.time())
    good = jwt.decode(token, options={"verify_signature": False})
    forged = [
        f"{head}.{claims}.",
        f"{head}.{claims}.{signature[::-1]}",
        jwt.encode(good, "", algorithm="none"),
        jwt.encode(good, "x" * 32, algorithm="HS256", headers={"kid": "process"}),
        jwt.encode(good, "x" * 32, algorithm="HS256", headers={"kid": "../../dev/null"}),
        jwt.encode({**good, "exp": now + 9**9}, "x" * 64, algorithm="HS512"),
        "a.b.c",
        "..",
    ]
    assert [gateway.ask(text).status_code for text in forged] == [401] * len(forged)
    assert gateway.ask(token).status_code == 200


def test_a_page_of_another_origin_can_do_nothing(
    gateway: Gateway, session: requests.Session
) -> None:
    for headers in (
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "null", "Sec-Fetch-Site": "cross-site"},
        {"Origin": "", "Sec-Fetch-Site": "same-site"},
    ):
        for path, data in (("api/keys", "{}"), ("keys", "label=x"), ("sign-out", "")):
            answer = requests.post(
                f"{gateway.url}/{path}",
                data=data,
                headers={**headers, "Content-Type": "application/json"},
                cookies=dict(session.cookies),
                timeout=10,
            )
            assert answer.status_code == 403, (headers, path)
    form = session.post(f"{gateway.url}/api/keys", data={"label": "x"}, timeout=10)
    assert form.status_code == 415


def test_guessing_passwords_is_counted_and_an_unknown_account_answers_alike(
    tmp_path: Path,
) -> None:
    gateway = Gateway(tmp_path)
    gateway.prepare()
    gateway.start()
    first = []
    for email in ("awa@example.com", "nobody@example.com"):
        body = {"email": email, "password": "wrong wrong wrong"}
        answers: list[requests.Response] = []
        while len(answers) < 8:
            answers.append(requests.post(f"{gateway.url}/auth/sign-in", json=body, timeout=60))
        codes = [answer.status_code for answer in answers]
        assert codes[:5] == [401] * 5
        assert 429 in codes[5:]
        first.append(answers[0].json())
    assert first[0] == first[1]
    gateway.stop()


@pytest.mark.usefixtures("within_a_minute")
def test_a_persons_and_a_teams_limits_hold_for_all_their_keys(
    gateway: Gateway, admin: requests.Session
) -> None:
    name = "limited@example.com"
    gateway.quickly("people", "add", "--email", name, "--password-stdin", text=f"{PASSWORD}\n")
    people = admin.get(f"{gateway.url}/api/people", timeout=10).json()["people"]
    person = next(person["id"] for person in people if person["email"] == name)
    keys = [gateway.make_key(owner=name), gateway.make_key(owner=name)]
    team = {"requests_per_minute": 3}
    assert admin.put(f"{gateway.url}/api/teams/ocr", json=team, timeout=10).status_code == 204
    change = {"team": "ocr"}
    path = f"{gateway.url}/api/people/{person}"
    assert admin.patch(path, json=change, timeout=10).status_code == 204
    codes = [gateway.ask(keys[number % 2]).status_code for number in range(4)]
    assert codes == [200, 200, 200, 429]
    assert admin.patch(path, json={"disabled": True}, timeout=10).status_code == 204
    assert gateway.ask(keys[0]).status_code == 401
    assert admin.patch(path, json={"limits": {"speed": 1}}, timeout=10).status_code == 400
