"""Translation and audio as jobs: quick ones are answered, slow ones get an id that only their owner
may ask for.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests

from .job_api import JobApi
from .process import Gateway, until

CONFIG = """
[models.nllb]
task = "translation"
backends = ["translation"]
languages = { fr = "fra_Latn", moore = "mos_Latn", mos = "mos_Latn" }

[models.whisper]
task = "transcription"
backends = ["translation"]

[models.voice]
task = "speech"
backends = ["translation"]

[backends.translation]
kind = "runpod-job"
endpoint_name = "translation"
key_env = "JOB_KEY"
"""
QUESTION = {"text": "Bonjour", "src_lang": "fr", "tgt_lang": "moore"}


@pytest.fixture(scope="module")
def api() -> Iterator[JobApi]:
    api = JobApi()
    api.url = api.start()  # type: ignore[attr-defined]
    yield api
    api.server.shutdown()


@pytest.fixture(scope="module")
def service(api: JobApi, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    url = api.url  # type: ignore[attr-defined]
    gateway = Gateway(
        tmp_path_factory.mktemp("jobs"),
        CONFIG,
        JOB_KEY="job-key",
        GATEWAY_JOBS_URL=url,
        GATEWAY_API_URL=url,
        GATEWAY_KEY_PREFIX="BIA",
    )
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
    api.polls_needed = 5
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
    headers = {"Authorization": f"Bearer {key}"}
    done = until(
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


def test_audio_goes_both_ways(service: Gateway, key: str) -> None:
    headers = {"Authorization": f"Bearer {key}"}
    path = f"{service.url}/v1/audio"
    sent = {"file": ("a.wav", b"RIFF" * 100)}
    answer = requests.post(f"{path}/transcriptions", files=sent, headers=headers, timeout=30)
    assert answer.json() == {"text": "bonjour"}
    speech = {"input": "Bonjour", "response_format": "wav"}
    answer = requests.post(f"{path}/speech", json=speech, headers=headers, timeout=30)
    assert (answer.content, answer.headers["Content-Type"]) == (b"RIFF", "audio/wav")
    large = {"file": ("a.wav", b"0" * 7_100_000)}
    answer = requests.post(f"{path}/transcriptions", files=large, headers=headers, timeout=30)
    assert answer.status_code == 413
    unbounded = requests.post(
        f"{path}/transcriptions", data=iter([b"0"]), headers=headers, timeout=30
    )
    assert unbounded.status_code == 411
