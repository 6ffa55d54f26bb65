"""A service's worker as a process: the venv of its own requirements, and its handler with the
official SDK.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from podkit.lock import hold_lock

from .job_api import JobApi

ROOT = Path(__file__).resolve().parents[2]
SERVICES = ROOT / "services"
UV = Path(sys.prefix) / "bin/uv"


def make_venv(*requirements: Path) -> Path:
    """Python of a venv that holds exactly `requirements`, which have hashes. Made once for each
    content.
    """
    content = b"".join(path.read_bytes() for path in requirements) + sys.version.encode()
    folder = ROOT / ".podkit/services" / hashlib.sha256(content).hexdigest()[:16]
    python = folder / "bin/python"
    ready = folder / "ready"
    with hold_lock(folder.with_suffix(".lock"), lambda: None):  # each worker of a run comes here
        if not ready.exists():
            shutil.rmtree(folder, ignore_errors=True)
            _uv("venv", "--quiet", "--python", sys.executable, str(folder))
            for path in requirements:
                install = ["pip", "install", "--quiet", "--require-hashes"]
                _uv(*install, "--python", str(python), "-r", str(path))
            ready.touch()
    return python


def _uv(*arguments: str) -> None:
    subprocess.run([str(UV), *arguments], check=True, cwd=ROOT)


class Worker:
    """A running worker with its job API."""

    def __init__(self, api: JobApi, process: subprocess.Popen[bytes], log: Path) -> None:
        self.api = api
        self.process = process
        self.home = log.parent
        self._log = log

    def log(self) -> str:
        return self._log.read_text(encoding="utf-8")

    def is_alive(self) -> bool:
        return self.process.poll() is None


@contextmanager
def running_worker(
    service: str,
    python: Path,
    model: Path,
    folder: Path,
    **environment: str,
) -> Iterator[Worker]:
    """The worker of `service` with the model in `model`."""
    command = [str(python), str(SERVICES / service / "src/handler.py")]
    with running_process(command, folder, MODEL_DIR=str(model), **environment) as worker:
        yield worker


@contextmanager
def running_process(command: list[str], folder: Path, **environment: str) -> Iterator[Worker]:
    """A worker started with `command`; `folder` takes its log and is its home. Ended with its
    children.
    """
    api = JobApi()
    api.start()
    log = folder / "worker.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env={"PATH": os.environ["PATH"], **api.environment(str(folder)), **environment},
            cwd=folder,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield Worker(api, process, log)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        api.stop()
