"""Pods as process trees on this machine. Must never write outside the sandbox's folder nor leave a process behind."""

import json
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO

import psutil

from podkit_sandbox.catalog import CUDA, SECRETS
from podkit_sandbox.pods import Pod, Runtime
from podkit_sandbox.proxy import Proxy

TERM_SECONDS = 10.0  # between SIGTERM to process 1 and SIGKILL to the tree
PAUSE_SECONDS = 1.0  # between two containers of a pod
KILL_ROUNDS = 5  # a process may fork while the tree is being killed
LOOK_SECONDS = 0.5  # between two looks at the tree
MARK = "PODKIT_SANDBOX_POD"  # holds the pod's folder, in the environment of its processes
SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
PORTS = {8000: "PODKIT_API_PORT", 3000: "PODKIT_WEBUI_PORT"}
SECRET = re.compile(r"\{\{\s*RUNPOD_SECRET_(\w+)\s*\}\}")


class Tree:
    """The processes of a container: the descendants of process 1 that were seen, and what carries the pod's mark."""

    def __init__(self, root: int, folder: Path) -> None:
        self._folder = folder
        self._seen: set[psutil.Process] = set()
        with suppress(psutil.NoSuchProcess):
            self._seen = {psutil.Process(root)}

    def look(self) -> None:
        """Notes new descendants, in a file too, for the case that the sandbox is killed."""
        before, self._seen = self._seen, {process for process in self._seen if process.is_running()}
        pids = {process.pid for process in self._seen}
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.ppid() in pids:
                    self._seen.add(process)
                    pids.add(process.pid)
        file = self._folder / "pids.json"
        if self._seen != before or not file.exists():
            file.write_text(json.dumps([[process.pid, process.create_time()] for process in self._seen]))

    def kill(self) -> None:
        """Ends every process of the tree, also what it starts meanwhile."""
        for _ in range(KILL_ROUNDS):
            if alive := {process for process in self._seen | _marked(str(self._folder)) if _alive(process)}:
                _kill(alive)


def _alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def _kill(processes: set[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(processes, timeout=1.0)


def _marked(prefix: str) -> set[psutil.Process]:
    """This user's processes whose mark begins so."""
    found = set()
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.environ().get(MARK, "").startswith(prefix):
                found.add(process)
    return found


def sweep(root: Path) -> None:
    """Ends what a killed sandbox left running, and removes its pods' folders."""
    left, rows = _marked(f"{root}/pods/"), []
    for file in root.glob("pods/*/pids.json"):
        with suppress(OSError, ValueError):  # removed or half-written meanwhile
            rows += json.loads(file.read_text())
    for pid, created in rows:
        with suppress(psutil.Error):
            process = psutil.Process(pid)
            if abs(process.create_time() - created) < 2:  # the boot time that it is counted from may move a little
                left.add(process)
    _kill(left)
    shutil.rmtree(root / "pods", ignore_errors=True)


class Container(threading.Thread):
    """Runs a pod's command, again whenever it ends, on a disk that is wiped each time, until `end` is called."""

    def __init__(self, pod: Pod, folder: Path, env: Mapping[str, str], before: "Container | None") -> None:
        super().__init__(daemon=True)
        self._pod, self._folder, self._env, self._before = pod, folder, env, before
        self._ending = threading.Event()
        self._log_file = folder.parent.parent / "logs" / f"{pod.id}.log"
        self.since: float | None = None

    def end(self) -> None:
        """Asks the container to end; `join` waits for it."""
        self._ending.set()

    def run(self) -> None:
        if self._before:
            self._before.join()
        limit = self._pod.crash_seconds or self._pod.restart_seconds
        while not self._ending.is_set():
            shutil.rmtree(self._folder / "disk", ignore_errors=True)
            for name in ("home", "tmp", "local", "workspace"):
                (self._folder / "disk" / name).mkdir(parents=True, exist_ok=True)
            self._log("system", f"start container for {self._pod.body['image']}")
            self.since = time.monotonic()
            code = self._run_once(limit)
            self.since = None
            limit = self._pod.crash_seconds
            if not self._ending.is_set():
                self._pod.restarts += 1
                self._log("system", f"container exited with code {code}, restarting it")
                self._ending.wait(PAUSE_SECONDS)
        self._log("system", "stop container")

    def _run_once(self, limit: float | None) -> int:
        """The exit code of process 1; no process of the tree is left then."""
        try:
            process = subprocess.Popen(
                self._pod.command(),
                cwd=self._folder / "disk" / "home",
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            self._log("system", f"error starting container: {error}")
            return 127
        reader = threading.Thread(target=self._read, args=(process.stdout,), daemon=True)
        reader.start()
        tree, until = Tree(process.pid, self._folder), time.monotonic() + (limit or float("inf"))
        while process.poll() is None and not self._ending.is_set() and time.monotonic() < until:
            tree.look()
            with suppress(subprocess.TimeoutExpired):
                process.wait(LOOK_SECONDS)
        if process.poll() is None and self._ending.is_set():
            tree.look()
            process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(TERM_SECONDS)
        process.kill()
        code = process.wait()
        tree.kill()
        reader.join(1.0)
        return code

    def _read(self, stream: IO[bytes]) -> None:
        with stream:
            for line in stream:
                self._log("container", line.decode(errors="replace").rstrip("\r\n"))

    def _log(self, source: str, text: str) -> None:
        self._pod.log(source, text, time.time())
        with self._log_file.open("a", encoding="utf-8") as file:
            file.write(f"{time.strftime('%H:%M:%S')} {source}: {text}\n")


class ProcessRunner:
    """Runs each pod as a Container under `root`, with a proxy for each HTTP port; every call from one event loop."""

    def __init__(self, root: Path, api_url: str, extra: Mapping[str, str], open_proxy: Callable[[int], Proxy]) -> None:
        self._root, self._api_url, self._extra, self._open_proxy = root, api_url, extra, open_proxy
        self._containers: dict[str, Container] = {}
        self._ports: dict[str, dict[int, int]] = {}
        self._proxies: dict[str, dict[int, Proxy]] = {}
        for name in ("pods", "logs", "volumes"):
            (root / name).mkdir(parents=True, exist_ok=True)
        write_shims(root / "shims")

    def start(self, pod: Pod) -> None:
        if pod.id not in self._ports:
            self._ports[pod.id] = _free_ports(pod.ports, self._ports)
            self._proxies[pod.id] = {port: self._open_proxy(inner) for port, inner in self._ports[pod.id].items()}
        folder = self._root / "pods" / pod.id
        container = Container(pod, folder, self._environment(pod, folder), self._containers.get(pod.id))
        self._containers[pod.id] = container
        container.start()

    def stop(self, pod: Pod) -> None:
        container = self._containers.get(pod.id)
        if container:
            container.end()
        if pod.ended is not None:
            for proxy in self._proxies.pop(pod.id, {}).values():
                proxy.close()
            if container:
                threading.Thread(target=self._clear, args=(container, self._root / "pods" / pod.id)).start()

    def _clear(self, container: Container, folder: Path) -> None:
        container.join()
        shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        """Ends every pod; returns when none of their processes is left."""
        for container in self._containers.values():
            container.end()
        for id, container in self._containers.items():
            self._clear(container, self._root / "pods" / id)

    def runtime(self, pod: Pod) -> Runtime | None:
        since = self._containers[pod.id].since
        uptime = 0.0 if since is None else time.monotonic() - since
        return Runtime(uptime, {port: proxy.port for port, proxy in self._proxies[pod.id].items()})

    def _environment(self, pod: Pod, folder: Path) -> dict[str, str]:
        """The sandbox's own variables, then the request's, then the provider's, which win."""
        disk, volume = folder / "disk", Pod.volume_of(pod.body)
        home = disk / "home"
        storage = self._root / "volumes" / volume if volume else disk / "workspace"
        storage.mkdir(parents=True, exist_ok=True)
        ours = {
            "PATH": f"{self._root}/shims:{SYSTEM_PATH}",
            "LANG": "C.UTF-8",
            "HOME": str(home),
            "TMPDIR": str(disk / "tmp"),
            **{f"XDG_{name}_HOME": str(home / f".{name.lower()}") for name in ("CACHE", "CONFIG", "DATA", "STATE")},
            "PODKIT_GRACE_SECONDS": "3",
            "PODKIT_SANDBOX_GPU": pod.gpu.id,
            "PODKIT_SANDBOX_GPU_MIB": str(pod.gpu.memory * 1024 - 3084 * (pod.gpu.memory == 48)),
            "PODKIT_SANDBOX_CUDA": CUDA[-1],
            **self._extra,
        }
        asked = {
            name: SECRET.sub(lambda found: SECRETS.get(found[1], found[0]), value)
            for name, value in pod.body.get("env", {}).items()
        }
        provided = {
            "RUNPOD_POD_ID": pod.id,
            "RUNPOD_DC_ID": pod.place,
            "RUNPOD_GPU_COUNT": str(pod.body["gpu"]["count"]),
            "RUNPOD_PUBLIC_IP": "127.0.0.1",
            "RUNPOD_VOLUME_ID": volume or "",
            "RUNPOD_API_KEY": pod.key,
            "RUNPOD_API_URL": self._api_url,
            "PODKIT_VOLUME": str(storage),
            "PODKIT_LOCAL": str(disk / "local"),
            "PODKIT_SHIMS": str(self._root / "shims"),
            MARK: str(folder),
        }
        ports = {PORTS[port]: str(inner) for port, inner in self._ports[pod.id].items() if port in PORTS}
        return ours | asked | provided | ports


def _free_ports(wanted: list[int], taken: Mapping[str, Mapping[int, int]]) -> dict[int, int]:
    """A free loopback port for each private one, and none that another pod was given."""
    used = {port for ports in taken.values() for port in ports.values()}
    free: dict[int, int] = {}
    while len(free) < len(wanted):
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        if port not in used:
            used.add(port)
            free[wanted[len(free)]] = port
    return free


def write_shims(folder: Path) -> None:
    """Writes the programs that stand in for what needs a GPU or a gigabyte; `python3` is the sandbox's own."""
    root, python = Path(__file__).resolve().parent.parent, shlex.quote(sys.executable)
    shim = f"PYTHONPATH={shlex.quote(str(root))}${{PYTHONPATH:+:$PYTHONPATH}} exec {python} -P -m podkit_sandbox.shims."
    texts = {name: f'{shim}{name.replace("-", "_")} "$@"' for name in ("uv", "nvidia-smi", "cc")}
    texts |= {f"venv/{name}": f'{shim}{name.replace("-", "_")} "$@"' for name in ("vllm", "hf", "open-webui")}
    texts["python3"] = f'exec {python} "$@"'
    if not Path(sysconfig.get_path("include"), "Python.h").exists():  # a laptop may lack it, a pod's image does not
        site = folder / "site"
        site.mkdir(parents=True, exist_ok=True)
        (site / "Python.h").touch()
        patch = f"import sysconfig\nfor s in sysconfig._INSTALL_SCHEMES.values():\n    s['include'] = {str(site)!r}\n"
        (site / "sitecustomize.py").write_text(patch)
        texts["python3"] = f"PYTHONPATH={shlex.quote(str(site))}${{PYTHONPATH:+:$PYTHONPATH}} {texts['python3']}"
    (folder / "venv").mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / name).write_text(f"#!/bin/bash\n{text}\n")
        (folder / name).chmod(0o755)
