"""From an empty pod to a served model: check, install, fetch, serve, prove, supervise.

One function a step; what can run side by side does. It must never leave a failure without one line that says what
happened and what to do. After that line it exits with 70, and start.sh ends the pod.
"""

import json
import os
import re
import secrets
import shutil
import signal
import sqlite3
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import checks
import webui
from process import LOCAL, POD, SETTINGS, STARTUP, VOLUME, Fatal, Service, environment, expand, run, say, wait_healthy
from process import request as http

START = time.monotonic()
BACKOFF_SECONDS = (2, 10, 30)
SNAPSHOT_SECONDS = 120
API = f"http://127.0.0.1:{SETTINGS['PODKIT_API_PORT']}"
SECONDS: dict[str, float] = {}


def elapsed() -> float:
    return round(time.monotonic() - START, 1)


@contextmanager
def phase(name: str) -> Iterator[None]:
    """Logs a phase and its seconds; a Fatal inside it gets its name."""
    begin = elapsed()
    say(f"phase={name} event=start t={begin}")
    try:
        yield
    except Fatal as fatal:
        fatal.step = fatal.step or name
        say(f"phase={name} event=failed t={elapsed()}")
        raise
    SECONDS[name] = round(elapsed() - begin, 1)
    say(f"phase={name} event=done t={elapsed()}")


def pin(package: str, name: str) -> str:
    """`package==version`, as constraints-<name>.txt has it."""
    text = (STARTUP / f"constraints-{name}.txt").read_text()
    return next(line for line in text.splitlines() if line.startswith(f"{package}=="))


def install(package: str, name: str, *options: str) -> Path:
    """The bin folder of an environment of its own on local disk; constraints-<name>.txt pins every version."""
    folder = LOCAL / f"venv-{name}"
    venv = ["uv", "venv", "--no-python-downloads", "--python"]
    try:
        run("uv", [*venv, "3.12", str(folder)])
    except Fatal:
        run("uv", [*venv, "3.11", str(folder)])
    command = ["uv", "pip", "install", "--python", str(folder / "bin" / "python"), "--compile-bytecode", "--quiet"]
    run("uv", [*command, "--constraints", str(STARTUP / f"constraints-{name}.txt"), *options, pin(package, name)])
    return folder / "bin"


def fetch() -> Path:
    """The pinned checkpoint's folder: untouched if it is there, else downloaded beside it and renamed."""
    repo, revision, cache = SETTINGS["MODEL_REPO"], SETTINGS["MODEL_REVISION"], VOLUME / "hf_cache"
    target = cache / f"{repo.replace('/', '--')}@{revision}"
    if (target / "config.json").is_file():
        return target
    cache.mkdir(exist_ok=True)
    for old in cache.glob(".incoming-*"):
        if f"-{POD}-" in old.name or time.time() - old.stat().st_mtime > 86_400:  # no download takes a day
            shutil.rmtree(old, ignore_errors=True)
    incoming = cache / f".incoming-{POD}-{secrets.token_hex(4)}"
    hf = str(install("huggingface-hub", "hf") / "hf")
    run("hf", [hf, "download", repo, "--revision", revision, "--local-dir", str(incoming)], progress(incoming))
    shutil.rmtree(incoming / ".cache", ignore_errors=True)
    with suppress(OSError):  # another pod may have been first
        incoming.rename(target)
    shutil.rmtree(incoming, ignore_errors=True)
    if not (target / "config.json").is_file():
        raise Fatal(f"{target} holds no complete checkpoint", "delete that folder on the volume; deploy again")
    return target


def progress(folder: Path) -> Callable[[], None]:
    """A function that logs the bytes in `folder` every 5 seconds; the total is the weights' size."""
    told, total = elapsed(), int(float(SETTINGS["MODEL_WEIGHTS_GIB"]) * 2**30)

    def tell() -> None:
        nonlocal told
        if elapsed() - told >= 5:
            told, done = elapsed(), 0
            for path in folder.rglob("*"):
                with suppress(OSError):  # renamed meanwhile
                    done += path.stat().st_size
            say(f"phase=fetch event=progress t={told} bytes={done} total={total}")

    return tell


def prefetch(model: Path) -> None:
    """Reads the weights once, so that they are in memory when vLLM wants them."""
    buffer = bytearray(2**24)
    for path in sorted(model.glob("*.safetensors")):
        with open(path, "rb", buffering=0) as file:
            while file.readinto(buffer):
                pass


def copy_cache(source: Path, target: Path) -> None:
    """What vLLM compiled, from or to the volume: whole and renamed, so that two pods never mix theirs."""
    draft = target.with_name(f".incoming-{POD}-{secrets.token_hex(4)}")
    if source.is_dir() and not target.exists():
        with suppress(OSError):
            shutil.copytree(source, draft)
            draft.rename(target)
        shutil.rmtree(draft, ignore_errors=True)


def vllm_command(model: Path) -> list[str]:
    return [str(LOCAL / "venv-vllm" / "bin" / "vllm"), "serve", str(model), *expand("vllm.flags").split()]


def warm_up(vllm: Service) -> None:
    """One real completion, and the proof that nothing answers without the key."""
    content: list[dict[str, Any]] = [{"type": "text", "text": "What is on this page?"}]
    if SETTINGS["MODEL_PROBE"] == "image":
        content.append({"type": "image_url", "image_url": {"url": expand("white-page.txt").strip()}})
    body = {"model": SETTINGS["MODEL_SERVED_NAMES"].split()[0], "max_tokens": 16}
    body["messages"] = [{"role": "user", "content": content}]
    status, answer = http(f"{API}/v1/chat/completions", body, SETTINGS["PODKIT_API_KEY"], timeout=300)
    if vllm.process.poll() is not None:
        raise vllm.failure()
    if status != 200 or not (answer or {}).get("choices"):
        raise Fatal(f"the first completion failed: HTTP {status}", "read vLLM's lines above")
    for path in ("/v1/models", "/metrics", "/tokenize"):
        if http(API + path)[0] != 401:
            raise Fatal(f"{path} answers without the key", "read vLLM's lines above; deploy again")


def announce(gpu: str) -> None:
    """READY: a table, a line in boots.jsonl, and the file that the watchdog waits for."""
    (LOCAL / "ready").touch()
    for name, seconds in SECONDS.items():
        say(f"boot {name:<8} {seconds:7.1f} s")
    say(f"boot {'in all':<8} {elapsed():7.1f} s")
    line = {"at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "pod": POD, "model": SETTINGS["PODKIT_MODEL"]}
    line |= {"gpu": gpu, "data_center": SETTINGS.get("RUNPOD_DC_ID", "")}
    with suppress(OSError), open(VOLUME / "podkit" / "boots.jsonl", "a") as file:
        file.write(json.dumps({**line, "seconds": SECONDS, "total": elapsed()}) + "\n")


def revive(service: Service) -> None:
    """Starts a dead service again, after a pause, up to 3 times. Raises Fatal at its fourth death."""
    failure = service.failure()
    service.stop(0)  # the rest of its group: vLLM's engine would keep the GPU's memory
    if service.deaths == len(BACKOFF_SECONDS):
        failure.step = "serve"
        raise failure
    pause = BACKOFF_SECONDS[service.deaths]
    service.deaths += 1
    say(f"{service.name} died, start {service.deaths} of 3 again in {pause} s: {failure.reason}")
    time.sleep(pause)
    service.start()


class Boot:
    """One boot: its strands run side by side, and the first end of any of them is the end of all."""

    def __init__(self) -> None:
        self.ends: SimpleQueue[BaseException | None] = SimpleQueue()  # None: SIGTERM
        self.pool = ThreadPoolExecutor(8)
        self.chats = webui.Chats(VOLUME / "podkit" / "open-webui" / SETTINGS["PODKIT_MODEL"])

    def strand(self, function: Callable[[], Any]) -> "Future[Any]":
        future = self.pool.submit(function)
        future.add_done_callback(lambda done: self.ends.put(done.exception()) if done.exception() else None)
        return future

    def page(self) -> Service:
        with phase("webui"):
            install("open-webui", "webui", "--override", str(STARTUP / "webui-overrides.txt"))
            self.chats.restore(time.time())
            service = webui.serve_proven()
            self.chats.live = True
            return service

    def model(self) -> Path:
        with phase("fetch"):
            model = fetch()
        self.pool.submit(prefetch, model)
        return model

    def sequence(self) -> None:
        with phase("check"):
            checks.settings()
            gpu = checks.gpu()
            checks.compiler()
            checks.disks()
        page, model = self.strand(self.page), self.strand(self.model)
        key = f"{gpu} {pin('vllm', 'vllm')} {SETTINGS['PODKIT_MODEL']}"
        cache = VOLUME / "podkit" / "cache" / re.sub("[^A-Za-z0-9.]+", "-", key)
        cached = self.pool.submit(copy_cache, cache, LOCAL / "cache")
        with phase("install"):
            install("vllm", "vllm")
        command = vllm_command(model.result())
        cached.result()
        with phase("load"):
            vllm = Service("vllm", command, environment("vllm.env"))
            wait_healthy(vllm, API)
        with phase("warmup"):
            warm_up(vllm)
        services = [vllm, page.result()]
        with phase("ready"):
            announce(gpu)
        self.pool.submit(copy_cache, LOCAL / "cache", cache)
        self.strand(self.keep_chats)
        while True:
            for service in services:
                if service.process.poll() is not None:
                    revive(service)
            time.sleep(1)

    def keep_chats(self) -> None:
        while True:
            try:
                self.chats.keep(time.time())
            except (OSError, sqlite3.Error) as error:
                say(f"chats could not be saved, trying again in {SNAPSHOT_SECONDS} s: {error}")
            time.sleep(SNAPSHOT_SECONDS)

    def shut_down(self) -> None:
        """Within 10 seconds: 4 for the chats, then 5 for the services to end by themselves."""
        saving = threading.Thread(target=self.chats.keep, args=(time.time(), True), daemon=True)
        saving.start()
        saving.join(4)
        services, deadline = list(Service.running), time.monotonic() + 5
        for service in services:
            service.signal(signal.SIGTERM)
        while time.monotonic() < deadline and any(service.process.poll() is None for service in services):
            time.sleep(0.1)
        for service in services:
            service.signal(signal.SIGKILL)


def main() -> int:
    """The exit code: 143 after SIGTERM, 70 after a failure."""
    boot = Boot()
    signal.signal(signal.SIGTERM, lambda *_: boot.ends.put(None))
    boot.strand(boot.sequence)
    end = boot.ends.get()
    if isinstance(end, Fatal):
        say(f"fatal step={end.step} reason={end.reason} fix={end.fix}")
    elif end:
        traceback.print_exception(end)
        say(f"fatal step=boot reason={type(end).__name__}: {' '.join(str(end).split())} fix=report this with the log")
    boot.shut_down()
    return 70 if end else 143


if __name__ == "__main__":
    os._exit(main())  # not sys.exit, which would wait for the strands
