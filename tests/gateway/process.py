"""A real gateway with a folder of its own for its data: in a thread of the tests, which starts at
once, or as a process, which takes seconds.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import requests
import uvicorn
import uvloop
from click.testing import CliRunner, Result

from podkit_gateway import cli_admin, cli_data
from podkit_gateway.app import make_app
from podkit_gateway.cli import cli
from podkit_gateway.errors import GatewayError
from podkit_gateway.logs import open_log
from podkit_gateway.server import make_server
from podkit_gateway.settings import Settings, load_settings
from tests.ports import free_port
from tests.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "correct horse battery"
REGISTERED = (cli_admin, cli_data)
"""Importing them adds their commands to `cli`."""


def answers(url: str) -> bool:
    """Whether somebody answers there, with success."""
    try:
        return requests.get(url, timeout=5).ok
    except requests.RequestException:
        return False


class Gateway:
    """One gateway in a thread, on real sockets, and the commands beside it."""

    def __init__(self, folder: Path, config: str = "", **settings: str) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.config = folder / "gateway.toml"
        self.port = free_port()
        self.metrics_port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log_path = folder / f"log-{self.port}"
        self.database = folder / "gateway.db"
        self._server: uvicorn.Server | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self.environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "GATEWAY_DATABASE_URL": f"sqlite+aiosqlite:///{self.database}",
            "GATEWAY_CONFIG": str(self.config),
            "GATEWAY_PORT": str(self.port),
            "GATEWAY_METRICS_PORT": str(self.metrics_port),
            "GATEWAY_PUBLIC_URL": self.url,
            "GATEWAY_DEFAULT_REQUESTS_PER_MINUTE": "0",
            "GATEWAY_DEFAULT_PARALLEL": "2000",
            **settings,
        }
        if config:
            self.config.write_text(config, encoding="utf-8")

    @property
    def settings(self) -> Settings:
        return load_settings(self.environment)

    def quickly(self, *words: str, text: str = "") -> str:
        """What a command prints, run in this process: starting another takes seconds."""
        ended = self.invoke(*words, text=text)
        assert ended.exit_code == 0, (ended.output, ended.exception)
        return ended.stdout.strip()

    def refused(self, *words: str) -> str:
        """Why a command cannot be done."""
        ended = self.invoke(*words)
        assert isinstance(ended.exception, GatewayError | ValueError), ended.output
        return str(ended.exception)

    def invoke(self, *words: str, text: str = "") -> Result:
        """A command in this process. In a thread of its own, as the browser's tests have an event
        loop in theirs.
        """
        backends_keys = {}
        for name, value in self.environment.items():
            if not name.startswith("GATEWAY_"):
                backends_keys[name] = value
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(
                lambda: CliRunner(env=backends_keys).invoke(
                    cli, words, obj=self.settings, input=text
                )
            ).result()

    def prepare(self) -> None:
        """A migrated database with an admin and a member."""
        if str(self.database) in self.environment["GATEWAY_DATABASE_URL"]:
            self.database.write_bytes(prepared_database())
            self.database.chmod(0o600)
            return
        self.quickly("migrate")
        password = f"{PASSWORD}\n"
        add = ["--password-stdin", "--email"]
        self.quickly("admin", "create", *add, "admin@example.com", text=password)
        self.quickly("people", "add", *add, "awa@example.com", text=password)

    def add_person(self) -> dict[str, str]:
        """A new member: an account may try to sign in five times a minute only."""
        email = f"{secrets.token_hex(6)}@example.com"
        self.quickly("people", "add", "--email", email, "--password-stdin", text=f"{PASSWORD}\n")
        return {"email": email, "password": PASSWORD}

    def make_key(self, *options: str, owner: str = "awa@example.com") -> str:
        return self.quickly("keys", "create", "--owner", owner, *options)

    def start(self) -> Gateway:
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        eventually(self.is_up)
        return self

    def _serve(self) -> None:
        with self.log_path.open("a", encoding="utf-8", buffering=1) as file:
            settings = self.settings
            app = make_app(settings, self.environment, open_log(file))
            self._server = make_server(app, settings)
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                self._loop = runner.get_loop()
                runner.run(self._server.serve())

    def lives(self) -> bool:
        return self._thread.is_alive()

    def is_up(self) -> bool:
        assert self.lives(), self.log_path.read_text()
        return answers(f"{self.url}/health")

    def stop(self) -> None:
        if self._server is not None:
            self._server.should_exit = True
            self._thread.join(90)
            assert not self._thread.is_alive()

    def count_open(self) -> tuple[int, int]:
        """Tasks of the gateway's loop, and connections of clients."""

        async def count() -> tuple[int, int]:
            assert self._server is not None
            return len(asyncio.all_tasks()), len(self._server.server_state.connections)

        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(count(), self._loop).result(10)

    def log(self) -> list[dict[str, Any]]:
        """The log's lines; the first one of a process is for people."""
        lines = self.log_path.read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def metrics(self) -> str:
        return requests.get(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=10).text

    def metric(self, start: str) -> float:
        """The sum of all samples whose line starts with `start`."""
        total = 0.0
        for line in self.metrics().splitlines():
            if line.startswith(start):
                total += float(line.rsplit(" ", 1)[1])
        return total

    def ask(self, key: str, path: str = "/v1/chat/completions", **options: Any) -> Any:
        body = {"model": "olmocr", "messages": [{"role": "user", "content": "Bonjour"}]}
        body.update(options.pop("json", {}))
        return self.post(key, path, json=body, **options)

    def post(self, key: str, path: str, **options: Any) -> Any:
        headers = {"Authorization": f"Bearer {key}", **options.pop("headers", {})}
        return requests.post(self.url + path, headers=headers, timeout=60, **options)


class GatewayProcess(Gateway):
    """One `podkit-gateway serve` as an operator starts it."""

    process: subprocess.Popen[bytes] | None = None

    def run(self, *words: str, text: str = "", code: int = 0) -> str:
        """What a command prints; it must end with `code`."""
        ended = subprocess.run(
            [sys.executable, "-m", "podkit_gateway", *words],
            env=self.environment,
            cwd=self.folder,
            input=text,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert ended.returncode == code, ended.stderr
        return ended.stdout.strip() if code == 0 else ended.stderr.strip()

    def start(self) -> GatewayProcess:
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "podkit_gateway", "serve"],
                env=self.environment,
                cwd=self.folder,
                stdout=log,
                stderr=log,
            )
        eventually(self.is_up)
        return self

    def lives(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(90)
            self.process = None


def connect(gateway: Gateway, key: str, stream: bool, cut: int = 0) -> socket.socket:
    """A connection that has sent its request, without the last `cut` bytes of the body."""
    body = json.dumps({"model": "olmocr", "messages": [], "stream": stream}).encode()
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {key}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    connection = socket.create_connection(("127.0.0.1", gateway.port), timeout=10)
    connection.sendall(head.encode() + body[: len(body) - cut])
    return connection


@cache
def prepared_database() -> bytes:
    """A migrated database of SQLite with an admin and a member, as the commands make it."""
    with tempfile.TemporaryDirectory() as folder:
        gateway = Gateway(Path(folder))
        url = f"sqlite+aiosqlite:///{folder}/made.db"
        gateway.environment["GATEWAY_DATABASE_URL"] = url
        gateway.prepare()
        return Path(folder, "made.db").read_bytes()
