"""vLLM: its command line, its first completion, and what it compiled, kept on the volume for the
next pod.
"""

import hashlib
import re
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from pod_http import request

from boot.chat_page import Ask
from boot.configuration import Configuration
from boot.failures import Fatal
from boot.services import Service

FIRST_COMPLETION_SECONDS = 300


def vllm_command(configuration: Configuration, checkpoint: Path) -> list[str]:
    program = configuration.local / "venv-vllm" / "bin" / "vllm"
    return [str(program), "serve", str(checkpoint), *configuration.expand("vllm.flags").split()]


def warm_up(configuration: Configuration, vllm: Service, ask: Ask = request) -> None:
    """One real completion. Raises Fatal if it fails."""
    content: list[Any] = [{"type": "text", "text": "What is on this page?"}]
    if configuration.model.sees_images:
        white_page = configuration.expand("white-page.txt").strip()
        content.append({"type": "image_url", "image_url": {"url": white_page}})
    body = {
        "model": configuration.model.served_names[0],
        "max_tokens": 16,
        "messages": [{"role": "user", "content": content}],
    }
    url = f"http://127.0.0.1:{configuration.api_port}/v1/chat/completions"
    status, _ = ask(url, body, configuration.api_key, timeout=FIRST_COMPLETION_SECONDS)
    if status == 200:
        return
    if vllm.process.poll() is not None:
        raise vllm.failure()
    raise Fatal(f"the first completion failed: HTTP {status}", "read vLLM's lines above")


def shared_cache(configuration: Configuration, gpu: str) -> Path:
    """The folder on the volume for what vLLM compiles on this GPU, with this driver, for this
    model.
    """
    constraints = (configuration.startup / "constraints-vllm.txt").read_bytes()
    versions = hashlib.sha256(constraints).hexdigest()[:12]
    key = re.sub("[^A-Za-z0-9.]+", "-", f"{gpu} {versions} {configuration.model.name}")
    return configuration.volume / "podkit" / "cache" / key


def copy_cache(source: Path, target: Path, pod: str) -> None:
    """Copies a cache from or to the volume: whole, and never over another's."""
    draft = target.with_name(f".incoming-{pod}")
    if not source.is_dir() or target.exists():
        return
    with suppress(OSError):
        shutil.copytree(source, draft, dirs_exist_ok=True)
        draft.rename(target)
    shutil.rmtree(draft, ignore_errors=True)
