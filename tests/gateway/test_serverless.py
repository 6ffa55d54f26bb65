"""The gateway in front of a serverless endpoint whose worker runs the official SDK."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from podkit_sandbox import control
from tests.sandbox.sandboxes import Live
from tests.waiting import eventually

from .process import Gateway

pytestmark = pytest.mark.slow
SERVICE = Path(__file__).parent / "service"
LONG = 300
"""Seconds for the worker's installation and start on a busy machine."""
CONFIG = """
[models.nllb]
task = "translation"
backends = ["translation"]
languages = { fr = "fra_Latn", moore = "mos_Latn" }

[backends.translation]
kind = "runpod-job"
endpoint_name = "translation"
key_env = "RUNPOD_API_KEY"
"""
ENDPOINT = {
    "name": "translation",
    "type": "QUEUE",
    "image": "me/translation:1",
    "cpu": [{"id": "cpu5c", "vcpuCount": 4}],
    "workers": {"min": 0, "max": 1, "idleTimeout": 600},
    "scaling": {"type": "QUEUE_DELAY", "queueDelay": 1},
}


@pytest.fixture(scope="module")
def gateway_of_jobs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    sandbox = Live(tmp_path_factory.mktemp("cloud"))
    place = ["python", "-u", "handler.py"]
    control.place_service(sandbox.connection, "me/translation", SERVICE, place)
    made = sandbox.call("POST", "/serverless", json=ENDPOINT)
    assert made.status_code == 201, made.text
    url = sandbox.connection.api_url
    gateway = Gateway(
        tmp_path_factory.mktemp("gateway"),
        CONFIG,
        RUNPOD_API_KEY=sandbox.connection.api_key,
        GATEWAY_API_URL=url,
        GATEWAY_JOBS_URL=url,
    )
    gateway.prepare()
    gateway.start()
    yield gateway
    gateway.stop()
    control.stop(sandbox.folder)


def test_quick_slow_and_failed_jobs_of_a_real_worker(gateway_of_jobs: Gateway) -> None:
    gateway = gateway_of_jobs
    key = gateway.make_key()

    def translate(text: str, wait: int) -> Any:
        body = {"text": text, "src_lang": "fr", "tgt_lang": "moore"}
        headers = {"Prefer": f"wait={wait}"}
        return gateway.post(key, "/v1/translate", json=body, headers=headers)

    def show(path: str) -> Any:
        headers = {"Authorization": f"Bearer {key}"}
        return requests.get(gateway.url + path, headers=headers, timeout=10).json()

    first = translate("bonjour", 0)  # its worker is installed now
    path = first.headers["Location"]
    eventually(lambda: show(path)["status"] == "completed", LONG, every=0.5)
    assert show(path)["result"]["text"] == "BONJOUR"

    quick = translate("bonsoir", 40)
    assert (quick.status_code, quick.json()["text"]) == (200, "BONSOIR")

    slow = translate("slowly", 0)
    assert slow.status_code == 202
    eventually(lambda: show(slow.headers["Location"])["status"] == "completed", LONG)

    failed = translate("badly", 40)
    assert failed.status_code == 502
    assert "badly" not in failed.text
    assert "Traceback" not in failed.text
    assert show(f"/v1/jobs/{failed.json()['error']['message'].split()[2]}")["status"] == "failed"
