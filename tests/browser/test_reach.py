"""What the real page reaches: the model, and nothing else. Not while it is used, which the kernel
records; and not for who is signed in as its admin and tries, which a listener counts.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page

from tests.browser.real_page import ANSWER_MS, STRACE, RealPage, Served, called, sign_in
from tests.waiting import eventually

pytestmark = pytest.mark.slow
REFUSED = "podkit: the page tried to"
PAGES = (
    *("/", "/notes", "/calendar", "/admin", "/admin/evaluations"),
    *("/workspace/models", "/workspace/knowledge", "/workspace/prompts", "/workspace/skills"),
)
TABS = """() => {
  const groups = [...document.querySelectorAll('div, nav')].filter((group) =>
    group.innerText?.includes('Keyboard') && group.innerText?.includes('Pipelines'));
  const smallest = groups.sort((a, b) => a.innerText.length - b.innerText.length)[0];
  const tabs = [...smallest.querySelectorAll('button')].filter((tab) => tab.innerText.trim());
  tabs.forEach((tab, number) => tab.setAttribute('data-tab', number));
  return tabs.map((tab) => tab.innerText.trim());
}"""
PLUGIN = (
    "open({file!r}, 'w').close()\n\nclass Pipe:\n    def pipe(self, body):\n        return 'x'\n"
)


class Listener:
    """A port of this machine that nobody should call; `calls` has the first bytes of who did."""

    def __init__(self) -> None:
        self.calls: list[bytes] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            try:
                caller, _ = self._server.accept()
            except OSError:
                return
            with caller:
                caller.settimeout(2)
                self.calls.append(caller.recv(200))
                caller.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    def close(self) -> None:
        self._server.close()


@pytest.fixture
def listener() -> Iterator[Listener]:
    listener = Listener()
    yield listener
    listener.close()


@pytest.fixture
def served(real_page: RealPage) -> Served:
    return real_page.served()


class Asked:
    """The URLs that a page in the browser has asked for."""

    def __init__(self, page: Page) -> None:
        self.urls: list[str] = []
        self._page = page
        page.on("request", lambda request: self.urls.append(request.url))

    def wait_until_quiet(self) -> None:
        """Returns once the page has asked for nothing new in a second; it never is idle, as Open
        WebUI keeps asking.
        """
        for _ in range(10):
            before = len(self.urls)
            self._page.wait_for_timeout(1000)
            if len(self.urls) == before:
                return

    def hosts(self) -> set[str]:
        return {urlsplit(url).netloc for url in self.urls} - {""}


def open_every_settings_page(page: Page, asked: Asked, url: str) -> list[str]:
    """The names of the tabs that were opened."""
    page.goto(f"{url}/admin/settings", timeout=ANSWER_MS)
    page.get_by_text("Pipelines", exact=True).first.wait_for(timeout=ANSWER_MS)
    tabs: list[str] = page.evaluate(TABS)
    for number in range(len(tabs)):
        page.click(f"[data-tab='{number}']", timeout=ANSWER_MS)
        asked.wait_until_quiet()
    return tabs


@pytest.mark.skipif(
    not shutil.which("strace"), reason="strace is not installed: apt install strace"
)
def test_the_kernels_record_has_a_call_that_is_made(tmp_path: Path) -> None:
    record = tmp_path / "calls"
    call = (
        "import socket; s = socket.socket(); s.setblocking(False); s.connect_ex(('192.0.2.1', 9))"
    )
    subprocess.run([*STRACE, "-o", str(record), sys.executable, "-c", call], check=True)
    assert called(record) == {("192.0.2.1", 9)}


@pytest.mark.skipif(
    not shutil.which("strace"), reason="strace is not installed: apt install strace"
)
def test_nothing_but_the_model_is_called_while_the_page_is_used(
    real_page: RealPage, served: Served, browser_page: Page, tmp_path: Path
) -> None:
    asked = Asked(browser_page)
    sign_in(browser_page, served)
    note = tmp_path / "note.txt"
    note.write_text("The meeting is on Monday. " * 200)
    browser_page.locator("input[type=file]").first.set_input_files(str(note))
    browser_page.get_by_text("note.txt").first.wait_for(timeout=ANSWER_MS)
    browser_page.fill("#chat-input", "When is the meeting?")
    browser_page.press("#chat-input", "Enter")
    browser_page.get_by_text("it can only repeat").first.wait_for(timeout=ANSWER_MS)
    memory = {"content": "I like tea"}
    added = served.admin().post(f"{served.url}/api/v1/memories/add", json=memory, timeout=20)
    assert added.status_code == 404
    for path in PAGES:
        browser_page.goto(served.url + path, timeout=ANSWER_MS)
        asked.wait_until_quiet()
    tabs = open_every_settings_page(browser_page, asked, served.url)
    assert {"General", "Connections", "Documents", "Audio", "Images", "Database"} <= set(tabs)
    assert called(real_page.record) == {("127.0.0.1", port) for port in real_page.model_ports}
    assert REFUSED not in served.log.read_text()
    assert asked.hosts() == {urlsplit(served.url).netloc}


def test_a_picture_whose_address_is_in_an_answer_is_not_fetched(
    served: Served, browser_page: Page, listener: Listener
) -> None:
    sign_in(browser_page, served)
    asked = Asked(browser_page)
    browser_page.fill("#chat-input", f"![the chat]({listener.url}/leak.png)")
    browser_page.press("#chat-input", "Enter")
    browser_page.get_by_text("it can only repeat").first.wait_for(timeout=ANSWER_MS)
    asked.wait_until_quiet()
    assert listener.calls == []


def test_the_admin_of_the_page_runs_no_code_in_the_pod(served: Served, tmp_path: Path) -> None:
    admin = served.admin()
    planted = tmp_path / "planted"
    plugin = {"id": "planted", "name": "x", "meta": {"description": "x", "manifest": {}}}
    plugin |= {"content": PLUGIN.format(file=str(planted)), "access_grants": []}
    for path in ("functions/create", "functions/sync", "tools/create"):
        body = {"functions": [plugin | {"user_id": "x"}]} if path.endswith("sync") else plugin
        answer = admin.post(f"{served.url}/api/v1/{path}", json=body, timeout=20)
        assert answer.status_code >= 400, (path, answer.text)
    run = admin.post(f"{served.url}/api/v1/utils/code/execute", json={"code": "1"}, timeout=20)
    assert run.status_code >= 400
    assert not planted.exists()
    assert admin.get(f"{served.url}/api/v1/functions/", timeout=20).json() == []


def test_the_admin_of_the_page_has_it_call_nobody(served: Served, listener: Listener) -> None:
    admin = served.admin()
    connections = admin.get(f"{served.url}/openai/config", timeout=20).json()
    try:
        for path, body in attempts(listener.url, connections):
            admin.post(served.url + path, json=body, timeout=30)
        admin.get(f"{served.url}/openai/models", timeout=30)
        admin.get(f"{served.url}/api/models?refresh=true", timeout=30)
    finally:
        restored = admin.post(f"{served.url}/openai/config/update", json=connections, timeout=30)
    assert restored.status_code == 200
    assert listener.calls == []
    reached = f"{REFUSED} reach ('127.0.0.1', {listener.port})"
    eventually(lambda: served.log.read_text().count(reached) >= 5)
    eventually(lambda: f"{REFUSED} look up elsewhere.example" in served.log.read_text())


def attempts(url: str, connections: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """What an admin could have Open WebUI 0.12.4 call, by path and body."""
    server: dict[str, Any] = {
        "url": url,
        "path": "/openapi.json",
        "auth_type": "none",
        "key": "",
        "config": {},
    }
    key = {"url": url, "key": "x"}
    webhook = {"name": "x", "url": url, "enabled": True, "events": ["*"], "targets": ["*"]}
    jupyter = {"ENABLE_CODE_EXECUTION": True, "CODE_EXECUTION_ENGINE": "jupyter"}
    embedding = {"RAG_EMBEDDING_ENGINE": "openai", "RAG_EMBEDDING_MODEL": "x"}
    return [
        ("/openai/verify", key),
        ("/ollama/verify", key),
        ("/api/v1/images/verify", {"engine": "comfyui", "url": url}),
        ("/api/v1/configs/tool_servers/verify", server),
        ("/api/v1/configs/tool_servers/verify", server | {"type": "mcp", "info": {"id": "x"}}),
        ("/api/v1/configs/terminal_servers/verify", server | {"id": "x", "name": "x"}),
        ("/api/v1/configs/oauth/clients/register", {"url": url, "client_id": "x"}),
        ("/api/v1/configs/code_execution", jupyter | {"CODE_EXECUTION_JUPYTER_URL": url}),
        ("/api/v1/utils/code/execute", {"code": "1"}),
        ("/api/v1/functions/load/url", {"url": f"{url}/plugin.py"}),
        ("/api/v1/tools/load/url", {"url": f"{url}/plugin.py"}),
        ("/api/v1/skills/load/url", {"url": f"{url}/skill.md"}),
        ("/api/v1/retrieval/process/web", {"url": url}),
        ("/api/v1/retrieval/process/url", {"url": "http://elsewhere.example/"}),
        ("/api/v1/retrieval/process/web", {"url": "http://elsewhere.example/"}),
        ("/api/v1/retrieval/embedding/update", {**embedding, "openai_config": key}),
        ("/api/v1/retrieval/process/text", {"name": "x", "content": "x"}),
        ("/api/events/webhooks", webhook),
        ("/openai/config/update", connections | {"OPENAI_API_BASE_URLS": [url]}),
        ("/api/v1/pipelines/add", {"url": url, "urlIdx": 0}),
        ("/ollama/config/update", {"ENABLE_OLLAMA_API": True, "OLLAMA_BASE_URLS": [url]}),
    ]


def test_a_page_that_was_misused_still_chats(served: Served) -> None:
    models = served.admin().get(f"{served.url}/api/models", timeout=30)
    assert [model["id"] for model in models.json()["data"]][:1] == ["olmocr"]
