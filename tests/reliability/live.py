"""A real sandbox process and real podkit processes,
from copies of the checkout whose pods serve within a second, and log what their boots taught.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from podkit_sandbox import control

ROOT = Path(__file__).resolve().parents[2]
POD = """
import http.server, json, os, threading

class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer()

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer()

    def answer(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"choices": [1], "token": "t"}')

    def log_message(self, *_):
        pass

memory = {"gpu": "g", "gpu_mib": 46080, "utilization": 0.9, "vllm": "0.32.1", "flags": "f"}
memory["overhead_at_least_gib"] = 1
lesson = {"at": "2026", "pod": os.environ["RUNPOD_POD_ID"], "model": "m", "memory": memory}
print("podkit: learned", json.dumps(lesson), flush=True)
for name in ("PODKIT_API_PORT", "PODKIT_WEBUI_PORT"):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ[name])), Answer)
    threading.Thread(target=server.serve_forever).start()
"""
START = f"exec python3 -c '{POD.replace(chr(39), chr(39) + chr(92) + chr(39) * 2)}'"
VALUES = {
    **dict.fromkeys(("REPO", "REVISION", "SERVED_NAMES"), "test"),
    **dict.fromkeys(("WEIGHTS_GIB", "KV_BYTES_PER_TOKEN", "MAX_LEN", "GPU_UTILIZATION"), "1"),
    "PROBE": "image",
}
MODEL = "".join(f'export MODEL_{name}="{value}"\n' for name, value in VALUES.items())


def own_environment() -> dict[str, str]:
    """This process's environment without podkit's settings; a sandbox ends with this process."""
    kept = {"PODKIT_SANDBOX_OWNER": str(os.getpid())}
    for name, value in os.environ.items():
        if not name.startswith(("RUNPOD_", "PODKIT_")):
            kept[name] = value
    return kept


class LiveSandbox:
    """One running sandbox, and what its API says behind podkit's back."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.connection = control.start(folder)
        self._session = requests.Session()
        self._session.headers["Authorization"] = f"Bearer {self.connection.api_key}"

    def scenario(self, rules: Iterable[Any] = (), **more: Any) -> None:
        url = self.connection.api_url.removesuffix("/v2") + "/sandbox/scenario"
        assert (
            self._session.post(url, json={"rules": list(rules), **more}, timeout=10).status_code
            == 200
        )

    def alive(self) -> dict[str, str]:
        """Name by id of every pod there is. Ends the scenario."""
        self.scenario()
        pods = self._session.get(f"{self.connection.api_url}/pods", timeout=10).json()["pods"]
        return {pod["id"]: pod["name"] for pod in pods}

    def create(self, name: str) -> str:
        """Somebody else's pod: its id."""
        body = {
            "name": name,
            "image": "any",
            "dataCenterIds": ["EU-RO-1"],
            "gpu": {"id": "NVIDIA L40S", "count": 1},
        }
        body |= {
            "ports": ["8000/http", "3000/http"],
            "entrypoint": ["/bin/bash", "-c"],
            "cmd": [START],
        }
        return str(
            self._session.post(f"{self.connection.api_url}/pods", json=body, timeout=10).json()[
                "id"
            ]
        )

    def clear(self) -> None:
        for pod_id in self.alive():
            self._session.delete(f"{self.connection.api_url}/pods/{pod_id}", timeout=10)


@dataclass
class Checkout:
    """A copy of the checkout, with its own .env, lock and, if it is told --sandbox,
    its own sandbox.
    """

    root: Path

    def forget(self) -> None:
        """As if it had made no pod: its sandbox has been cleared behind its back."""
        for file in (self.root / ".podkit").glob("made-*.json"):
            file.unlink()

    @classmethod
    def new(cls, root: Path) -> Checkout:
        for package in ("podkit", "podkit_sandbox"):
            shutil.copytree(
                ROOT / package, root / package, ignore=shutil.ignore_patterns("__pycache__")
            )
        (root / "startup").mkdir()
        (root / "startup/start.sh").write_text(START)
        (root / "startup/startup_olmocr.sh").write_text(MODEL)
        return cls(root)

    @property
    def pid_file(self) -> Path:
        return self.root / "deploy.pid"

    def start(self, *arguments: str, **env: str) -> subprocess.Popen[str]:
        """A podkit command on its way; its process id is in `pid_file` before it does anything."""
        noted = ["/bin/sh", "-c", 'echo $$ >"$0" && exec "$@"', str(self.pid_file)]
        return subprocess.Popen(
            [*noted, sys.executable, "-P", "-m", "podkit", *arguments],
            cwd=self.root,
            env={**own_environment(), "PYTHONPATH": str(self.root), **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, **env: str) -> Ended:
        return Ended.of(self.start(*arguments, **env))


@dataclass(frozen=True)
class Ended:
    """A command that has ended."""

    code: int
    out: str
    said: str

    @classmethod
    def of(cls, process: subprocess.Popen[str]) -> Ended:
        out, said = process.communicate(timeout=120)
        return cls(process.returncode, out, said)

    @property
    def pod_id(self) -> str:
        return str(json.loads(self.out.splitlines()[-1])["pod"]["id"])
