"""Audio as jobs, in OpenAI's forms and in the fields of the workers in services/."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from openai import OpenAI

from podkit_gateway.audio_api import AUDIO_TYPES
from podkit_gateway.jobs import REFUSALS
from tests.waiting import eventually

from .job_api import JobApi
from .process import ROOT, Gateway

pytestmark = pytest.mark.slow

CONFIG = """
[models.whisper]
task = "transcription"
backends = ["audio"]
price = { second = 0.01 }

[models.voice]
task = "speech"
backends = ["audio"]
price = { second = 0.02 }

[backends.audio]
kind = "runpod-job"
endpoint = "ep1"
key_env = "JOB_KEY"
"""
SOURCES = ROOT / "services"
LARGE = b"RIFF" * 2_000_000


@pytest.fixture(scope="module")
def api() -> Iterator[JobApi]:
    api = JobApi().start()
    yield api
    api.server.shutdown()


@pytest.fixture(scope="module")
def service(api: JobApi, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("audio")
    public = {
        "GATEWAY_PUBLIC_URL": "https://api.example.com",
        "GATEWAY_UPLOADS": str(folder / "uploads"),
        "GATEWAY_MAX_UPLOAD": "9000000",
    }
    gateway = Gateway(folder, CONFIG, **public, **api.settings())
    gateway.prepare()
    gateway.start()
    api.gateway = gateway.url
    yield gateway
    gateway.stop()


@pytest.fixture
def client(service: Gateway) -> OpenAI:
    return OpenAI(base_url=f"{service.url}/v1", api_key=service.make_key(), max_retries=0)


def send(service: Gateway, audio: bytes = b"RIFF" * 100, /, **fields: str) -> Any:
    file = {"file": ("a.wav", audio)} if audio else {"none": ("", b"")}
    path = "/v1/audio/transcriptions"
    return service.post(service.make_key(), path, files=file, data=fields)


def last_input(api: JobApi) -> dict[str, Any]:
    found: dict[str, Any] = list(api.inputs.values())[-1]
    return found


def constant(path: str, name: str) -> Any:
    """The value of a constant in a worker's source, which only its own environment can import."""
    for node in ast.parse((SOURCES / path).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return ast.literal_eval(node.value)
    raise AssertionError(f"{path} has no {name}")


def test_openais_client_transcribes_and_speaks(client: OpenAI, api: JobApi) -> None:
    heard = client.audio.transcriptions.create(model="whisper", file=("a.wav", b"RIFF" * 100))
    assert heard.text == "bonjour"
    spoken = client.audio.speech.create(
        model="voice", voice="any", input="Bonjour", response_format="wav", speed=1.5
    )
    assert spoken.content == b"RIFF"
    assert spoken.response.headers["Content-Type"] == "audio/wav"
    assert last_input(api) == {"text": "Bonjour", "format": "wav", "speed": 1.5}


@pytest.mark.parametrize(
    ("style", "text"),
    [
        ("text", "bonjour"),
        ("srt", "srt of bonjour"),
        ("vtt", "vtt of bonjour"),
        ("json", '{"text":"bonjour"}'),
    ],
)
def test_a_transcription_has_the_form_that_was_asked_for(
    service: Gateway, style: str, text: str
) -> None:
    assert send(service, response_format=style).text == text


def test_a_verbose_transcription_tells_all_that_the_worker_does(service: Gateway) -> None:
    fields = {"response_format": "verbose_json", "timestamp_granularities[]": "word"}
    told = send(service, **fields).json()
    assert (told["task"], told["duration"], told["language"]) == ("transcribe", 12.5, "fr")
    assert send(service, response_format="poem").status_code == 400
    assert service.post(service.make_key(), "/v1/audio/transcriptions").status_code == 400


def test_every_field_that_is_sent_is_one_that_the_worker_takes(
    service: Gateway, api: JobApi, client: OpenAI
) -> None:
    fields = {"language": "fr", "response_format": "srt", "timestamp_granularities[]": "word"}
    send(service, **fields)
    known = constant("transcription/src/transcription_worker.py", "FIELDS")
    assert set(last_input(api)) == {"audio_base64", "language", "progress", "subtitles", "words"}
    assert set(last_input(api)) | {"audio_url"} <= set(known)
    client.audio.speech.create(model="voice", voice="any", input="Bonjour", speed=1.5)
    assert set(last_input(api)) <= set(constant("speech/src/speech_worker.py", "FIELDS"))
    assert set(AUDIO_TYPES) == set(constant("speech/src/sound.py", "FORMATS"))


def test_every_code_of_a_workers_refusal_is_known() -> None:
    codes = {
        constant("worker_core/refusals.py", "BAD_INPUT"),
        constant("worker_core/refusals.py", "TOO_LONG"),
        constant("translation/src/languages.py", "UNSUPPORTED_LANGUAGE"),
        constant("translation/src/translation_worker.py", "SAME_LANGUAGE"),
        constant("transcription/src/decoding.py", "BAD_AUDIO"),
        constant("transcription/src/audio_source.py", "BAD_URL"),
        constant("transcription/src/transcription_worker.py", "UNSUPPORTED_LANGUAGE"),
        constant("speech/src/speech_worker.py", "NOT_SPEAKABLE"),
    }
    assert codes == REFUSALS


def test_seconds_of_audio_are_counted_and_paid_for(service: Gateway) -> None:
    key = service.make_key()
    service.post(key, "/v1/audio/transcriptions", files={"file": ("a.wav", b"RIFF")})
    service.post(key, "/v1/audio/speech", json={"input": "Bonjour"})
    reader = service.make_key("--scope", "usage:read")
    headers = {"Authorization": f"Bearer {reader}"}

    def counted() -> Any:
        answer = requests.get(f"{service.url}/api/usage?by=key_id", headers=headers, timeout=10)
        rows = [row for row in answer.json()["usage"] if row["group"] == key.split("_")[2]]
        return rows[0] if rows and rows[0]["requests"] == 2 else None

    row = eventually(counted)
    assert row["units"] == 12.5 + 2.5
    assert row["price"] == pytest.approx(12.5 * 0.01 + 2.5 * 0.02)


def test_large_audio_is_fetched_by_its_worker_alone_and_then_deleted(
    service: Gateway, api: JobApi
) -> None:
    assert send(service, LARGE).json() == {"text": "bonjour"}
    assert api.fetched[-1] == LARGE
    url = last_input(api)["audio_url"]
    assert url.startswith("https://api.example.com/hooks/audio/")
    name = url.rpartition("/")[2]
    for guess in (name, name[:-1] + "x", "..%2fgateway.db", "x"):
        assert requests.get(f"{service.url}/hooks/audio/{guess}", timeout=10).status_code == 404
    assert list((service.folder / "uploads").iterdir()) == []


def test_what_is_kept_for_a_refused_job_is_deleted(service: Gateway, api: JobApi) -> None:
    api.refusal = (500, "no")
    assert send(service, LARGE).status_code == 503
    api.refusal = None
    assert list((service.folder / "uploads").iterdir()) == []


def test_audio_of_an_address_is_fetched_by_the_worker(service: Gateway, api: JobApi) -> None:
    url = "https://example.com/a.wav"
    assert send(service, b"", audio_url=url).json() == {"text": "bonjour"}
    assert last_input(api)["audio_url"] == url


def test_audio_over_the_limit_or_without_a_length_is_refused(
    service: Gateway, api: JobApi, tmp_path: Path
) -> None:
    assert send(service, LARGE + LARGE).status_code == 413
    unbounded = service.post(
        service.make_key(), "/v1/audio/transcriptions", data=iter([b"0", b"1"])
    )
    assert unbounded.status_code == 411
    plain = Gateway(tmp_path, CONFIG, **api.settings())
    plain.prepare()
    plain.start()
    refused = send(plain, LARGE)
    plain.stop()
    assert refused.status_code == 413
    assert "GATEWAY_UPLOADS" in refused.json()["error"]["message"]
