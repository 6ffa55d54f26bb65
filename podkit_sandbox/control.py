"""Starts, stops and finds the sandbox's background process. Must never touch another."""

import fcntl
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from subprocess import DEVNULL, Popen
from typing import Any
from urllib.parse import urlsplit

START_SECONDS = 30.0
STOP_SECONDS = 12.0  # pods have ten of them; what is left then is killed


@dataclass(frozen=True)
class Connection:
    """Where a running sandbox answers: `api_url` ends in /v2."""

    api_url: str
    api_key: str
    pid: int


class SandboxError(Exception):
    """The sandbox could not be started or changed; the text says what to do."""


def status(state_dir: Path) -> Connection | None:
    """The running sandbox of that folder: the one that answers to the key of its state file."""
    try:
        state = json.loads((state_dir / "state.json").read_text())
        found = Connection(state["api_url"], state["api_key"], state["pid"])
        answer = _ask(found, "GET")
    except (OSError, ValueError, KeyError, HTTPException):
        return None
    return None if answer else found


def start(state_dir: Path, *, scenario: Path | None = None, real_webui: bool = False) -> Connection:
    """Starts the sandbox, or finds it running, and hands it the scenario. Raises SandboxError."""
    root = state_dir.resolve()
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (root / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one start or stop at a time
        found = status(root) or _launch(root, real_webui)
        if real_webui and not json.loads((root / "state.json").read_text())["real_webui"]:
            raise SandboxError(
                "The sandbox runs without the real Open WebUI. First: ./podkit.sh sandbox stop",
            )
    if scenario:
        refusal = _ask(found, "POST", scenario.read_bytes()).get("detail")
        if refusal:
            raise SandboxError(f"{scenario}: {refusal}")
    return found


def place_service(
    connection: Connection,
    image: str,
    folder: Path,
    command: Sequence[str] = (),
) -> None:
    """Has serverless workers of this image run the service in that folder. Raises SandboxError.

    An image without a tag stands for all its tags. Without a command it is the sandbox's usual one.
    """
    service = {"image": image, "folder": str(folder.resolve()), "command": list(command)}
    body = json.dumps(service).encode()
    refusal = _ask(connection, "POST", body, "/sandbox/images").get("detail")
    if refusal:
        raise SandboxError(f"{folder}: {refusal}")


def stop(state_dir: Path) -> bool:
    """Ends the sandbox and every process of its pods; whether it was running."""
    import psutil  # slow to import

    from podkit_sandbox.processes import sweep

    root = state_dir.resolve()
    if not root.is_dir():
        return False
    with (root / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = status(root)
        if found:
            process = psutil.Process(found.pid)
            process.terminate()
            _, alive = psutil.wait_procs([process], STOP_SECONDS)
            if alive:
                process.kill()
        (root / "state.json").unlink(missing_ok=True)
        sweep(root)
    return found is not None


def _launch(root: Path, real_webui: bool) -> Connection:
    command = [sys.executable, "-m", "podkit_sandbox", "--dir", str(root)]
    if real_webui:
        command.append("--real-webui")
    log = root / "sandbox.log"
    here = Path(__file__).resolve().parent.parent
    with log.open("w") as out:
        process = Popen(
            command,
            cwd=here,
            stdin=DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    until = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < until:
        found = status(root)
        if found:
            return found
        time.sleep(0.05)
    process.kill()
    said = log.read_text().strip().splitlines() or ["no output"]
    raise SandboxError(f"The sandbox did not start: {said[-1]} (its log: {log})")


def _ask(
    connection: Connection,
    method: str,
    body: bytes = b"",
    path: str = "/sandbox/scenario",
) -> Any:
    """The sandbox's answer to a call of its own, which no fault concerns.

    It is an empty object, or a problem.
    """
    link = HTTPConnection(urlsplit(connection.api_url).netloc, timeout=10)
    headers = {"Authorization": f"Bearer {connection.api_key}", "Content-Type": "application/json"}
    link.request(method, path, body, headers)
    return json.loads(link.getresponse().read())
