"""Translation as jobs: quick ones are answered, slow ones get an id that only their owner may ask
for, and none is lost or counted twice.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from podkit_gateway import jobs
from tests.waiting import eventually

from .job_api import JobApi
from .process import Gateway

pytestmark = pytest.mark.slow

CONFIG = """
[models.nllb]
task = "translation"
backends = ["translation"]
languages = { fr = "fra_Latn", moore = "mos_Latn", mos = "mos_Latn" }

[backends.translation]
kind = "runpod-job"
endpoint_name = "translation"
key_env = "JOB_KEY"
"""
QUESTION = {"text": "Bonjour", "src_lang": "fr", "tgt_lang": "moore"}


@pytest.fixture(scope="module")
def api() -> Iterator[JobApi]:
    api = JobApi().start()
    yield api
    api.server.shutdown()


@pytest.fixture(scope="module")
def service(api: JobApi, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("jobs")
    gateway = Gateway(folder, CONFIG, GATEWAY_KEY_PREFIX="BIA", **api.settings())
    gateway.prepare()
    gateway.start()
    yield gateway
    gateway.stop()


@pytest.fixture(scope="module")
def key(service: Gateway) -> str:
    return service.make_key()


@pytest.fixture(autouse=True)
def fresh(api: JobApi) -> None:
    api.polls_needed = 1
    api.failure = ""
    api.refusal = None


def translate(service: Gateway, key: str, wait: str = "", **changes: Any) -> Any:
    headers = {"Prefer": wait} if wait else {}
    return service.post(key, "/v1/translate", json={**QUESTION, **changes}, headers=headers)


def test_a_quick_translation_is_answered_at_once(service: Gateway, api: JobApi, key: str) -> None:
    assert key.startswith("BIA_")
    answer = translate(service, key)
    assert answer.status_code == 200
    assert answer.json() == {
        "text": "Ne y windiga",
        "model": "nllb",
        "src_lang": "fra_Latn",
        "tgt_lang": "mos_Latn",
        "usage": {"texts": 1, "sentences": 1},
    }


def test_an_unknown_language_is_refused_with_the_known_ones(service: Gateway, key: str) -> None:
    answer = translate(service, key, tgt_lang="klingon")
    assert answer.status_code == 400
    assert "fr, moore, mos" in answer.json()["error"]["message"]


def test_a_slow_job_gets_an_id_and_only_its_owner_sees_it(
    service: Gateway, api: JobApi, key: str
) -> None:
    api.polls_needed = 10**6
    answer = translate(service, key, wait="wait=0")
    assert answer.status_code == 202
    path = service.url + answer.headers["Location"]
    stranger = service.make_key(owner="admin@example.com")
    for shown, code in ((stranger, 404), (key, 200)):
        headers = {"Authorization": f"Bearer {shown}"}
        assert requests.get(path, headers=headers, timeout=10).status_code == code
    assert (
        requests.delete(
            path, headers={"Authorization": f"Bearer {stranger}"}, timeout=10
        ).status_code
        == 404
    )
    api.polls_needed = 1
    headers = {"Authorization": f"Bearer {key}"}
    done = eventually(
        lambda: (
            (shown := requests.get(path, headers=headers, timeout=10).json())["status"]
            == "completed"
            and shown
        )
    )
    assert done["result"]["text"] == "Ne y windiga"


def test_a_job_is_cancelled_by_its_owner(service: Gateway, api: JobApi, key: str) -> None:
    api.polls_needed = 1000
    path = service.url + translate(service, key, wait="wait=0").headers["Location"]
    headers = {"Authorization": f"Bearer {key}"}
    assert requests.delete(path, headers=headers, timeout=10).json()["status"] == "cancelled"
    assert api.cancelled


def test_a_failed_job_tells_no_text_of_the_worker(service: Gateway, api: JobApi, key: str) -> None:
    api.failure = "Traceback: File canary.py said Bonjour"
    answer = translate(service, key)
    assert answer.status_code == 502
    assert "canary" not in answer.text
    api.failure = '{"code": "too-long", "message": "Bonjour is too long"}'
    answer = translate(service, key)
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "too-long")


def test_no_answer_tells_of_the_provider_or_its_ids(
    service: Gateway, api: JobApi, key: str
) -> None:
    headers = {"Authorization": f"Bearer {key}"}
    answers = [translate(service, key)]
    api.polls_needed = 1000
    answers.append(translate(service, key, wait="wait=0"))
    path = service.url + answers[-1].headers["Location"]
    answers.append(requests.get(path, headers=headers, timeout=10))
    answers.append(requests.delete(path, headers=headers, timeout=10))
    api.polls_needed = 1
    api.failure = "worker abc of https://api.runpod.ai/v2/ep1 failed in remote-1"
    answers.append(translate(service, key))
    api.refusal = (500, api.failure)
    answers.append(translate(service, key))
    assert [answer.status_code for answer in answers] == [200, 202, 200, 200, 502, 503]
    for answer in answers:
        shown = f"{answer.text} {answer.headers}".lower()
        for word in ("runpod", "remote-", api.url, *api.endpoints.values()):
            assert word not in shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("max workers quota: you have 5 of 5", "podkit serverless list"),
        ("unable to find template abc", "not ready yet"),
    ],
)
def test_the_providers_known_refusals_say_what_to_do(
    service: Gateway, api: JobApi, key: str, text: str, shown: str
) -> None:
    api.refusal = (400, text)
    answer = translate(service, key)
    assert answer.status_code == 503
    assert shown in answer.json()["error"]["message"]


def test_a_named_endpoint_is_found_again_after_a_deploy_gave_it_another_id(
    service: Gateway, api: JobApi, key: str
) -> None:
    assert translate(service, key).status_code == 200
    api.endpoints = {"translation": "ep2"}
    assert translate(service, key).status_code == 200


def test_a_text_of_the_most_that_a_worker_takes_is_passed_on(
    service: Gateway, api: JobApi, key: str
) -> None:
    text = "é" * 100_000
    assert translate(service, key, text=text).status_code == 200
    assert list(api.inputs.values())[-1]["text"] == text
    assert translate(service, key, text=text * 10).status_code == 413


@pytest.fixture
def public(api: JobApi, tmp_path: Path) -> Iterator[Gateway]:
    """A gateway that others reach, and that keeps results; a test may stop it."""
    gateway = Gateway(
        tmp_path,
        CONFIG,
        GATEWAY_PUBLIC_URL="https://api.example.com",
        GATEWAY_KEEP_RESULTS_DAYS="7",
        GATEWAY_RESULTS_KEY="k" * 40,
        **api.settings(),
    )
    gateway.prepare()
    gateway.start()
    yield gateway
    gateway.stop()


def show(gateway: Gateway, key: str, path: str) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {key}"}
    shown: dict[str, Any] = requests.get(gateway.url + path, headers=headers, timeout=10).json()
    return shown


def test_the_providers_call_at_the_end_of_a_job_has_it_asked_for(
    public: Gateway, api: JobApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "FIRST_POLL", 1000.0)
    key = public.make_key()
    path = translate(public, key, wait="wait=0").headers["Location"]
    assert show(public, key, path)["status"] == "queued"
    hook = urlsplit(list(api.webhooks.values())[-1])
    assert hook.hostname == "api.example.com"
    for unknown in ("/hooks/runpod/x", "/hooks/runpod/"):
        requests.post(public.url + unknown, timeout=10)
    assert show(public, key, path)["status"] == "queued"
    called = requests.post(public.url + hook.path, json={"status": "FAILED"}, timeout=10)
    assert called.status_code == 204
    eventually(lambda: show(public, key, path)["status"] == "completed")
    eventually(lambda: any(line["event"] == "job" for line in public.log()))
    public.stop()  # all is logged then
    assert hook.path not in public.log_path.read_text()
    assert [line["status"] for line in public.log() if line["event"] == "job"] == ["completed"]


def test_a_job_outlives_the_process_that_submitted_it_and_is_counted_once(
    public: Gateway, api: JobApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.polls_needed = 10**6
    key = public.make_key()
    path = translate(public, key, wait="wait=0").headers["Location"]
    public.stop()
    api.polls_needed = 1
    public.start()
    eventually(lambda: show(public, key, path)["status"] == "completed")
    eventually(lambda: "translation" in read_usage(public))
    for _ in range(3):
        show(public, key, path)
    public.stop()
    assert read_usage(public) == ["translation"]

    assert b"windiga" not in public.database.read_bytes()
    api.inputs.clear()  # as the provider forgets
    public.start()
    assert show(public, key, path)["result"]["text"] == "Ne y windiga"


def read_usage(gateway: Gateway) -> list[str]:
    """The kinds of all single rows of usage."""
    with sqlite3.connect(gateway.database) as database:
        return [kind for (kind,) in database.execute("SELECT kind FROM usage")]
