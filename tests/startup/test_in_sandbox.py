"""Pods in the sandbox that end themselves, with nobody left who deployed them."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from podkit.models.spec import pack
from podkit.runpod.types import PodSpec, create_body
from podkit_sandbox import control
from tests.pod_processes import processes_of
from tests.startup.local_pod import STARTUP
from tests.waiting import eventually

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[control.Connection]:
    folder = tmp_path_factory.mktemp("sandbox")
    yield control.start(folder)
    control.stop(folder)


def call(sandbox: control.Connection, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    headers = {
        "Authorization": f"Bearer {sandbox.api_key}",
        "User-Agent": "test",
        "Content-Type": "application/json",
    }
    data = json.dumps(body).encode() if body else None
    request = urllib.request.Request(sandbox.api_url + path, data, headers, method=method)  # noqa: S310 - loopback
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            return int(answer.status), json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, None


def deploy(sandbox: control.Connection, **limits: str) -> str:
    """The id of a new olmocr pod."""
    volume = call(sandbox, "GET", "/network-volumes")[1]["networkVolumes"][0]["id"]
    env = {
        "STARTUP_B64": pack(STARTUP),
        "PODKIT_MODEL": "olmocr",
        "PODKIT_API_KEY": "key",
        "WEBUI_ADMIN_EMAIL": "admin@podkit.local",
        "WEBUI_ADMIN_PASSWORD": "correct horse",
        "WEBUI_SECRET_KEY": "ab" * 32,
        "PODKIT_IDLE_MINUTES": "30",
        "PODKIT_BOOT_MINUTES": "5",
        **limits,
    }
    name = f"podkit-olmocr-{time.monotonic_ns():x}"
    command = (STARTUP / "start.sh").read_text()
    body = create_body(PodSpec(name, "NVIDIA L40S", "EU-RO-1", volume, command, env))
    status, pod = call(sandbox, "POST", "/pods", body)
    assert status == 201
    return str(pod["id"])


def is_gone(sandbox: control.Connection, pod: str) -> bool:
    return bool(call(sandbox, "GET", f"/pods/{pod}")[0] == 404)


def test_an_idle_pod_ends_itself_and_leaves_its_checkpoint_on_the_volume(
    sandbox: control.Connection,
) -> None:
    pod = deploy(sandbox, PODKIT_IDLE_MINUTES="0.05")
    eventually(lambda: is_gone(sandbox, pod))
    checkpoints = Path(sandbox_folder(sandbox)).glob("volumes/*/hf_cache/allenai--*/config.json")
    assert len(list(checkpoints)) == 1


def sandbox_folder(sandbox: control.Connection) -> str:
    command = psutil.Process(sandbox.pid).cmdline()
    return command[command.index("--dir") + 1]


def kill_first_process(pod: str) -> set[int]:
    """Ends the pod's container, if one runs; the id of the process that was its first."""
    with suppress(psutil.Error):
        first = [process for process in processes_of(pod) if "\n" in "".join(process.cmdline())]
        if first:
            oldest = min(first, key=lambda process: process.create_time())
            oldest.kill()
            return {oldest.pid}
    return set()


def test_containers_that_restart_for_ever_do_not_outlive_the_end_time(
    sandbox: control.Connection,
) -> None:
    ends = int(time.time()) + 20
    words = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(ends))
    pod = deploy(sandbox, PODKIT_ENDS_AT=words)
    killed: set[int] = set()

    def ends_however_often_it_restarts() -> bool:
        if len(killed) < 2 or time.time() < ends - 5:
            killed.update(kill_first_process(pod))
        return is_gone(sandbox, pod)

    eventually(ends_however_often_it_restarts, every=0.2)
    assert time.time() >= ends
    assert len(killed) >= 2
