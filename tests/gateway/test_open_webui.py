"""The real Open WebUI behind the gateway: each person of the page is counted."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.ports import free_port
from tests.waiting import eventually

from .conftest import config_for
from .process import PASSWORD, ROOT, Gateway, answers
from .stub import Stub, all_seen

pytestmark = pytest.mark.slow
ADMIN = "admin@example.com"
MEMBER = "fatou@example.com"
SECONDS = 300
"""Its start takes half a minute, and minutes on a busy machine."""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with Open WebUI; PODKIT_KEPT_OPEN_WEBUI names one to use."""
    kept = os.environ.get("PODKIT_KEPT_OPEN_WEBUI", "")
    if kept and Path(kept, "bin/python").exists():
        return Path(kept, "bin/python")
    uv = str(Path(sys.prefix) / "bin/uv")
    folder = tmp_path_factory.mktemp("open-webui") / "venv"
    subprocess.run([uv, "venv", "-q", "--python", sys.executable, str(folder)], check=True)
    pinned = ROOT / "startup/constraints-webui.txt"  # its hashes are those of a pod's Python
    words = [uv, "pip", "install", "-q", "--no-verify-hashes", "--no-deps", "-r", str(pinned)]
    subprocess.run([*words, "--python", str(folder / "bin/python")], check=True)
    return folder / "bin/python"


@pytest.fixture(scope="module")
def gateway_of_page(
    stubs: list[Stub], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("page")
    gateway = Gateway(folder, config_for(stubs), FIRST_KEY="k")
    gateway.prepare()
    gateway.start()
    yield gateway
    gateway.stop()


@pytest.fixture(scope="module")
def page(
    python: Path, gateway_of_page: Gateway, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Open WebUI with what docs/gateway.md says; its URL."""
    folder = tmp_path_factory.mktemp("webui")
    port = free_port()
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "DATA_DIR": str(folder),
        "FROM_INIT_PY": "true",
        "WEBUI_ADMIN_EMAIL": ADMIN,
        "WEBUI_ADMIN_PASSWORD": PASSWORD,
        "WEBUI_SECRET_KEY": "s" * 40,
        "OFFLINE_MODE": "true",
        "ENABLE_OLLAMA_API": "false",
        "ENABLE_PERSISTENT_CONFIG": "false",
        "BYPASS_MODEL_ACCESS_CONTROL": "true",
        "RAG_EMBEDDING_ENGINE": "openai",
        "OPENAI_API_BASE_URLS": f"{gateway_of_page.url}/v1",
        "OPENAI_API_KEYS": gateway_of_page.make_key("--on-behalf", "--label", "chat page"),
        "ENABLE_FORWARD_USER_INFO_HEADERS": "true",
    }
    words = ["-m", "uvicorn", "open_webui.main:app", "--host", "127.0.0.1", "--port", str(port)]
    with (folder / "log").open("w") as log:
        running = subprocess.Popen(
            [str(python), *words], env=environment, cwd=folder, stdout=log, stderr=log
        )
    url = f"http://127.0.0.1:{port}"
    try:
        eventually(lambda: running.poll() is None and answers(f"{url}/health"), SECONDS, every=0.5)
        yield url
    finally:
        running.terminate()
        running.wait(60)


def sign_in(page: str, email: str) -> requests.Session:
    body = {"email": email, "password": PASSWORD}
    answer = requests.post(f"{page}/api/v1/auths/signin", json=body, timeout=60)
    answer.raise_for_status()
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {answer.json()['token']}"
    return session


def chat(page: str, session: requests.Session) -> Any:
    question = [{"role": "user", "content": "Bonjour"}]
    body = {"model": "olmocr", "messages": question, "stream": False}
    answer = session.post(f"{page}/api/chat/completions", json=body, timeout=120)
    answer.raise_for_status()
    return answer.json()


def test_two_people_in_the_chat_page_are_two_rows_of_usage(
    page: str, gateway_of_page: Gateway, stubs: list[Stub]
) -> None:
    admin = sign_in(page, ADMIN)
    admin.get(f"{page}/api/models", timeout=60).raise_for_status()
    person = {"name": "Fatou", "email": MEMBER, "password": PASSWORD, "role": "user"}
    added = admin.post(f"{page}/api/v1/auths/add", json=person, timeout=60)
    added.raise_for_status()
    for session, times in ((admin, 1), (sign_in(page, MEMBER), 2)):
        for _ in range(times):
            told = chat(page, session)
            assert told["choices"][0]["message"]["content"] == "Bonjour à tous"

    def counted() -> dict[str, int]:
        lines = gateway_of_page.quickly("usage", "--by", "person", "--csv").splitlines()[1:]
        return {line.split(",")[0]: int(line.split(",")[1]) for line in lines}

    eventually(lambda: counted().get(MEMBER) == 2)
    assert counted() == {ADMIN: 1, MEMBER: 2}
    for seen in all_seen(stubs):
        assert not [name for name in seen.headers if "openwebui" in name]
