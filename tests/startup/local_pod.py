"""A pod without a platform: start.sh as a real process, the sandbox's shims in PATH, and an API
that ends it.
"""

import contextlib
import http.server
import json
import shlex
import shutil
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import psutil

from podkit.models.spec import pack
from podkit_sandbox.programs import write_shims
from tests.ports import free_port
from tests.waiting import LONG

STARTUP = Path(__file__).parents[2] / "startup"

KEY = "sk-podkit-test"


class Platform(http.server.ThreadingHTTPServer):
    """Records what a pod asks for, and answers `answers` in turn, then 204."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.calls: list[tuple[str, str, str]] = []
        self.times: list[float] = []
        self.headers: list[dict[str, str]] = []
        self.answers: list[int] = []
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()


class Handler(http.server.BaseHTTPRequestHandler):
    server: Platform

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._answer(body.get("action") or body["query"])

    def do_DELETE(self) -> None:
        self._answer("")

    def _answer(self, asked: str) -> None:
        self.server.times.append(time.time())
        self.server.calls.append((self.command, self.path, asked))
        self.server.headers.append(dict(self.headers))
        status = self.server.answers.pop(0) if self.server.answers else 204
        self.send_response(status)
        if 300 <= status < 400:
            self.send_header("Location", f"http://localhost:{self.server.server_port}/elsewhere")
        self.end_headers()

    def log_message(self, *_: Any) -> None: ...


class Pod:
    """One pod's folders, environment and process 1."""

    def __init__(self, root: Path, platform: Platform) -> None:
        self.root = root
        self.platform = platform
        self.local = root / "local"
        self.volume = root / "volume"
        self.log = root / "log"
        self.volume.mkdir(exist_ok=True)
        (root / "bin").mkdir()
        write_shims(root / "shims")
        self.process: subprocess.Popen[bytes] | None = None
        self.env = {
            "PATH": f"{root / 'bin'}:{root / 'shims'}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(root),
            "PODKIT_SHIMS": str(root / "shims"),
            "PODKIT_LOCAL": str(self.local),
            "PODKIT_VOLUME": str(self.volume),
            "PODKIT_API_PORT": str(free_port()),
            "PODKIT_WEBUI_PORT": str(free_port()),
            "PODKIT_GRACE_SECONDS": "0.2",
            "PODKIT_MIN_FREE_GIB": "0.1",
            "PODKIT_MODEL": "qwen3vl",
            "PODKIT_API_KEY": KEY,
            "PODKIT_ENDS_AT": "",
            "PODKIT_IDLE_MINUTES": "30",
            "PODKIT_BOOT_MINUTES": "5",
            "WEBUI_ADMIN_EMAIL": "admin@podkit.local",
            "WEBUI_ADMIN_PASSWORD": "correct horse",
            "WEBUI_SECRET_KEY": "ab" * 32,
            "HF_TOKEN": "hf_secret",
            "RUNPOD_POD_ID": "pod1",
            "RUNPOD_API_KEY": "rp_secret",
            "RUNPOD_API_URL": f"http://127.0.0.1:{platform.server_port}/v2",
            "RUNPOD_VOLUME_ID": "vol1",
            "STARTUP_B64": pack(STARTUP),
        }

    def program(self, name: str, text: str) -> None:
        """Puts a program of this name first in PATH."""
        path = self.root / "bin" / name
        path.write_text(text)
        path.chmod(0o755)

    def uses_script(self, text: str) -> None:
        """Has the model's script be `text`."""
        folder = self.root / "startup"
        shutil.copytree(STARTUP, folder)
        (folder / f"startup_{self.env['PODKIT_MODEL']}.sh").write_text(text)
        self.env["STARTUP_B64"] = pack(folder)

    def instead_of(self, venv: str, program: str, text: str) -> None:
        """Has `program` of that environment replaced, once uv has installed it, by a script that
        runs `text`.
        """
        target = self.local / venv / "bin" / program
        self.program(program, f"#!/bin/bash\n{text}\n")
        paths = shlex.quote(f"{self.root}/bin/{program}"), shlex.quote(str(target))
        # Several uv run at once, and a file that is being written cannot be run.
        draft = f"{paths[1]}.$$"
        copy = f"if [[ -e {paths[1]} ]]; then cp {paths[0]} {draft} && mv {draft} {paths[1]}; fi"
        self.program("uv", f'#!/bin/bash\n{shlex.quote(f"{self.root}/shims/uv")} "$@"\n{copy}\n')

    def start(self, *prefix: str) -> "Pod":
        command = [*prefix, "/bin/bash", "-c", (STARTUP / "start.sh").read_text()]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, env=self.env, stdout=log, stderr=log, cwd=self.root
            )
        return self

    def wait_for(self, text: str, seconds: float = LONG) -> str:
        """The log, once it holds `text`."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if text in (log := self.log.read_text(errors="replace")):
                return log
            time.sleep(0.05)
        raise AssertionError(f"no {text!r} in the log:\n{self.log.read_text(errors='replace')}")

    def ready(self) -> "Pod":
        self.wait_for("phase=ready event=done")
        return self

    def ended(self) -> str:
        """The log, once the platform was asked to end the pod."""
        return self.wait_for("terminate: HTTP 204")

    def find(self, *words: str) -> list[psutil.Process]:
        """The pod's processes whose command line has all of `words`."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                ours = process.environ().get("PODKIT_LOCAL") == str(self.local)
                line = " ".join(
                    argument for argument in process.cmdline() if "\n" not in argument
                )  # not start.sh
                if ours and all(word in line for word in words):
                    found.append(process)
        return found

    def stop(self) -> int:
        """SIGTERM to process 1, as the platform does. Returns its status."""
        assert self.process
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(LONG)

    def kill(self) -> None:
        for process in self.find():
            with contextlib.suppress(psutil.Error):
                process.kill()
        if self.process:
            self.process.wait(LONG)


def get(pod: Pod, path: str, key: str = "") -> int:
    url = f"http://127.0.0.1:{pod.env['PODKIT_API_PORT']}{path}"
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {key}"} if key else {})
    try:
        return int(urllib.request.urlopen(request, timeout=LONG).status)  # noqa: S310 - loopback
    except urllib.error.HTTPError as error:
        return error.code
