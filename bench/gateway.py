"""What the gateway costs beside nginx and Caddy: CPU, rate, first byte, memory with many streams.

    .venv/bin/python bench/gateway.py [--rounds 2] [--seconds 4] [--litellm PROGRAM]

All on loopback, in interleaved rounds, so that a noisy machine is as noisy to each. Needs wrk,
nginx and caddy (apt). `bare` is the least that a proxy of the gateway's libraries costs. Ends with
1 if a goal is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from aiohttp import web

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from bench.gateway_configs import GATEWAY, LITELLM, caddy_config, nginx_config  # noqa: E402
from tests.gateway.process import GatewayProcess, answers, free_port, until  # noqa: E402

TICKS = os.sysconf("SC_CLK_TCK")
CHUNK = b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n'
GOALS = {
    "CPU of a plain request, times Caddy": 6.0,
    "CPU of a plain request, ms": 1.0,
    "CPU of a stream, times Caddy": 3.5,
    "first byte of 20 streams, ms over nginx": 20.0,
    "requests/s, share of nginx (at least)": 0.10,
    "memory with 500 streams, MiB": 150.0,
    "CPU until ready, s": 2.0,
    "CPU of LiteLLM, times the gateway's (at least)": 20.0,
}


@dataclass
class Proxy:
    """One of the compared programs, and what each round has shown."""

    name: str
    url: str
    pids: Callable[[], list[int]]
    cpu: dict[str, list[float]] = field(default_factory=dict)
    rate: dict[str, list[float]] = field(default_factory=dict)
    first: list[float] = field(default_factory=list)


def cpu_seconds(pids: list[int]) -> float:
    """User and system time of processes so far."""
    total = 0
    for pid in pids:
        words = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
        total += int(words[11]) + int(words[12])
    return total / TICKS


def memory_mib(pids: list[int]) -> float:
    total = 0
    for pid in pids:
        found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
        total += int(found[1]) if found else 0
    return total / 1024


def children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [pid, *map(int, text.split())]


def load(proxy: Proxy, kind: str, key: str, folder: Path, seconds: int) -> None:
    """One round of wrk: 32 connections, one thread."""
    body = json.dumps({"model": kind, "messages": [], "stream": kind == "streamed"})
    script = folder / f"{kind}.lua"
    script.write_text(
        f"wrk.method = 'POST'\nwrk.body = [[{body}]]\n"
        f"wrk.headers['Authorization'] = 'Bearer {key}'\n"
        "wrk.headers['Content-Type'] = 'application/json'\n"
    )
    before = cpu_seconds(proxy.pids())
    url = f"{proxy.url}/v1/chat/completions"
    words = ["wrk", "-t1", "-c32", f"-d{seconds}s", "--timeout", "30s", "-s", str(script), url]
    shown = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    used = cpu_seconds(proxy.pids()) - before
    count = int(re.search(r"(\d+) requests in", shown)[1])  # type: ignore[index]
    if "Non-2xx" in shown:
        raise SystemExit(f"{proxy.name}: {shown}")
    proxy.cpu.setdefault(kind, []).append(1000 * used / count)
    proxy.rate.setdefault(kind, []).append(count / seconds)


async def slow_stub(port: int) -> web.AppRunner:
    """A backend whose streams have 50 chunks, 40 ms apart; those of the model `long` do not end."""

    async def answer(request: web.Request) -> web.StreamResponse:
        model = (await request.json())["model"]
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):  # those of `long` are left by the client
            for _ in range(10_000 if model == "long" else 50):
                await response.write(CHUNK)
                await asyncio.sleep(1 if model == "long" else 0.04)
        return response

    async def healthy(_request: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": "slow"}, {"id": "long"}]})

    app = web.Application()
    app.router.add_post("/v1/chat/completions", answer)
    app.router.add_get("/health", healthy)
    app.router.add_get("/v1/models", healthy)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    return runner


async def first_bytes(url: str, key: str, count: int) -> list[float]:
    """Milliseconds until the first byte of streams that begin together."""
    headers = {"Authorization": f"Bearer {key}", "X-Kind": "slow"}
    body = {"model": "slow", "messages": [], "stream": True}

    async def one(session: aiohttp.ClientSession) -> float:
        began = time.perf_counter()
        async with session.post(f"{url}/v1/chat/completions", json=body, headers=headers) as answer:
            await answer.content.readany()
            passed = time.perf_counter() - began
            await answer.read()
            return 1000 * passed

    async with aiohttp.ClientSession() as session:
        return list(await asyncio.gather(*(one(session) for _ in range(count))))


async def measure_memory(proxy: Proxy, key: str) -> float:
    """MiB of the gateway while 500 streams are open."""
    headers = {"Authorization": f"Bearer {key}"}
    body = {"model": "long", "messages": [], "stream": True}
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        url = f"{proxy.url}/v1/chat/completions"
        opened = [session.post(url, json=body, headers=headers) for _ in range(500)]
        answers = await asyncio.gather(*opened)
        await asyncio.gather(*(answer.content.readany() for answer in answers))
        used = memory_mib(proxy.pids())
        for answer in answers:
            answer.close()
    return used


def judge(found: dict[str, float]) -> bool:
    """Prints each figure beside its goal; whether all are met."""
    met = True
    for name, value in found.items():
        goal = GOALS[name]
        good = value >= goal if "at least" in name else value <= goal
        met = met and good
        print(f"{'ok  ' if good else 'MISS'}  {name}: {value:.3g} (goal {goal:g})")
    return met


def summarize(proxies: list[Proxy]) -> dict[str, float]:
    """Prints all rounds, and returns the figures that have goals."""
    for proxy in proxies:
        for kind in ("plain", "streamed"):
            cpu = " ".join(f"{value:.3f}" for value in proxy.cpu[kind])
            rate = " ".join(f"{value:.0f}" for value in proxy.rate[kind])
            print(f"{proxy.name:8} {kind:7} CPU ms {cpu}   requests/s {rate}")
        print(f"{proxy.name:8} first byte of 20 streams, ms: {statistics.median(proxy.first):.1f}")
    nginx = proxies[0]
    gateway = proxies[-1]
    best = {}
    for proxy in proxies:
        for kind in ("plain", "streamed"):
            best[proxy.name, kind] = min(proxy.cpu[kind])
    found = {
        "CPU of a plain request, times Caddy": best["gateway", "plain"] / best["caddy", "plain"],
        "CPU of a plain request, ms": best["gateway", "plain"],
        "CPU of a stream, times Caddy": best["gateway", "streamed"] / best["caddy", "streamed"],
        "first byte of 20 streams, ms over nginx": statistics.median(gateway.first)
        - statistics.median(nginx.first),
        "requests/s, share of nginx (at least)": max(gateway.rate["plain"])
        / max(nginx.rate["plain"]),
    }
    if ("litellm", "plain") in best:
        times = best["litellm", "plain"] / best["gateway", "plain"]
        found["CPU of LiteLLM, times the gateway's (at least)"] = times
    return found


def start_others(
    folder: Path, ports: list[int], stub: int, slow: int
) -> list[subprocess.Popen[bytes]]:
    """The backend, nginx, Caddy and the bare passthrough."""
    (folder / "nginx.conf").write_text(nginx_config(folder, ports[0], stub, slow))
    (folder / "Caddyfile").write_text(caddy_config(ports[1], stub, slow))
    caddy = ["caddy", "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"]
    one_core = {**os.environ, "GOMAXPROCS": "1", "HOME": str(folder)}
    backend = [sys.executable, str(ROOT / "bench/gateway_backend.py"), str(stub)]
    bare = [sys.executable, str(ROOT / "bench/gateway_passthrough.py")]
    return [
        subprocess.Popen(backend),
        subprocess.Popen(["nginx", "-c", str(folder / "nginx.conf"), "-p", str(folder)]),
        subprocess.Popen(caddy, stderr=subprocess.DEVNULL, env=one_core),
        subprocess.Popen([*bare, str(ports[2]), str(stub), str(slow)]),
    ]


@contextlib.contextmanager
def litellm(program: str, folder: Path, stub: int, slow: int, key: str) -> Iterator[list[Proxy]]:
    """LiteLLM with one worker and no database, and this key; nothing if no program is given."""
    if not program:
        yield []
        return
    port = free_port()
    config = folder / "litellm.yaml"
    config.write_text(LITELLM.format(stub=stub, slow=slow))
    words = [program, "--config", str(config), "--port", str(port), "--host", "127.0.0.1"]
    environment = {**os.environ, "LITELLM_MASTER_KEY": key}
    with (folder / "litellm.log").open("w") as log:
        running = subprocess.Popen(words, stdout=log, stderr=log, cwd=folder, env=environment)
    url = f"http://127.0.0.1:{port}"
    try:
        until(lambda: answers(f"{url}/health/liveliness"), 180)
        yield [Proxy("litellm", url, lambda: children(running.pid))]
    finally:
        running.terminate()
        running.wait(30)


async def compare(rounds: int, seconds: int, folder: Path, program: str) -> bool:
    stub = free_port()
    slow = free_port()
    ports = [free_port(), free_port(), free_port()]
    runner = await slow_stub(slow)
    started = start_others(folder, ports, stub, slow)
    config = GATEWAY.format(stub=stub, slow=slow)
    gateway = GatewayProcess(folder / "gateway", config)
    stack = contextlib.ExitStack()
    try:
        await asyncio.to_thread(gateway.prepare)
        key = await asyncio.to_thread(gateway.make_key, "--days", "90")
        await asyncio.to_thread(gateway.start)
        process = gateway.process
        if process is None:
            raise SystemExit("the gateway did not start")
        until_ready = cpu_seconds([process.pid])
        proxies = [
            Proxy("nginx", f"http://127.0.0.1:{ports[0]}", lambda: children(started[1].pid)),
            Proxy("caddy", f"http://127.0.0.1:{ports[1]}", lambda: [started[2].pid]),
            Proxy("bare", f"http://127.0.0.1:{ports[2]}", lambda: [started[3].pid]),
            *stack.enter_context(litellm(program, folder, stub, slow, key)),
            Proxy("gateway", gateway.url, lambda: [process.pid]),
        ]
        await take_turns(proxies, rounds, seconds, key, folder)
        found = summarize(proxies)
        found["memory with 500 streams, MiB"] = await measure_memory(proxies[-1], key)
        found["CPU until ready, s"] = until_ready
        return judge(found)
    finally:
        stack.close()
        await asyncio.to_thread(gateway.stop)
        for other in started:
            other.terminate()
            other.wait(10)
        await runner.cleanup()


async def take_turns(
    proxies: list[Proxy], rounds: int, seconds: int, key: str, folder: Path
) -> None:
    """All rounds, after a first time that is not counted."""
    for proxy in proxies:
        await first_bytes(proxy.url, key, 20)
    for _ in range(rounds):
        for proxy in proxies:
            for kind in ("plain", "streamed"):
                await asyncio.to_thread(load, proxy, kind, key, folder, seconds)
            proxy.first += await first_bytes(proxy.url, key, 20)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--litellm", default="", help="its program, in a venv of its own")
    given = parser.parse_args()
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    for program in ("wrk", "nginx", "caddy"):
        if shutil.which(program) is None:
            raise SystemExit(f"{program} is not installed: apt install {program}")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        return (
            0
            if asyncio.run(compare(given.rounds, given.seconds, Path(folder), given.litellm))
            else 1
        )


if __name__ == "__main__":
    sys.exit(main())
