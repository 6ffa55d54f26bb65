"""Wall time and peak memory of the commands people wait for,
beside the imports they cannot do without.

    .venv/bin/python bench/measure.py [RUNS]

Everything is measured in one run against an API on this machine, once at once and once with 100 ms
before each answer. The provider's own package is installed into a throw-away environment for
comparison.
"""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from podkit_sandbox.account import Account, Call, PaperRunner, Scenario

ROOT = Path(__file__).resolve().parent.parent
PYTHON = ROOT / ".venv/bin/python"
KEY = "rpa_bench"


@dataclass(frozen=True)
class Cost:
    """Median seconds and largest peak memory in MiB of a command's runs."""

    seconds: float
    mib: float


@contextmanager
def api(latency: float) -> Iterator[tuple[str, list[str]]]:
    """An API on loopback that waits `latency` seconds before each answer; its URL,
    and the calls it has seen.
    """
    account = Account(time.time, random.Random(1), Scenario.parse({}), PaperRunner(time.time), KEY)
    calls: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path, _, query = self.path.partition("?")
            pairs = dict(pair.split("=", 1) for pair in query.split("&") if pair)
            headers = {name.lower(): value for name, value in self.headers.items()}
            calls.append(f"{self.command} {path}")
            time.sleep(latency)
            answer = account.handle(Call(self.command, path, pairs, headers, body))
            self.send_response_only(answer.status)
            for name, value in {**answer.headers, "Content-Length": str(len(answer.body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body)

        do_GET = do_POST = do_DELETE = answer

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v2", calls
    finally:
        server.shutdown()


def measure(command: list[str], runs: int, env: Mapping[str, str]) -> Cost:
    seconds: list[float] = []
    peak = 0.0
    for _ in range(runs):
        started = time.perf_counter()
        process = subprocess.Popen(
            command, env=dict(env), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        said = process.stderr.read() if process.stderr else b""
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds.append(time.perf_counter() - started)
        if process.returncode:
            raise SystemExit(f"{command}: {said.decode()}")
        peak = max(peak, used.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10))
    return Cost(statistics.median(seconds), peak)


def runpod_python(folder: str) -> str:
    """The Python of an environment that holds the provider's own package."""
    subprocess.run([ROOT / ".venv/bin/uv", "venv", "--quiet", folder], check=True)
    python = f"{folder}/bin/python"
    subprocess.run(
        [ROOT / ".venv/bin/uv", "pip", "install", "--quiet", "--python", python, "runpod"],
        check=True,
    )
    return python


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    secrets = dict.fromkeys(
        ("PODKIT_API_KEY", "WEBUI_ADMIN_PASSWORD", "WEBUI_SECRET_KEY"), "x" * 20
    )
    base = {
        "PATH": os.environ["PATH"],
        "HOME": os.environ["HOME"],
        **secrets,
        "RUNPOD_API_KEY": KEY,
    }
    python = str(PYTHON)
    script = str(ROOT / "list_pods.sh")
    rows: list[tuple[str, Cost]] = []

    def row(name: str, command: list[str], env: Mapping[str, str]) -> None:
        rows.append((name, measure(command, runs, env)))

    row("python -c 'import click, requests'", [python, "-c", "import click, requests"], base)
    with tempfile.TemporaryDirectory() as folder:
        row("python -c 'import runpod'", [runpod_python(folder), "-c", "import runpod"], base)
    row("podkit --version, in the venv", [python, "-P", "-m", "podkit", "--version"], base)
    row("./podkit.sh --version", [str(ROOT / "podkit.sh"), "--version"], base)
    for latency in (0.0, 0.1):
        with api(latency) as (url, calls):
            env = {**base, "RUNPOD_API_URL": url}
            row(f"./list_pods.sh, {latency * 1000:.0f} ms", [script], env)
            calls.clear()
            deploy = [str(ROOT / "deploy_olmocr.sh"), "--no-wait", "--new"]
            row(f"./deploy_olmocr.sh --no-wait, {latency * 1000:.0f} ms", deploy, env)
            until_created = calls.index("POST /v2/pods") + 1
    print("| command | seconds (median) | ratio | peak MiB |\n|---|---|---|---|")
    for name, cost in rows:
        ratio = cost.seconds / rows[0][1].seconds
        print(f"| `{name}` | {cost.seconds:.3f} | {ratio:.2f} | {cost.mib:.0f} |")
    print(f"\nAPI calls of a deploy up to its 201: {until_created}")


if __name__ == "__main__":
    main()
