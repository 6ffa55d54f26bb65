"""A real gateway: `podkit-gateway` as processes, with a folder of their own for their data."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import requests
from click.testing import CliRunner

from podkit_gateway import cli_admin, cli_data
from podkit_gateway.cli import cli
from podkit_gateway.settings import load_settings

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "correct horse battery"
REGISTERED = (cli_admin, cli_data)
"""Importing them adds their commands to `cli`."""


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def until(condition: Any, seconds: float = 20.0, every: float = 0.02) -> Any:
    """The first true value of `condition()`; fails after some seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(every)
    raise AssertionError("it did not come true in time")


def answers(url: str) -> bool:
    """Whether somebody answers there, with success."""
    try:
        return requests.get(url, timeout=5).ok
    except requests.RequestException:
        return False


class GatewayProcess:
    """One `podkit-gateway serve`, and the commands beside it."""

    def __init__(self, folder: Path, config: str = "", **settings: str) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.config = folder / "gateway.toml"
        self.port = free_port()
        self.metrics_port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log_path = folder / f"log-{self.port}"
        self.process: subprocess.Popen[bytes] | None = None
        self.environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "GATEWAY_DATABASE_URL": f"sqlite+aiosqlite:///{folder / 'gateway.db'}",
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

    def quickly(self, *words: str, text: str = "") -> str:
        """What a command prints, run in this process: starting another takes seconds.

        In a thread of its own, as the browser's tests have an event loop in theirs.
        """
        settings = load_settings(self.gateway_settings)
        with ThreadPoolExecutor(1) as thread:
            ended = thread.submit(
                lambda: CliRunner().invoke(cli, words, obj=settings, input=text)
            ).result()
        assert ended.exit_code == 0, (ended.output, ended.exception)
        return ended.stdout.strip()

    @property
    def gateway_settings(self) -> dict[str, str]:
        settings = {}
        for name, value in self.environment.items():
            if name.startswith("GATEWAY_"):
                settings[name] = value
        return settings

    def prepare(self) -> None:
        """A migrated database with an admin and a member."""
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

    def start(self) -> GatewayProcess:
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "podkit_gateway", "serve"],
                env=self.environment,
                cwd=self.folder,
                stdout=log,
                stderr=log,
            )
        until(self.is_up, 60)
        return self

    def is_up(self) -> bool:
        if self.process is not None and self.process.poll() is not None:
            raise AssertionError(self.log_path.read_text())
        try:
            return requests.get(f"{self.url}/health", timeout=5).status_code == 200
        except requests.RequestException:
            return False

    def stop(self, number: int = signal.SIGTERM) -> int:
        if self.process is None:
            return 0
        self.process.send_signal(number)
        code = self.process.wait(90)
        self.process = None
        return code

    def log(self) -> list[dict[str, Any]]:
        """The log's lines; the first one of `serve` is for people."""
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
        headers = {"Authorization": f"Bearer {key}", **options.pop("headers", {})}
        return requests.post(self.url + path, json=body, headers=headers, timeout=60, **options)
