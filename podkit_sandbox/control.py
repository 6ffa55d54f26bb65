"""Starts, stops and finds the sandbox's background process. Must never touch a process that is not the sandbox's."""

import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import psutil

START_SECONDS = 30.0
STOP_SECONDS = 30.0  # pods have ten to end


@dataclass(frozen=True)
class Connection:
    """Where a running sandbox answers: `api_url` ends in /v2."""

    api_url: str
    api_key: str
    pid: int


class SandboxError(Exception):
    """The sandbox could not be started or changed; the text says what to do."""


def status(state_dir: Path) -> Connection | None:
    """The running sandbox of that folder."""
    state = _state(state_dir)
    return Connection(state["api_url"], state["api_key"], state["pid"]) if state else None


def start(state_dir: Path, *, scenario: Path | None = None, real_webui: bool = False) -> Connection:
    """Starts the sandbox, or finds it running (a scenario is then handed to it). Raises SandboxError."""
    root = state_dir.resolve()
    with _turn(root):
        state = _state(root)
        if state is None:
            return _launch(root, scenario, real_webui)
    if real_webui and not state["real_webui"]:
        raise SandboxError("The sandbox runs without the real Open WebUI. First: ./podkit.sh sandbox stop")
    connection = Connection(state["api_url"], state["api_key"], state["pid"])
    if scenario:
        _post_scenario(connection, scenario)
    return connection


def stop(state_dir: Path) -> bool:
    """Ends the sandbox and every process of its pods; whether it was running."""
    from podkit_sandbox.processes import sweep

    root = state_dir.resolve()
    if not root.is_dir():
        return False
    with _turn(root):
        state = _state(root)
        if state:
            process = psutil.Process(state["pid"])
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except psutil.TimeoutExpired:
                process.kill()
        (root / "state.json").unlink(missing_ok=True)
        sweep(root)
    return state is not None


def _state(root: Path) -> dict[str, Any] | None:
    """The state file's content while its process lives."""
    try:
        state: dict[str, Any] = json.loads((root / "state.json").read_text())
        process = psutil.Process(state["pid"])
        # the boot time that a creation time is counted from may move a little
        alive = abs(process.create_time() - state["created"]) < 2 and process.status() != psutil.STATUS_ZOMBIE
    except (OSError, ValueError, KeyError, psutil.Error):
        return None
    return state if alive else None


@contextmanager
def _turn(root: Path) -> Iterator[None]:
    """One start or stop at a time."""
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (root / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _launch(root: Path, scenario: Path | None, real_webui: bool) -> Connection:
    (root / "state.json").unlink(missing_ok=True)
    log = root / "sandbox.log"
    command = [sys.executable, "-m", "podkit_sandbox", "--dir", str(root)]
    command += ["--scenario", str(scenario.resolve())] if scenario else []
    command += ["--real-webui"] if real_webui else []
    here = str(Path(__file__).resolve().parent.parent)
    with log.open("w") as stream:
        process = subprocess.Popen(
            command,
            cwd=root,
            env={**os.environ, "PYTHONPATH": here},
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    until = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < until:
        if connection := status(root):  # written when its socket listens already
            return connection
        time.sleep(0.05)
    process.kill()
    last = (log.read_text().strip().splitlines() or ["no output"])[-1]
    raise SandboxError(f"The sandbox did not start: {last} (its log: {log})")


def _post_scenario(connection: Connection, scenario: Path) -> None:
    headers = {"Authorization": f"Bearer {connection.api_key}", "Content-Type": "application/json"}
    url = connection.api_url.removesuffix("/v2") + "/sandbox/scenario"
    try:
        request = Request(url, scenario.read_bytes(), {**headers, "User-Agent": "podkit-sandbox"})  # noqa: S310
        urlopen(request, timeout=10).close()  # noqa: S310 - loopback
    except HTTPError as error:
        raise SandboxError(f"{scenario}: {json.loads(error.read())['detail']}") from error
    except OSError as error:
        raise SandboxError(f"{scenario}: {error}") from error
