"""What the tests of the stand-ins share: they are run as real processes, and talked to over
loopback.
"""

import base64
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path

import psutil
import requests
from openai.types.chat import (
    ChatCompletionContentPartImageParam,
    ChatCompletionUserMessageParam,
)
from PIL import Image

from podkit_sandbox.shims.vllm.reader import PROCESSES
from tests.pages import page
from tests.ports import free_port

ROOT = Path(__file__).resolve().parents[3]
PNG, WORDS = page()
CHAT = "/v1/chat/completions"
SERVE = ["serve", "model", "--served-model-name", "olmocr"]


def part(image: bytes, kind: str = "png") -> ChatCompletionContentPartImageParam:
    """The part of a message that holds an image file."""
    url = f"data:image/{kind};base64,{base64.b64encode(image).decode()}"
    return {"type": "image_url", "image_url": {"url": url}}


IMAGE = part(PNG)
ASK: list[ChatCompletionUserMessageParam] = [
    {"role": "user", "content": [{"type": "text", "text": "What does it say?"}, IMAGE]}
]


def shim(name: str, *args: object) -> list[str]:
    return [sys.executable, "-m", f"podkit_sandbox.shims.{name}", *map(str, args)]


def run(name: str, *args: object, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        shim(name, *args), check=False, env=os.environ | env, capture_output=True, text=True
    )


@contextmanager
def running(command: list[str], port: int, env: dict[str, str]) -> Iterator[tuple[str, int]]:
    """Runs a server; yields its URL, once it answers, and its process id."""
    url = f"http://127.0.0.1:{port}"
    with subprocess.Popen(command, env=os.environ | env) as process:
        try:
            while process.poll() is None:
                try:
                    requests.get(f"{url}/health", timeout=5)
                    break
                except requests.RequestException:
                    time.sleep(0.02)
            yield url, process.pid
        finally:
            process.terminate()


@contextmanager
def serving_model(*args: object, **env: str) -> Iterator[tuple[str, int]]:
    """A model server on a free port, asked to listen on every address."""
    port = free_port()
    command = shim("vllm", "serve", *args, "--host", "0.0.0.0", "--port", port)
    with running(command, port, env) as served:
        yield served


EMAIL = "a@b.c"


def of_a_page(folder: Path, password: str) -> dict[str, str]:
    """The environment of a chat page that keeps its data in that folder; nobody answers behind
    it.
    """
    data = folder / "webui-data"
    data.mkdir(exist_ok=True)
    return {
        "DATA_DIR": str(data),
        "WEBUI_ADMIN_EMAIL": EMAIL,
        "WEBUI_ADMIN_PASSWORD": password,
        "OPENAI_API_BASE_URLS": "http://127.0.0.1:9/v1",
        "OPENAI_API_KEYS": "key",
    }


def python_of_the_page(folder: Path) -> Path:
    """The Python that a pod runs its chat page with, made as a pod makes it."""
    python = folder / "venv-webui/bin/python"
    if not python.exists():
        run("uv", "venv", folder / "venv-webui").check_returncode()
        install = ["pip", "install", "--python", python, "open-webui==0.12.4"]
        run("uv", *install).check_returncode()
    return python


@contextmanager
def serving_page(folder: Path, **env: str) -> Iterator[tuple[str, int]]:
    """The light page on a free port, served as a pod serves it."""
    port = free_port()
    python = str(python_of_the_page(folder))
    command = [python, "-P", str(ROOT / "startup/page_server.py"), "127.0.0.1", str(port)]
    with running(command, port, env | {"CORS_ALLOW_ORIGIN": f"http://127.0.0.1:{port}"}) as served:
        yield served


def get(url: str, token: str = "") -> requests.Response:
    return requests.get(url, headers={"Authorization": f"Bearer {token}"}, timeout=60)


def post(url: str, body: object, token: str = "") -> requests.Response:
    return requests.post(url, json=body, headers={"Authorization": f"Bearer {token}"}, timeout=60)


def metric(url: str, name: str, key: str = "key") -> float:
    text = get(f"{url}/metrics", key).text
    rows = [line for line in text.splitlines() if line.startswith(f"vllm:{name}{{")]
    return sum(float(row.split()[-1]) for row in rows)


def readers(pid: int) -> list[psutil.Process]:
    """The processes of a model server that read pages."""
    children = psutil.Process(pid).children()
    return [child for child in children if "podkit_sandbox.shims.ocr" in child.cmdline()]


@contextmanager
def held_readers(url: str, pid: int) -> Iterator[list[psutil.Process]]:
    """All the processes that read pages, held: what is asked for meanwhile waits for them."""
    blank = BytesIO()
    Image.new("L", (64, 64), "white").save(blank, "PNG")
    body = {"messages": [{"role": "user", "content": [part(blank.getvalue())]}]}
    with ThreadPoolExecutor() as pool:
        while len(readers(pid)) < PROCESSES:
            wait([pool.submit(post, url + CHAT, body, "key") for _ in range(PROCESSES)])
    held = readers(pid)
    for process in held:
        process.suspend()
    try:
        yield held
    finally:
        for process in held:
            with suppress(psutil.NoSuchProcess):
                process.resume()
