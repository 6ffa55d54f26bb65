"""What each public URL of a pod is taken to say, and how seldom it is asked."""

from __future__ import annotations

from typing import Any

import pytest
import requests
import requests_mock as mocking

from podkit.pods.probes import (
    SIGN_IN_EVERY_SECONDS,
    Probe,
    Probes,
    probe_api,
    probe_page,
    probe_sign_in,
)
from podkit.runpod.http import USER_AGENT
from tests.podkit.pods.pages import CHAT, CONFIG, HEALTH, HTML, SIGN_IN, WHERE, PublicUrls
from tests.podkit.samples import CLIENT_KEY, PASSWORD, Clock

SAID = Probe(False, answered=True)
NOTHING = Probe(False)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"json": {"choices": [{}]}}, Probe(True, answered=True)),
        ({"json": {"choices": []}}, SAID),
        (
            {"json": {"error": "no"}, "status_code": 401},
            Probe(False, "the API refuses the key that the pod was given", answered=True),
        ),
        (
            {"json": {"error": "no"}, "status_code": 404},
            Probe(False, "the API does not know the model 'olmocr'", answered=True),
        ),
        ({"text": HTML, "status_code": 404}, NOTHING),
        ({"text": HTML, "status_code": 502}, NOTHING),
        ({"text": HTML, "status_code": 524}, NOTHING),
        ({"text": HTML}, NOTHING),
        ({"json": []}, NOTHING),
        ({"json": {}, "status_code": 404}, NOTHING),
        ({"json": {"choices": [{}]}, "status_code": 503}, SAID),
        (
            {"text": HTML, "status_code": 429, "headers": {"Retry-After": "7"}},
            Probe(False, retry_after=7),
        ),
        (
            {"text": HTML, "status_code": 429, "headers": {"Retry-After": "86400"}},
            Probe(False, retry_after=180),
        ),
        ({"text": HTML, "status_code": 429, "headers": {"Retry-After": "soon"}}, NOTHING),
        ({"status_code": 302, "headers": {"Location": "https://elsewhere.example"}}, NOTHING),
        ({"exc": requests.ConnectionError}, NOTHING),
        ({"exc": requests.ReadTimeout}, NOTHING),
    ],
)
def test_the_api_is_ready_once_it_completes_for_the_key(
    api: mocking.Mocker, answer: dict[str, Any], expected: Probe
) -> None:
    api.post(CHAT, **answer)
    assert probe_api(requests.Session(), WHERE) == expected
    assert api.call_count == 1
    assert api.request_history[-1].headers["Authorization"] == f"Bearer {CLIENT_KEY}"
    assert api.request_history[-1].json()["model"] == "olmocr"
    timeout: object = api.request_history[-1].timeout
    assert timeout == (5.0, 30.0)


@pytest.mark.parametrize(
    ("health", "config", "expected"),
    [
        ({"json": {"status": True}}, {"json": {"status": True}}, Probe(True, answered=True)),
        ({"json": {"status": True}}, {"json": {"onboarding": False}}, Probe(True, answered=True)),
        (
            {"json": {"status": True}},
            {"json": {"onboarding": True}},
            Probe(False, "the chat page would make its first visitor the admin", answered=True),
        ),
        ({"json": {"status": True}}, {"text": HTML, "status_code": 502}, SAID),
        ({"json": {"status": True}}, {"json": {"detail": "no"}, "status_code": 500}, SAID),
        ({"text": HTML, "status_code": 502}, {}, NOTHING),
        ({"text": HTML}, {}, NOTHING),
        (
            {"text": HTML, "status_code": 429, "headers": {"Retry-After": "9"}},
            {},
            Probe(False, retry_after=9),
        ),
        ({"exc": requests.ConnectionError}, {}, NOTHING),
    ],
)
def test_the_chat_page_is_looked_at_without_a_login(
    api: mocking.Mocker, health: dict[str, Any], config: dict[str, Any], expected: Probe
) -> None:
    api.get(HEALTH, **health)
    api.get(CONFIG, **config)
    assert probe_page(requests.Session(), WHERE) == expected
    for sent in api.request_history:
        assert sent.method == "GET"
        assert "Authorization" not in sent.headers


@pytest.mark.parametrize(
    ("answer", "ready", "fault"),
    [
        ({"json": {"token": "jwt"}}, True, False),
        ({"json": {"token": ""}}, False, False),
        ({"json": {"detail": "wrong"}, "status_code": 400}, False, True),
        ({"json": {"detail": "wrong"}, "status_code": 401}, False, True),
        ({"text": HTML, "status_code": 403}, False, False),
        ({"text": HTML, "status_code": 502}, False, False),
        ({"json": {"detail": "starting"}, "status_code": 503}, False, False),
        ({"exc": requests.ConnectionError}, False, False),
    ],
)
def test_the_chat_page_is_ready_once_it_takes_the_login(
    api: mocking.Mocker, answer: dict[str, Any], ready: bool, fault: bool
) -> None:
    api.post(SIGN_IN, **answer)
    probe = probe_sign_in(requests.Session(), WHERE)
    assert probe.ready == ready
    assert bool(probe.fault) == fault
    assert probe.remark == ""
    assert api.request_history[-1].json() == {"email": "admin@podkit.local", "password": PASSWORD}
    assert "Authorization" not in api.request_history[-1].headers


@pytest.mark.parametrize("answer", [{"json": {"detail": "too many"}}, {"text": HTML}])
def test_a_sign_in_that_is_rate_limited_is_not_held_against_the_page(
    api: mocking.Mocker, answer: dict[str, Any]
) -> None:
    api.post(SIGN_IN, status_code=429, **answer)
    probe = probe_sign_in(requests.Session(), WHERE)
    assert probe.ready
    assert "takes no sign-in at the moment" in probe.remark


def test_a_netrc_does_not_replace_the_key_of_a_probe(api: mocking.Mocker, tmp_path: Any) -> None:
    (tmp_path / ".netrc").write_text("default login other password other\n")
    api.post(CHAT, json={"choices": [{}]})
    api.post(SIGN_IN, json={"token": "jwt"})
    api.get(HEALTH, json={"status": True})
    api.get(CONFIG, json={"status": True})
    probe_api(requests.Session(), WHERE)
    assert api.request_history[-1].headers["Authorization"] == f"Bearer {CLIENT_KEY}"
    for probe in (probe_sign_in, probe_page):
        probe(requests.Session(), WHERE)
        assert "Authorization" not in api.request_history[-1].headers


def test_every_probe_says_who_asks(api: mocking.Mocker, clock: Clock) -> None:
    PublicUrls(api, clock, api_at=0, page_at=0)
    Probes(requests.Session(), clock).look(WHERE)
    assert api.call_count == 4
    assert {sent.headers["User-Agent"] for sent in api.request_history} == {USER_AGENT}


def test_nobody_signs_in_before_the_api_has_completed(api: mocking.Mocker, clock: Clock) -> None:
    urls = PublicUrls(api, clock, api_at=240, page_at=30)
    probes = Probes(requests.Session(), clock)
    for _ in range(120):
        told, page = probes.look(WHERE)
        assert not (told.ready and page.ready)
        clock.sleep(2)
    assert urls.sign_ins == []
    told, page = probes.look(WHERE)
    assert told.ready
    assert page.ready
    assert len(urls.sign_ins) == 1
    assert urls.completions == 1


def test_the_api_is_asked_for_no_second_completion(api: mocking.Mocker, clock: Clock) -> None:
    urls = PublicUrls(api, clock, api_at=0, page_at=100)
    probes = Probes(requests.Session(), clock)
    for _ in range(40):
        assert probes.look(WHERE) == (Probe(True, answered=True), NOTHING)
        clock.sleep(2)
    assert urls.completions == 1


def test_a_login_that_is_refused_is_tried_again_only_every_15_seconds(
    api: mocking.Mocker, clock: Clock
) -> None:
    PublicUrls(api, clock, api_at=0, page_at=0)
    refused = api.post(SIGN_IN, status_code=400, json={"detail": "wrong"})
    probes = Probes(requests.Session(), clock)
    for _ in range(90):
        assert probes.look(WHERE)[1].fault
        clock.sleep(2)
    assert refused.call_count == 12
    assert SIGN_IN_EVERY_SECONDS * 15 > 180


def test_a_url_that_asks_for_patience_is_left_alone_for_so_long(
    api: mocking.Mocker, clock: Clock
) -> None:
    urls = PublicUrls(api, clock, api_at=0, page_at=0)
    limited: dict[str, Any] = {"status_code": 429, "text": HTML, "headers": {"Retry-After": "60"}}
    asked = api.post(CHAT, **limited)
    looked = api.get(HEALTH, **limited)
    probes = Probes(requests.Session(), clock)
    for _ in range(29):
        probes.look(WHERE)
        clock.sleep(2)
    assert (asked.call_count, looked.call_count, urls.sign_ins) == (1, 1, [])
