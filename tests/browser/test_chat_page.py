"""The real Open WebUI, installed by the boot's own step, used in a real browser, over two pods and one volume.

The tests build on one another in the order they stand here: what the first pod's user did, the second pod must know.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
from playwright.sync_api import Page, sync_playwright

from tests.clones import ROOT, Clone, new_clone
from tests.pages import page, share

MAC_CHROME = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"
BROWSER = next(
    filter(
        None,
        [os.environ.get("CHROME"), *map(shutil.which, ("chromium", "google-chrome", MAC_CHROME))],
    ),
    "",
)
PICTURE = os.environ.get("PODKIT_PICTURE_OF_THE_PAGE", "")
"""Where to keep a picture of the chat page: docs/chat-page.png was made with it."""
ANSWER_MS = 90_000
EMAIL = "admin@podkit.local"
pytestmark = pytest.mark.skipif(not BROWSER, reason="no chromium here (set CHROME)")


@dataclass(frozen=True)
class Served:
    url: str
    password: str


@pytest.fixture(scope="module")
def real_page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clone]:
    """A clone whose sandbox installs the real Open WebUI."""
    clone = new_clone(tmp_path_factory.mktemp("browser"), ROOT / ".venv/bin/uv")
    started = clone.run("podkit.sh", "sandbox", "start", "--real-webui")
    assert started.returncode == 0, started.stderr
    yield clone
    clone.run("podkit.sh", "sandbox", "stop")


def deploy(clone: Clone) -> Served:
    done = clone.run("deploy_olmocr.sh", "--sandbox")
    assert done.returncode == 0, done.stderr
    url = next(line.split()[1] for line in done.stdout.splitlines() if line.startswith("webui"))
    return Served(url, setting(clone, "WEBUI_ADMIN_PASSWORD"))


def setting(clone: Clone, name: str) -> str:
    lines = (clone.root / ".podkit/sandbox/secrets.env").read_text().splitlines()
    return next(line.partition("=")[2] for line in lines if line.startswith(f"{name}="))


@pytest.fixture(scope="module")
def first(real_page: Clone) -> Served:
    return deploy(real_page)


@pytest.fixture
def browser_page() -> Iterator[Page]:
    flags = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=flags)
        opened = browser.new_page(viewport={"width": 1200, "height": 900})
        yield opened
        if PICTURE:
            opened.screenshot(path=PICTURE)
        browser.close()


def sign_in(browser_page: Page, served: Served) -> None:
    browser_page.goto(f"{served.url}/auth", wait_until="domcontentloaded", timeout=ANSWER_MS)
    browser_page.fill("input[type=email]", EMAIL, timeout=ANSWER_MS)
    browser_page.fill("input[type=password]", served.password)
    browser_page.press("input[type=password]", "Enter")
    browser_page.wait_for_selector("#chat-input", timeout=ANSWER_MS)
    welcome = browser_page.get_by_role("button", name="Okay, Let's Go!")
    browser_page.add_locator_handler(welcome, welcome.click)  # whenever it comes up


def sign_in_over_http(served: Served, password: str) -> requests.Response:
    body = {"email": EMAIL, "password": password}
    return requests.post(f"{served.url}/api/v1/auths/signin", json=body, timeout=20)


def test_a_person_signs_in_uploads_a_page_and_reads_its_words(
    first: Served, browser_page: Page, tmp_path: Path
) -> None:
    image, words = page()
    file = tmp_path / "page.png"
    file.write_bytes(image)
    sign_in(browser_page, first)
    browser_page.locator("input[type=file]").first.set_input_files(str(file))
    browser_page.wait_for_selector("img[src*='/api/v1/files/']", timeout=ANSWER_MS)
    browser_page.fill("#chat-input", "What is the text on this page?")
    browser_page.press("#chat-input", "Enter")
    browser_page.get_by_text("Total 298,6").first.wait_for(
        timeout=ANSWER_MS
    )  # the last line of the page
    assert share(words, browser_page.inner_text("body")) >= 0.95


def test_sign_up_is_refused(first: Served) -> None:
    stranger = {
        "name": "stranger",
        "email": "stranger@example.org",
        "password": "stranger-stranger",
    }
    answer = requests.post(f"{first.url}/api/v1/auths/signup", json=stranger, timeout=20)
    assert answer.status_code in (400, 403)
    assert "token" not in answer.text


def test_a_wrong_password_is_refused(first: Served) -> None:
    assert sign_in_over_http(first, "wrong").status_code == 400


def test_onboarding_is_closed_and_nothing_is_shown_to_strangers(first: Served) -> None:
    assert not requests.get(f"{first.url}/api/config", timeout=20).json().get("onboarding")
    for path in ("/api/models", "/api/v1/chats/", "/openai/models", "/api/v1/users/"):
        assert requests.get(first.url + path, timeout=20).status_code in (401, 403), path


def test_the_next_pod_on_the_volume_has_the_chat_and_the_new_password(
    real_page: Clone, first: Served, browser_page: Page
) -> None:
    stopped = real_page.run("stop_pod.sh", "--all", "--yes", "--sandbox")
    assert stopped.returncode == 0, stopped.stderr
    file = real_page.root / ".podkit/sandbox/secrets.env"
    file.write_text(file.read_text().replace(first.password, "a new password for all"))
    second = deploy(real_page)
    assert sign_in_over_http(second, first.password).status_code == 400
    token = sign_in_over_http(second, "a new password for all").json()["token"]
    chats = requests.get(
        f"{second.url}/api/v1/chats/", headers={"Authorization": f"Bearer {token}"}, timeout=20
    ).json()
    assert len(chats) == 1
    sign_in(browser_page, Served(second.url, "a new password for all"))
    browser_page.goto(f"{second.url}/c/{chats[0]['id']}", timeout=ANSWER_MS)
    browser_page.get_by_text("Rapport", exact=False).first.wait_for(timeout=ANSWER_MS)
    image = browser_page.locator("img[src*='/api/v1/files/']").first
    image.wait_for(timeout=ANSWER_MS)
    assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") > 100
