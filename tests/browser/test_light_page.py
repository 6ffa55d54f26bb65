"""The sandbox's light chat page in a real browser: the login that deploy shows lets a person in,
and the page chats.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from tests.pages import share
from tests.sandbox.shims.stand_ins import (
    EMAIL,
    PNG,
    WORDS,
    of_a_page,
    serving_model,
    serving_page,
)

MAC_CHROME = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"
CHROMES = (os.environ.get("CHROME"), "chromium", "google-chrome", MAC_CHROME)
BROWSER = next((path for name in CHROMES if name and (path := shutil.which(name))), "")
expect.set_options(timeout=60_000)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not BROWSER, reason="no chromium here (set CHROME)"),
]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The page in front of a model server that takes one image."""
    folder = tmp_path_factory.mktemp("page")
    flags = ["--served-model-name", "olmocr", "--limit-mm-per-prompt", '{"image":1}']
    with serving_model("model", *flags) as (model, _):
        env = of_a_page(folder, "correct horse") | {"OPENAI_API_BASE_URLS": f"{model}/v1"}
        with serving_page(folder, **env) as (url, _):
            yield url


@pytest.fixture
def page(served: str) -> Iterator[Page]:
    """The page, opened; whatever it asks for elsewhere, or has to say of an error,
    fails the test.
    """
    asked: list[str] = []
    wrong: list[str] = []
    flags = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=flags)
        opened = browser.new_page()
        opened.on("request", lambda request: asked.append(request.url))
        opened.on("pageerror", lambda error: wrong.append(str(error)))
        opened.goto(f"{served}/auth")
        yield opened
        browser.close()
    assert [url for url in asked if not url.startswith((served, "data:"))] == []
    assert wrong == []


def sign_in(page: Page, password: str) -> None:
    page.fill("input[type=email]", EMAIL)
    page.fill("input[type=password]", password)
    page.press("input[type=password]", "Enter")


def test_a_wrong_password_is_told_and_the_right_one_lets_in(page: Page) -> None:
    expect(page.locator("#chat-input")).to_be_hidden()
    sign_in(page, "wrong")
    expect(page.locator("#refused")).to_contain_text("incorrect")
    sign_in(page, "correct horse")
    expect(page.locator("#chat-input")).to_be_visible()
    page.reload()
    expect(page.locator("#chat-input")).to_be_visible()
    page.click("#sign-out")
    expect(page.locator("#chat-input")).to_be_hidden()


def test_a_person_asks_uploads_a_page_and_reads_its_words(page: Page, tmp_path: Path) -> None:
    sign_in(page, "correct horse")
    expect(page.locator("#model")).to_have_value("olmocr")
    page.fill("#chat-input", "Who are <b>you</b>?")
    page.press("#chat-input", "Enter")
    answer = page.locator("article.assistant")
    expect(answer).to_contain_text("Who are <b>you</b>?")
    expect(answer).to_contain_text("stand-in")

    file = tmp_path / "page.png"
    file.write_bytes(PNG)
    page.set_input_files("#image", str(file))
    page.click("#send")
    last = page.locator("article.assistant").last
    expect(last).to_contain_text("Total 298,6")
    assert share(WORDS, last.inner_text()) >= 0.95
    image = page.locator("article.user img")
    assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") == 995


def test_what_the_model_refuses_is_shown_and_a_new_chat_goes_on(page: Page, tmp_path: Path) -> None:
    file = tmp_path / "page.png"
    file.write_bytes(PNG)
    again = tmp_path / "again.png"
    again.write_bytes(PNG)
    sign_in(page, "correct horse")
    page.set_input_files("#image", [str(file), str(again)])
    page.click("#send")
    expect(page.locator("article.error")).to_contain_text("At most 1 image(s)")
    page.click("#new")
    expect(page.locator("article")).to_have_count(0)
    page.fill("#chat-input", "Hello")
    page.click("#send")
    expect(page.locator("article.assistant")).to_contain_text("Hello")
