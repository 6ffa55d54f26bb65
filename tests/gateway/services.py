"""PostgreSQL, Redis and Prometheus of this machine, started for a test in a folder of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from tests.ports import free_port
from tests.waiting import eventually


def need(program: str, package: str) -> str:
    """The program's path; skips the test where it is not installed."""
    places = [*os.environ["PATH"].split(":"), "/usr/sbin", "/sbin"]
    places += map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True))
    found = shutil.which(program, path=":".join(places))
    if found is None:
        pytest.skip(f"{program} is not installed: apt install {package}")
    return found


PATIENT = "socket_timeout=60&socket_connect_timeout=60"
"""Of a Redis: who stalls for two seconds on a busy machine would ask again, and count twice."""


@contextmanager
def postgres() -> Iterator[str]:
    """A server of its own; its URL for SQLAlchemy. It refuses to run as root."""
    initdb = need("initdb", "postgresql")
    server = need("postgres", "postgresql")
    folder = Path(tempfile.mkdtemp(prefix="gateway-postgres-"))
    port = free_port()
    as_other: list[str] = []
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres")
        as_other = ["runuser", "-u", "postgres", "--"]
    words = [initdb, "-D", str(folder / "data"), "-U", "gw", "--auth=trust", "--no-sync"]
    subprocess.run([*as_other, *words], check=True, capture_output=True, cwd="/")
    options = ["listen_addresses=127.0.0.1", f"unix_socket_directories={folder}", "fsync=off"]
    words = [server, "-D", str(folder / "data"), "-p", str(port)]
    for option in options:
        words += ["-c", option]
    running = subprocess.Popen([*as_other, *words], stderr=subprocess.DEVNULL, cwd="/")
    try:
        psql = [need("psql", "postgresql"), "-h", "127.0.0.1", "-p", str(port), "-U", "gw"]
        create = [*psql, "-c", "CREATE DATABASE gateway", "postgres"]
        eventually(
            lambda: subprocess.run(create, capture_output=True, check=False).returncode == 0, 60
        )
        yield f"postgresql+asyncpg://gw@127.0.0.1:{port}/gateway"
    finally:
        running.terminate()
        running.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def redis() -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A server of its own: its URL, and its process."""
    program = need("redis-server", "redis-server")
    port = free_port()
    words = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    running = subprocess.Popen([program, *words], stdout=subprocess.DEVNULL)
    try:
        yield f"redis://127.0.0.1:{port}/0?{PATIENT}", running
    finally:
        running.terminate()
        running.wait(30)


@contextmanager
def prometheus(folder: Path, target: int) -> Iterator[str]:
    """A Prometheus that scrapes a port of this machine each second; its URL."""
    program = need("prometheus", "prometheus")
    port = free_port()
    config = folder / "prometheus.yml"
    config.write_text(
        "global: {scrape_interval: 1s, evaluation_interval: 1s}\n"
        "scrape_configs:\n"
        "  - job_name: gateway\n"
        f"    static_configs: [{{targets: ['127.0.0.1:{target}']}}]\n"
    )
    words = [
        program,
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    running = subprocess.Popen(words, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"

    def is_ready() -> bool:
        try:
            return requests.get(f"{url}/-/ready", timeout=5).ok
        except requests.RequestException:
            return False

    try:
        eventually(is_ready)
        yield url
    finally:
        running.terminate()
        running.wait(30)
