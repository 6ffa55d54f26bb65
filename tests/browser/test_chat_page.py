"""The real Open WebUI, installed by the boot's own step, used in a real browser, over two pods and
one volume.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import requests
from playwright.sync_api import Page

from tests.browser.real_page import ANSWER_MS, RealPage, sign_in
from tests.pages import page, share

pytestmark = pytest.mark.slow


def test_a_person_uploads_a_page_reads_its_words_and_finds_them_on_the_next_pod(
    real_page: RealPage, browser_page: Page, tmp_path: Path
) -> None:
    first = real_page.served()
    image, words = page()
    file = tmp_path / "page.png"
    file.write_bytes(image)
    sign_in(browser_page, first)
    browser_page.locator("input[type=file]").first.set_input_files(str(file))
    browser_page.wait_for_selector("img[src*='/api/v1/files/']", timeout=ANSWER_MS)
    browser_page.fill("#chat-input", "What is the text on this page?")
    browser_page.press("#chat-input", "Enter")
    last_line = browser_page.get_by_text("Total 298,6").first
    last_line.wait_for(timeout=ANSWER_MS)
    assert share(words, browser_page.inner_text("body")) >= 0.95
    browser_page.wait_for_url("**/c/*", timeout=ANSWER_MS)
    chat = browser_page.url.rpartition("/")[2]

    second = real_page.deploy_with("a new password for all")
    assert second.sign_in(first.password).status_code == 400
    sign_in(browser_page, second)
    browser_page.goto(f"{second.url}/c/{chat}", timeout=ANSWER_MS)
    browser_page.get_by_text("Rapport", exact=False).first.wait_for(timeout=ANSWER_MS)
    picture = browser_page.locator("img[src*='/api/v1/files/']").first
    picture.wait_for(timeout=ANSWER_MS)
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") > 100


def test_sign_up_is_refused(real_page: RealPage) -> None:
    stranger = {"name": "x", "email": "stranger@example.org", "password": "stranger-stranger"}
    signup = f"{real_page.served().url}/api/v1/auths/signup"
    answer = requests.post(signup, json=stranger, timeout=20)
    assert answer.status_code in (400, 403)
    assert "token" not in answer.text


def test_a_wrong_password_is_refused(real_page: RealPage) -> None:
    assert real_page.served().sign_in("wrong").status_code == 400


def test_onboarding_is_closed_and_nothing_is_shown_to_strangers(real_page: RealPage) -> None:
    url = real_page.served().url
    assert not requests.get(f"{url}/api/config", timeout=20).json().get("onboarding")
    for path in ("/api/models", "/api/v1/chats/", "/openai/models", "/api/v1/users/"):
        assert requests.get(url + path, timeout=20).status_code in (401, 403), path
    for path in ("/docs", "/openapi.json"):
        answer = requests.get(url + path, timeout=20)
        assert "swagger" not in answer.text
        assert '"openapi"' not in answer.text
