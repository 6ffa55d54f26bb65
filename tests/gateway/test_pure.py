"""The parts that talk to nobody: keys, streams however they are cut, folding, the breaker,
gateway.toml.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import jwt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podkit_gateway.breaker import CLOSED, OPEN, PROBING, Breaker
from podkit_gateway.config import load_config
from podkit_gateway.errors import ConfigurationError, Refusal
from podkit_gateway.folding import BrokenStream, Folder
from podkit_gateway.incoming import client_address, read_headers
from podkit_gateway.keys import is_well_formed, key_digest, make_key
from podkit_gateway.limits import in_words, limit_headers, read_window
from podkit_gateway.openai import parse_request, with_fields
from podkit_gateway.settings import load_settings
from podkit_gateway.streams import Passage, find_usage
from podkit_gateway.tokens import TOKEN_LIFE, Tokens

from .stub import USAGE, chunk, event

HEADER_NAMES = (b"authorization", b"x-api-key", b"x-request-id", b"accept")
STREAM = b"".join(
    [
        chunk("é" * 3),
        chunk('"choices":[] and "usage":{"prompt_tokens":1}'),
        chunk(None, "stop"),
        event({"choices": [], "usage": USAGE}),
        b"data: [DONE]\n\n",
    ]
)


def cuts(data: bytes, places: list[int]) -> Iterator[bytes]:
    edges = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    for start, end in pairwise(edges):
        yield data[start:end]


@settings(max_examples=50)
@given(st.lists(st.integers(0, 10_000)))
def test_however_a_stream_is_cut_its_usage_is_found_and_only_that_event_is_missing(
    places: list[int],
) -> None:
    passage = Passage(swallow_usage=True)
    out = b"".join(passage.feed(piece) for piece in cuts(STREAM, places)) + passage.finish()
    assert out == STREAM.replace(event({"choices": [], "usage": USAGE}), b"")
    tokens = passage.tokens(whole=True)
    assert (tokens.prompt, tokens.completion, tokens.counted) == (7, 3, "reported")


@settings(max_examples=50)
@given(st.binary(max_size=300), st.lists(st.integers(0, 300)))
def test_bytes_that_are_no_stream_pass_unchanged(data: bytes, places: list[int]) -> None:
    passage = Passage(swallow_usage=True)
    out = b"".join(passage.feed(piece) for piece in cuts(data, places)) + passage.finish()
    assert out == data


@pytest.mark.parametrize(
    "usage",
    ['{"prompt_tokens":NaN}', '{"prompt_tokens":1' + "0" * 30 + "}", '{"x":' + "[" * 3000, "null"],
    ids=["no number", "too many", "too deep", "nothing"],
)
def test_a_usage_that_can_be_none_counts_nothing(usage: str) -> None:
    assert find_usage(f'{{"usage": {usage}}}'.encode()).total == 0


def test_a_stream_that_was_cut_is_counted_by_its_chunks() -> None:
    passage = Passage(swallow_usage=True)
    passage.feed(chunk("a") + chunk("b") + chunk("c"))
    assert (passage.tokens(whole=False).completion, passage.tokens(whole=False).counted) == (
        3,
        "estimated",
    )


@settings(max_examples=50)
@given(st.lists(st.integers(0, 10_000)))
def test_however_a_stream_is_cut_it_folds_to_the_same_answer(places: list[int]) -> None:
    folder = Folder()
    for piece in cuts(STREAM, places):
        folder.feed(piece)
    answer = folder.finish()
    assert answer["choices"][0]["message"]["content"].startswith("ééé")
    assert answer["usage"] == USAGE


def test_a_stream_without_its_end_folds_to_nothing() -> None:
    folder = Folder()
    folder.feed(chunk("half"))
    with pytest.raises(BrokenStream):
        folder.finish()


@settings(max_examples=50)
@given(st.binary(min_size=37, max_size=37))
def test_every_key_is_well_formed_and_one_changed_character_makes_it_none(seed: bytes) -> None:
    key = make_key("pk", "live", lambda size: seed[:size])
    assert is_well_formed(key.text)
    assert key.digest == key_digest(key.text)
    for place in (3, 10, 30, len(key.text) - 1):
        other = "A" if key.text[place] != "A" else "B"
        assert not is_well_formed(key.text[:place] + other + key.text[place + 1 :])


@settings(max_examples=50)
@given(st.text(max_size=100))
def test_any_text_may_be_shown_as_a_key(text: str) -> None:
    is_well_formed(text)
    key_digest(text)


def test_ten_thousand_keys_differ() -> None:
    texts = {make_key("pk", "live", os.urandom).text for _ in range(10_000)}
    assert len(texts) == 10_000


def test_the_breaker_opens_probes_and_waits_longer_each_time() -> None:
    breaker = Breaker()
    for second in range(5):
        assert breaker.allows(second)
        breaker.fail(second)
    assert breaker.state == OPEN
    assert not breaker.allows(18)
    assert breaker.allows(19)
    breaker.start(19)
    assert breaker.state == PROBING
    assert not breaker.allows(19)
    breaker.fail(20)
    assert not breaker.allows(49)
    assert breaker.allows(50)
    breaker.start(50)
    breaker.leave(51)
    assert breaker.allows(51)
    breaker.start(51)
    breaker.succeed()
    assert breaker.state == CLOSED


def test_failures_that_are_far_apart_open_nothing() -> None:
    breaker = Breaker()
    for number in range(20):
        breaker.fail(number * 10.0)
    assert breaker.state == CLOSED


def test_a_body_is_changed_in_front_or_made_again() -> None:
    body = b' {"model":"a","messages":[1, 2]}'
    asked = parse_request(body)
    assert with_fields(body, asked, {}) == body
    added = with_fields(body, asked, {"stream_options": {"include_usage": True}})
    assert json.loads(added) == {**json.loads(body), "stream_options": {"include_usage": True}}
    assert json.loads(with_fields(body, asked, {"model": "b"}))["model"] == "b"


def test_a_model_named_twice_is_refused_wherever_it_would_matter() -> None:
    with pytest.raises(Refusal):
        parse_request(b'{"model":"a","model":"b"}')
    for body in (
        b'{"model":"a","mod\\u0065l":"b"}',
        '{"model":"a"}'.encode("utf-16"),
        b'\xef\xbb\xbf{"model":"a"}',
    ):
        with pytest.raises(Refusal):
            parse_request(body)
    assert parse_request(b'{"model":"a","messages":["\\u00e9\\u0042"]}').model == "a"
    inside = b'{"model":"a","tools":[{"model":1}],"messages":[{"model":2,"x":{"model":3}}]}'
    assert parse_request(inside).model == "a"


def test_a_forwarded_address_is_believed_only_from_a_trusted_proxy() -> None:
    name = b"x-forwarded-for"
    for headers in ([(name, b"6.6.6.6, 1.2.3.4")], [(name, b"6.6.6.6"), (name, b"1.2.3.4")]):
        scope = {"client": ("10.0.0.1", 1), "headers": headers}
        assert client_address(scope, ()) == "10.0.0.1"
        assert client_address(scope, ("10.0.0.0/8",)) == "1.2.3.4"
        assert client_address(scope, ("10.0.0.0/8", "1.2.3.4/32")) == "6.6.6.6"


def test_windows_slide_and_are_told_in_words() -> None:
    assert read_window(60, 30, 30.0, 10, 50.0).remaining == 35
    assert [in_words(seconds) for seconds in (0.012, 6.5, 360)] == ["12ms", "6.5s", "6m0s"]
    assert limit_headers(None, None) == []


WRONG = {
    "[model]\n": "unknown name 'model'",
    "[models.a]\nbackends = []\n": "backends must be a list",
    '[models.a]\nbackends = ["b"]\n': "no backend is called 'b'",
    '[backends.b]\nurl = "http://u:p@h/v1"\n': "no user, password",
    '[backends.b]\nurl = "http://h/v1"\nkey = "secret"\n': "unknown name 'key'",
    '[backends.b]\nkind = "runpod-job"\n': "set endpoint",
    '[backends.b]\nurl = "http://h/v1"\nkey_env = "NOT_THERE"\n': "NOT_THERE is not set",
    '[backends.b]\nurl = "http://h/v1"\nexternal = "yes"\n': "external must be true or false",
}


@pytest.mark.parametrize(("text", "problem"), WRONG.items())
def test_a_wrong_gateway_toml_says_where(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError, match=problem):
        load_config(path, {})


SIGNING = {"one": b"k" * 64, "old": b"o" * 64}


@pytest.mark.parametrize(
    ("changes", "key_id", "algorithm"),
    [
        ({"aud": "another"}, "one", "HS256"),
        ({"iss": "https://evil.example"}, "one", "HS256"),
        ({"exp": 1_000}, "one", "HS256"),
        ({"jti": None}, "one", "HS256"),
        ({"sub": None}, "one", "HS256"),
        ({}, "one", "HS384"),
        ({}, "old", "HS512"),
    ],
    ids=str,
)
def test_a_token_that_is_signed_well_but_wrong_is_refused(
    changes: dict[str, Any], key_id: str, algorithm: str
) -> None:
    tokens = Tokens(SIGNING, "https://api.example.com", lambda: 10_000.0)
    claims = jwt.decode(tokens.make(7, ["jobs"], "id-1"), options={"verify_signature": False})
    for name, value in changes.items():
        claims[name] = value
    told = {name: value for name, value in claims.items() if value is not None}
    head = {"kid": key_id}
    assert tokens.read(jwt.encode(told, SIGNING[key_id], algorithm, headers=head)) is None


def test_tokens_of_the_key_before_are_read_until_they_end() -> None:
    clock = [10_000.0]
    issuer = "https://api.example.com"
    before = Tokens({"old": SIGNING["old"]}, issuer, lambda: clock[0])
    now = Tokens(SIGNING, issuer, lambda: clock[0])
    token = before.make(7, ["jobs"], "id-1")
    assert now.read(token) == "id-1"
    clock[0] += TOKEN_LIFE
    assert now.read(token) is None


@settings(max_examples=50)
@given(st.lists(st.tuples(st.sampled_from(HEADER_NAMES), st.binary(max_size=8)), max_size=8))
def test_headers_are_read_once_each_and_those_of_trust_never_twice(
    pairs: list[tuple[bytes, bytes]],
) -> None:
    names = [name for name, _ in pairs]
    if any(names.count(name) > 1 for name in (b"authorization", b"x-api-key")):
        with pytest.raises(Refusal):
            read_headers({"headers": pairs})
        return
    firsts: dict[bytes, bytes] = {}
    for name, value in pairs:
        firsts.setdefault(name, value)
    assert read_headers({"headers": pairs}) == firsts


def test_a_secret_shows_itself_to_nobody() -> None:
    settings = load_settings({"GATEWAY_REDIS_URL": "redis://:canary@h", "STATE_DIRECTORY": "/x"})
    assert "canary" not in f"{settings} {settings!r} {settings.redis_url}"
    assert settings.database_url.reveal() == "sqlite+aiosqlite:////x/gateway.db"
