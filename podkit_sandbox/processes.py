"""Pods as process trees on this machine. Must never write outside the sandbox's folder nor leave a process behind."""

import asyncio
import itertools
import os
import random
import re
import shlex
import shutil
import socket
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing, suppress
from pathlib import Path
from subprocess import PIPE, STDOUT, Popen
from typing import IO

import psutil

from podkit_sandbox.account import PaperRunner, Pod, Runtime
from podkit_sandbox.wire import CATALOG, page

REFERENCE = r"\{\{\s*RUNPOD_SECRET_(\w+)\s*\}\}"  # to a secret of the account
TERM_SECONDS = 10.0  # between SIGTERM to process 1 and SIGKILL to the tree
LOOK_SECONDS = 0.1  # between two looks at a container
PROXY_SECONDS = float(os.environ.get("PODKIT_SANDBOX_PROXY_SECONDS", "100"))  # the provider's
CHUNK = 65_536
Side = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def tree(folder: Path) -> set[psutil.Process]:
    """A pod's living processes: process 1, what carries the pod's mark, and the descendants of these."""
    found, file = (
        set(),
        folder / "pid",
    )  # some systems hide the environment of /bin/bash, so its id is in a file
    pid, since = (int(file.read_text()), file.stat().st_mtime) if file.exists() else (0, 0.0)
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            first = process.pid == pid and abs(process.create_time() - since) < 2
            if first or process.environ().get("PODKIT_SANDBOX_POD") == str(folder):
                found |= {process, *process.children(recursive=True)}
    return found


def kill(folder: Path, known: Iterable[psutil.Process] = ()) -> None:
    """Ends a pod's processes, the known ones and what they start meanwhile."""
    for _ in range(3):
        alive = tree(folder) | {*known}
        for process in alive:
            with suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(alive, timeout=0.2)


def sweep(root: Path) -> None:
    """Ends what a killed sandbox left running, and removes its pods' folders."""
    for folder in root.glob("pods/*"):
        kill(folder)
        shutil.rmtree(folder, ignore_errors=True)


class ProcessRunner(PaperRunner):
    """Runs pods as processes under `root`, with a proxy for each HTTP port; belongs to one event loop."""

    def __init__(
        self, root: Path, api_url: str, extra: Mapping[str, str], touched: Callable[[], None]
    ) -> None:
        self._root, self._api_url, self._extra, self._touched = root, api_url, extra, touched
        self._numbers = itertools.count(random.randrange(10_000, 30_000))  # noqa: S311 - below the ephemeral ports
        self._lives: dict[str, tuple[Pod, asyncio.Task[None]]] = {}
        self._since: dict[str, float] = {}  # when each pod's container has started
        self._public: dict[str, dict[int, int]] = {}
        (root / "logs").mkdir(exist_ok=True)
        write_shims(root / "shims")

    def start(self, pod: Pod) -> None:
        folder = self._root / "pods" / pod.id
        ports = {port: next(filter(_is_free, self._numbers)) for port in {8000, 3000, *pod.ports}}
        storage = self._root / "volumes" / pod.volume if pod.volume else folder / "disk/workspace"
        storage.mkdir(parents=True, exist_ok=True)
        facts = {
            "root": self._root,
            "folder": folder,
            "pod": pod,
            "ports": ports,
            "storage": storage,
        }
        facts |= {"api": self._api_url, "mebibytes": CATALOG["mebibytes"][pod.gpu]}
        asked = {
            name: re.sub(REFERENCE, r"sandbox_\1", value)
            for name, value in pod.body.get("env", {}).items()
        }
        tables = CATALOG["podEnvironment"]
        ours, provided = (
            {name: text.format(**facts) for name, text in table.items()} for table in tables
        )
        env = {**ours, **self._extra, **asked, **provided}
        self._lives[pod.id] = pod, asyncio.create_task(self._live(pod, ports, env))

    def runtime(self, pod: Pod) -> Runtime:
        now = time.monotonic()
        return Runtime(now - self._since.get(pod.id, now), self._public.get(pod.id, {}))

    async def close(self) -> None:
        """Ends every pod; returns when none of their processes is left."""
        for pod, _ in self._lives.values():
            pod.status, pod.ended = "TERMINATED", time.time()
        await asyncio.gather(*(life for _, life in self._lives.values()), return_exceptions=True)

    async def _live(self, pod: Pod, ports: Mapping[int, int], env: Mapping[str, str]) -> None:
        """The command runs, again whenever it ends, while the pod is to run; then everything goes."""
        proxies = {
            port: await open_proxy(inner, self._touched)
            for port, inner in ports.items()
            if port in pod.ports
        }
        self._public[pod.id] = {
            port: proxy.sockets[0].getsockname()[1] for port, proxy in proxies.items()
        }
        while pod.status == "RUNNING":
            await self._run(pod, env)
            await asyncio.sleep(5 * LOOK_SECONDS)
        for proxy in proxies.values():
            proxy.close()
        await asyncio.to_thread(shutil.rmtree, self._root / "pods" / pod.id, ignore_errors=True)

    async def _run(self, pod: Pod, env: Mapping[str, str]) -> None:
        """Runs the command once, on a fresh disk; no process of it is left then."""
        folder, command = (
            self._root / "pods" / pod.id,
            pod.body.get("entrypoint", []) + pod.body.get("cmd", []),
        )
        await asyncio.to_thread(shutil.rmtree, folder / "disk", ignore_errors=True)
        for name in ("home", "tmp", "local", "workspace"):
            (folder / "disk" / name).mkdir(parents=True, exist_ok=True)
        self._log(pod, "system", f"start container for {pod.body['image']}")
        process = Popen(
            command,
            cwd=f"{folder}/disk/home",
            env=env,
            start_new_session=True,
            stdout=PIPE,
            stderr=STDOUT,
        )
        (folder / "pid").write_text(str(process.pid))
        threading.Thread(target=self._read, args=(pod, process.stdout), daemon=True).start()
        self._since[pod.id] = time.monotonic()
        limit = pod.crash_seconds if pod.restarts < pod.crashes else float("inf")
        until, known = time.monotonic() + limit, set[psutil.Process]()
        while process.poll() is None and time.monotonic() < until:
            if pod.status != "RUNNING" and not known:
                known, until = (
                    await asyncio.to_thread(tree, folder),
                    time.monotonic() + TERM_SECONDS,
                )
                process.terminate()
            await asyncio.sleep(LOOK_SECONDS)
        code = 137 if process.poll() is None else process.returncode
        await asyncio.to_thread(kill, folder, known)
        process.wait()
        del self._since[pod.id]
        pod.restarts += 1
        self._log(pod, "system", f"container exited with code {code}")

    def _read(self, pod: Pod, stream: IO[bytes]) -> None:
        for line in stream:
            self._log(pod, "container", line.decode(errors="replace").rstrip("\r\n"))

    def _log(self, pod: Pod, source: str, text: str) -> None:
        pod.lines.append((time.time(), source, text))
        with (self._root / "logs" / f"{pod.id}.log").open("a", encoding="utf-8") as file:
            file.write(f"{time.strftime('%H:%M:%S')} {source}: {text}\n")


def _is_free(port: int) -> bool:
    with suppress(OSError), socket.create_server(("127.0.0.1", port)):
        return True
    return False


async def open_proxy(
    target: int, touched: Callable[[], None], limit: float = PROXY_SECONDS
) -> asyncio.Server:
    """A public proxy of a pod's port: 502 until it listens, 524 when a request has had no answer byte for so long."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer), suppress(OSError, TimeoutError):
            failure = 502
            with suppress(ConnectionRefusedError):
                service = await asyncio.open_connection("127.0.0.1", target)
                with closing(service[1]):
                    failure = await _carry((reader, writer), service, touched, limit)
            if failure:
                writer.write(page(failure).http())
                writer.write_eof()
                async with asyncio.timeout(
                    1.0
                ):  # closing on unread bytes would destroy the page on its way
                    while await reader.read(CHUNK):
                        pass

    return await asyncio.start_server(connected, "127.0.0.1", 0)


async def _carry(client: Side, service: Side, touched: Callable[[], None], limit: float) -> int:
    """Carries bytes until the service has ended or the time is up; the failure of a request without an answer, or 0."""
    timer, upgraded = (
        asyncio.timeout(None),
        False,
    )  # the timer runs while a request has no answer byte

    async def up() -> None:
        try:
            while chunk := await client[0].read(CHUNK):
                if not upgraded and not timer.expired():
                    timer.reschedule(asyncio.get_running_loop().time() + limit)
                touched()
                service[1].write(chunk)
                await service[1].drain()
            service[1].write_eof()  # the answer may still come
        except OSError:
            service[1].transport.abort()  # the client is gone

    asking = asyncio.create_task(up())
    with suppress(OSError, TimeoutError):
        async with timer:
            while chunk := await service[0].read(CHUNK):
                upgraded = (
                    upgraded or chunk[8:12] == b" 101"
                )  # a websocket: no message needs an answer
                timer.reschedule(None)
                touched()
                client[1].write(chunk)
                await client[1].drain()
    asking.cancel()
    await asyncio.wait([asking])
    return 0 if timer.when() is None else 524 if timer.expired() else 502


def write_shims(folder: Path) -> None:
    """Writes the programs that stand in for what needs a GPU or a gigabyte; `python3` is the sandbox's own."""
    root, site, python = (
        Path(__file__).resolve().parent.parent,
        folder / "site",
        shlex.quote(sys.executable),
    )
    for made in (site, folder / "venv"):
        made.mkdir(parents=True, exist_ok=True)
    for name, module in {"python3": "", **CATALOG["shims"]}.items():
        path, options = (root, f"-P -m podkit_sandbox.shims.{module} ") if module else (site, "")
        call = f'PYTHONPATH={shlex.quote(str(path))}${{PYTHONPATH:+:$PYTHONPATH}} exec {python} {options}"$@"'
        (folder / name).write_text(f"#!/bin/bash\n{call}\n")
        (folder / name).chmod(0o755)
    if not Path(
        sysconfig.get_path("include"), "Python.h"
    ).exists():  # a laptop may lack it, a pod's image does not
        (site / "Python.h").touch()
        patch = f"import sysconfig\nfor s in sysconfig._INSTALL_SCHEMES.values():\n    s['include'] = {str(site)!r}\n"
        (site / "sitecustomize.py").write_text(patch)
