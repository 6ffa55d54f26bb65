"""A page of another origin, opened in the browser of somebody who is signed in, can neither read
nor act: neither on another port, which counts as the same site as all pods are of one, nor on
another site.
"""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.browser.real_page import ANSWER_MS, RealPage, Served, sign_in

pytestmark = pytest.mark.slow
ATTACK = """async (url) => {
  const tried = {};
  const attempt = async (name, act) => {
    try { tried[name] = await act(); } catch (error) { tried[name] = 'failed'; }
  };
  const options = { credentials: 'include' };
  const blind = { ...options, method: 'POST', mode: 'no-cors' };
  const upload = new FormData();
  upload.append('file', new Blob(['planted']), 'planted.txt');
  await attempt('who', async () => (await fetch(url + '/api/v1/auths/', options)).text());
  await attempt('settings', async () => (await fetch(url + '/openai/config', options)).text());
  await attempt('change', async () => (await fetch(url + '/api/v1/users/user/settings/update', {
    ...options, method: 'POST', headers: { 'Content-Type': 'application/json' },
    body: '{"ui":{"planted":true}}' })).text());
  await attempt('upload', async () => fetch(url + '/api/v1/files/', { ...blind, body: upload }));
  await attempt('archive', async () => fetch(url + '/api/v1/chats/archive/all', blind));
  await attempt('picture', () => new Promise((done) => {
    const image = new Image();
    image.onload = () => done('shown');
    image.onerror = () => done('failed');
    image.src = url + '/static/favicon.png?not-cached';
  }));
  await attempt('socket', () => new Promise((done) => {
    const address = url.replace('http', 'ws') + '/ws/socket.io/?EIO=4&transport=websocket';
    const socket = new WebSocket(address);
    socket.onopen = () => done('open');
    socket.onerror = () => done('failed');
  }));
  return tried;
}"""


class Empty(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>another pod's page</title>")

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture(params=["127.0.0.1", "localhost"])
def other_origin(request: pytest.FixtureRequest) -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Empty)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://{request.param}:{server.server_port}/"
    server.shutdown()
    server.server_close()


@pytest.fixture
def served(real_page: RealPage) -> Served:
    return real_page.served()


def test_another_origins_page_neither_reads_nor_acts(
    served: Served, browser_page: Page, other_origin: str
) -> None:
    sign_in(browser_page, served)
    admin = served.admin()
    before = state(served, admin)
    browser_page.goto(other_origin)
    tried = browser_page.evaluate(ATTACK, served.url)
    for name in ("who", "settings", "change", "picture", "socket"):
        assert tried[name] == "failed", tried
    assert state(served, admin) == before


def state(served: Served, admin: Any) -> list[Any]:
    """What the attack would change: settings, files, chats."""
    paths = ("users/user/settings", "files/", "chats/", "chats/archived")
    return [admin.get(f"{served.url}/api/v1/{path}", timeout=20).json() for path in paths]


def test_another_origins_page_cannot_frame_the_page(
    served: Served, browser_page: Page, other_origin: str
) -> None:
    browser_page.goto(other_origin)
    with browser_page.expect_response(f"{served.url}/") as framed:
        browser_page.evaluate(
            "url => { document.body.append(Object.assign(document.createElement('iframe'), "
            "{src: url + '/'})) }",
            served.url,
        )
    assert framed.value.status == 403


def test_a_link_from_another_origin_opens_the_page(
    served: Served, browser_page: Page, other_origin: str
) -> None:
    sign_in(browser_page, served)
    browser_page.goto(other_origin)
    link = "url => { document.body.innerHTML = `<a href='${url}/'>chat</a>` }"
    browser_page.evaluate(link, served.url)
    browser_page.click("a")
    browser_page.wait_for_selector("#chat-input", timeout=ANSWER_MS)


def test_the_session_cookie_is_for_this_site_and_out_of_reach_of_scripts(
    served: Served, browser_page: Page
) -> None:
    sign_in(browser_page, served)
    (cookie,) = [one for one in browser_page.context.cookies() if one["name"] == "token"]
    assert cookie["httpOnly"]
    assert cookie["sameSite"] == "Strict"
