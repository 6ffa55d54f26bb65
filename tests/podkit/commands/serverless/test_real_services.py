"""`serverless test` and `serverless eval` with the real workers of services/, whose models are
small and random: what is shown is that the promises hold and that scores are counted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import podkit
from podkit_sandbox import control
from tests.sandbox.sandboxes import Live

pytestmark = pytest.mark.slow
LONG = 570.0  # seconds, for an installation and jobs on a busy machine
SERVICES = podkit.ROOT / "services"


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    sandbox = Live(tmp_path_factory.mktemp("services"))
    yield sandbox
    control.stop(sandbox.folder)


def serve(live: Live, name: str) -> str:
    """The id of an endpoint whose workers run this service."""
    control.place_service(live.connection, f"me/{name}", SERVICES / name, [])
    body = {
        "name": name,
        "type": "QUEUE",
        "image": f"me/{name}:1",
        "cpu": [{"id": "cpu5c", "vcpuCount": 4}],
        "workers": {"min": 0, "max": 1, "idleTimeout": 600},
        "scaling": {"type": "QUEUE_DELAY", "queueDelay": 4},
        "env": {"THREADS": "1"},
    }
    return str(live.call("POST", "/serverless", json=body).json()["id"])


def verb(live: Live, *arguments: str) -> Any:
    """What programs get of a verb of podkit's, which must succeed."""
    connection = live.connection
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(live.folder),
        "RUNPOD_API_URL": connection.api_url,
        "RUNPOD_JOBS_URL": connection.api_url,
        "RUNPOD_API_KEY": connection.api_key,
    }
    done = subprocess.run(
        [sys.executable, "-m", "podkit", "serverless", *arguments, "--json"],
        capture_output=True,
        text=True,
        env=env,
        cwd=podkit.ROOT,
        timeout=LONG,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def passed(told: Any) -> bool:
    """Whether every check has passed, but for a cancel that came too late."""
    outcomes = {one["name"]: one["outcome"] for one in told["verdicts"]}
    outcomes.pop("cancel")
    return set(outcomes.values()) == {"ok"}


def test_the_translation_worker_keeps_its_promises_and_is_scored(
    live: Live, tmp_path: Path
) -> None:
    endpoint = serve(live, "translation")
    given = SERVICES / "translation/test_input.json"
    told = verb(live, "test", endpoint, "--file", str(given))
    assert passed(told), told
    assert told["kind"] == "translation"
    pairs = tmp_path / "pairs.tsv"
    pairs.write_text("Bonjour.\tBonjour.\nIl pleut.\tIl pleut.\n")
    kept = tmp_path / "kept"
    asked = ("eval", endpoint, "--tsv", str(pairs), "--from", "fr", "--to", "moore")
    first = verb(live, *asked, "--keep", str(kept))
    assert [score["cases"] for score in first["scores"]] == [2, 2]
    assert (kept / "fr-moore.jsonl").exists()
    again = verb(live, *asked, "--keep", str(tmp_path / "again"), "--against", str(kept))
    assert [change["share"] for change in again["changed"]] == [0, 0]


def test_a_voice_is_heard_by_the_transcription_worker(live: Live, tmp_path: Path) -> None:
    speech = serve(live, "speech")
    transcription = serve(live, "transcription")
    assert passed(verb(live, "test", speech, "--file", str(SERVICES / "speech/test_input.json")))
    given = SERVICES / "transcription/test_input.json"
    assert passed(verb(live, "test", transcription, "--file", str(given)))
    sentences = tmp_path / "sentences.txt"
    sentences.write_text("Ne y windiga.\n")
    asked = ("eval", speech, "--sentences", str(sentences), "--through", transcription)
    told = verb(live, *asked, "--keep", str(tmp_path / "kept"))
    (score,) = told["scores"]
    assert (score["way"], score["cases"]) == ("text-speech-text", 1)
    assert 0 <= score["score"] <= 100
