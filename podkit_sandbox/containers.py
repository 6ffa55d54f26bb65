"""Pods as process trees on this machine. Must never leave a file or a process elsewhere."""

import asyncio
import itertools
import random
import re
import shutil
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from subprocess import PIPE, STDOUT, Popen
from typing import IO

import psutil

from podkit_sandbox.catalog import CATALOG
from podkit_sandbox.pods import PaperRunner, Pod, Runtime
from podkit_sandbox.processes import MARK, kill, tree
from podkit_sandbox.programs import write_shims
from podkit_sandbox.proxy import open_proxy

REFERENCE = r"\{\{\s*RUNPOD_SECRET_(\w+)\s*\}\}"  # to a secret of the account
TERM_SECONDS = 10.0  # between SIGTERM to process 1 and SIGKILL to the tree
LOOK_SECONDS = 0.1  # between two looks at a container
RESTART_SECONDS = 0.5  # between a container's end and its next start
PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
API_PORT = 8000
WEBUI_PORT = 3000


def resolve_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment with each reference to a secret replaced; every secret exists here."""
    return {name: re.sub(REFERENCE, r"sandbox_\1", value) for name, value in environment.items()}


class ContainerRunner(PaperRunner):
    """Runs pods as processes under `root`, with a proxy for each HTTP port; of one event loop."""

    def __init__(
        self,
        root: Path,
        api_url: str,
        extra: Mapping[str, str],
        touched: Callable[[], None],
    ) -> None:
        """`extra` is for every pod's environment; `touched` is called for what passes a proxy."""
        self._root = root
        self._api_url = api_url
        self._extra = extra
        self._touched = touched
        first = random.randrange(10_000, 30_000)  # noqa: S311 - below the ephemeral ports
        self._numbers = itertools.count(first)
        self._lives: dict[str, tuple[Pod, asyncio.Task[None]]] = {}
        self._since: dict[str, float] = {}  # when each pod's container has started
        self._public: dict[str, dict[int, int]] = {}
        (root / "logs").mkdir(exist_ok=True)
        write_shims(root / "shims")

    def start(self, pod: Pod) -> None:
        """Begins the pod's life as a task."""
        ports = {}
        for port in {API_PORT, WEBUI_PORT, *pod.ports}:
            ports[port] = next(filter(is_free, self._numbers))
        env = self._environment(pod, ports)
        self._lives[pod.id] = (pod, asyncio.create_task(self._live(pod, ports, env)))

    def runtime(self, pod: Pod) -> Runtime:
        """How long the container runs, and its proxies' ports."""
        now = time.monotonic()
        uptime = now - self._since.get(pod.id, now)
        return Runtime(uptime, self._public.get(pod.id, {}))

    async def close(self) -> None:
        """Ends every pod; returns when none of their processes is left."""
        lives = []
        for pod, life in self._lives.values():
            pod.status = "TERMINATED"
            pod.ended = time.time()
            lives.append(life)
        await asyncio.gather(*lives, return_exceptions=True)

    def _environment(self, pod: Pod, ports: Mapping[int, int]) -> dict[str, str]:
        """What the start command sees: the sandbox's variables, the user's, the provider's."""
        folder = self._root / "pods" / pod.id
        storage = folder / "disk/workspace"
        if pod.volume:
            storage = self._root / "volumes" / pod.volume
        storage.mkdir(parents=True, exist_ok=True)
        ours = {
            "PATH": f"{self._root}/shims:{PATH}",
            "LANG": "C.UTF-8",
            "HOME": f"{folder}/disk/home",
            "TMPDIR": f"{folder}/disk/tmp",
            "PODKIT_GRACE_SECONDS": "3",
            "PODKIT_BEAT_SECONDS": "1",
            "PODKIT_MIN_FREE_GIB": "1",
            "PODKIT_SANDBOX_GPU": pod.gpu,
            "PODKIT_SANDBOX_GPU_MIB": str(CATALOG["mebibytes"].get(pod.gpu, 24_564)),
            "PODKIT_SANDBOX_CUDA": "13.0",
        }
        provided = {
            "RUNPOD_POD_ID": pod.id,
            "RUNPOD_DC_ID": pod.place,
            "RUNPOD_GPU_COUNT": str(pod.body["gpu"]["count"]),
            "RUNPOD_PUBLIC_IP": "127.0.0.1",
            "RUNPOD_VOLUME_ID": pod.volume,
            "RUNPOD_API_KEY": pod.key,
            "RUNPOD_API_URL": self._api_url,
            "PODKIT_VOLUME": str(storage),
            "PODKIT_LOCAL": f"{folder}/disk/local",
            "PODKIT_API_PORT": str(ports[API_PORT]),
            "PODKIT_WEBUI_PORT": str(ports[WEBUI_PORT]),
            "PODKIT_SHIMS": f"{self._root}/shims",
            MARK: str(folder),
        }
        asked = resolve_secrets(pod.body.get("env", {}))
        return {**ours, **self._extra, **asked, **provided}

    async def _live(self, pod: Pod, ports: Mapping[int, int], env: Mapping[str, str]) -> None:
        """Runs the command, again whenever it ends, while the pod is to run; then all goes."""
        proxies = {}
        public = {}
        for port in pod.ports:
            proxies[port] = await open_proxy(ports[port], self._touched)
            public[port] = proxies[port].sockets[0].getsockname()[1]
        self._public[pod.id] = public
        page = f"http://127.0.0.1:{public.get(WEBUI_PORT)}"
        while pod.status == "RUNNING":
            await self._run(pod, {**env, "PODKIT_WEBUI_URL": page})
            await asyncio.sleep(RESTART_SECONDS)
        for proxy in proxies.values():
            proxy.close()
        await asyncio.to_thread(shutil.rmtree, self._root / "pods" / pod.id, ignore_errors=True)

    async def _run(self, pod: Pod, env: Mapping[str, str]) -> None:
        """Runs the command once, on a fresh disk; no process of it is left then."""
        folder = self._root / "pods" / pod.id
        await asyncio.to_thread(shutil.rmtree, folder / "disk", ignore_errors=True)
        for name in ("home", "tmp", "local", "workspace"):
            (folder / "disk" / name).mkdir(parents=True, exist_ok=True)
        self._log(pod, "system", f"start container for {pod.body['image']}")
        process = Popen(
            pod.body.get("entrypoint", []) + pod.body.get("cmd", []) or ["sleep", "infinity"],
            cwd=f"{folder}/disk/home",
            env=env,
            start_new_session=True,
            stdout=PIPE,
            stderr=STDOUT,
        )
        (folder / "pid").write_text(str(process.pid))
        reading = threading.Thread(target=self._read, args=(pod, process.stdout), daemon=True)
        reading.start()
        self._since[pod.id] = time.monotonic()
        known = await self._wait(pod, process)
        code = process.poll()
        if code is None:
            code = 137
        await asyncio.to_thread(kill, folder, known)
        process.wait()
        del self._since[pod.id]
        pod.restarts += 1
        self._log(pod, "system", f"container exited with code {code}")

    async def _wait(self, pod: Pod, process: Popen[bytes]) -> set[psutil.Process]:
        """Waits for the end of process 1, asks for it when the pod is to end, or gives it up.

        What it had started by then is returned, if it was asked.
        """
        until = float("inf")
        if pod.restarts < pod.crashes:
            until = time.monotonic() + pod.crash_seconds
        known: set[psutil.Process] = set()
        while process.poll() is None and time.monotonic() < until:
            if pod.status != "RUNNING" and not known:
                known = await asyncio.to_thread(tree, self._root / "pods" / pod.id)
                until = time.monotonic() + TERM_SECONDS
                process.terminate()
            await asyncio.sleep(LOOK_SECONDS)
        return known

    def _read(self, pod: Pod, stream: IO[bytes]) -> None:
        for line in stream:
            self._log(pod, "container", line.decode(errors="replace").rstrip("\r\n"))

    def _log(self, pod: Pod, source: str, text: str) -> None:
        pod.lines.append((time.time(), source, text))
        with (self._root / "logs" / f"{pod.id}.log").open("a", encoding="utf-8") as file:
            file.write(f"{time.strftime('%H:%M:%S')} {source}: {text}\n")


def is_free(port: int) -> bool:
    with suppress(OSError), socket.create_server(("127.0.0.1", port)):
        return True
    return False
