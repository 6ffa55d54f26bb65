"""The whole path of a serverless endpoint, as a new user goes it from a bare clone: the real worker
under the official SDK, with a stand-in for its model."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from subprocess import CompletedProcess
from typing import Any

import psutil
import pytest

from podkit.jobs import Jobs
from tests.clones import Clone

pytestmark = pytest.mark.slow
SANDBOX = "--sandbox"
LOOK_SECONDS = 0.2
INPUT = {"text": ["Bonjour.", "Le marché ouvre."], "src_lang": "fr", "tgt_lang": "moore"}
CANARY = "hf_a-canary-that-sings"


@pytest.fixture
def fresh(clone: Clone) -> Iterator[Clone]:
    """A clone with no sandbox running, and no call recorded."""
    clone.run("podkit.sh", "sandbox", "stop")
    clone.record.unlink(missing_ok=True)
    config = clone.root / "runpod-config.json"
    before = config.read_text()
    yield clone
    config.write_text(before)
    clone.run("podkit.sh", "sandbox", "stop")


def verb(clone: Clone, *arguments: str) -> CompletedProcess[str]:
    """A verb that succeeds."""
    ended = clone.run("podkit.sh", "serverless", *arguments, SANDBOX, env={"HF_TOKEN": CANARY})
    assert ended.returncode == 0, ended.stderr
    return ended


def shown(clone: Clone, *arguments: str) -> Any:
    """What programs get of a verb that succeeds."""
    return json.loads(verb(clone, *arguments, "--json").stdout.splitlines()[-1])


def writes(clone: Clone) -> list[tuple[str, Any]]:
    """Method and body of each call that changed something of an endpoint."""
    found = []
    for line in clone.record.read_text().splitlines():
        method, path, _, body, _, _ = json.loads(line)
        if method != "GET" and path.startswith("/v2/serverless"):
            found.append((method, json.loads(body) if body else None))
    return found


def rewrite(clone: Clone, **changes: Any) -> None:
    file = clone.root / "runpod-config.json"
    config = json.loads(file.read_text())
    config["translation_endpoint"].update(changes)
    file.write_text(json.dumps(config))


@contextmanager
def jobs_going_on(clone: Clone, endpoint_id: str) -> Iterator[list[Any]]:
    """Somebody else's jobs, one after the other; their outputs, or what went wrong."""
    state = json.loads((clone.root / ".podkit/sandbox/state.json").read_text())
    jobs = Jobs(endpoint_id, state["api_key"], url=state["api_url"], timeout=120)
    ended: list[Any] = []
    enough = threading.Event()

    def go_on() -> None:
        while not enough.is_set():
            try:
                ended.append(jobs.run(INPUT))
            except Exception as error:
                ended.append(error)
            time.sleep(0.2)  # the pace of a client; nothing here waits for it

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield ended
    finally:
        enough.set()
        thread.join()


@contextmanager
def command_lines() -> Iterator[set[str]]:
    """What everybody on this machine can see of each process that is seen meanwhile."""
    seen: set[str] = set()
    enough = threading.Event()

    def look() -> None:
        while not enough.wait(LOOK_SECONDS):
            for process in psutil.process_iter():
                with suppress(psutil.Error):
                    seen.add(" ".join(process.cmdline()))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        enough.set()
        thread.join()


def test_a_new_user_deploys_changes_goes_back_and_deletes(fresh: Clone) -> None:
    rewrite(fresh, env={"RUNPOD_LOG_LEVEL": "INFO", "HF_TOKEN": "${HF_TOKEN}"})
    made = fresh.run("deploy_translation.sh", SANDBOX, env={"HF_TOKEN": CANARY})
    assert made.returncode == 0, made.stderr
    endpoint_id = made.stdout.split()[0]
    assert "the model is a small stand-in with random weights" in made.stderr
    assert "the first job took" in made.stderr

    answer = json.loads(verb(fresh, "run", "--input", json.dumps(INPUT)).stdout)
    assert len(answer["translations"]) == 2
    assert answer["model"]["repo"] == "podkit/sandbox-random"

    before = writes(fresh)
    assert shown(fresh, "deploy")["action"] == "unchanged"
    assert writes(fresh) == before

    with jobs_going_on(fresh, endpoint_id) as ended, command_lines() as seen:
        rewrite(fresh, image="ghcr.io/your-name/translation:2")
        changed = shown(fresh, "deploy")
        assert (changed["endpoint"]["id"], changed["version"]) == (endpoint_id, 2)
        back = shown(fresh, "rollback")
        assert (back["endpoint"]["id"], back["version"]) == (endpoint_id, 3)
    key = json.loads((fresh.root / ".podkit/sandbox/state.json").read_text())["api_key"]
    for part in ("serverless deploy", "serverless rollback", "podkit_sandbox", "handler.py"):
        assert any(part in line for line in seen), part
    assert not [line for line in seen if CANARY in line or key in line]
    assert len(ended) > 1
    assert [one for one in ended if isinstance(one, Exception)] == []
    assert writes(fresh)[len(before) :] == [
        ("PATCH", {"image": "ghcr.io/your-name/translation:2"}),
        ("PATCH", {"image": "ghcr.io/your-name/translation:1"}),
    ]

    for file in (fresh.root / ".podkit").rglob("*"):
        if file.is_file() and file.name != "calls.jsonl":
            with suppress(FileNotFoundError):  # it is gone since
                assert CANARY.encode() not in file.read_bytes(), file
    assert CANARY not in made.stdout + made.stderr

    verb(fresh, "delete", "translation", "--yes")
    assert shown(fresh, "list")["endpoints"] == []
