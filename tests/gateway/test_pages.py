"""The four pages in a real browser: sign in, make a key, use it, see the usage; limits on the
admin's page.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.waiting import eventually

from .process import PASSWORD, Gateway

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    import shutil

    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("Chromium is not installed: apt install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context()
    page = context.new_page()
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text))
    yield page
    context.close()
    assert [text for text in problems if "Content Security Policy" in text] == []


def sign_in(page: Page, gateway: Gateway, email: str) -> None:
    page.goto(gateway.url)
    page.get_by_label("E-mail").fill(email)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("heading", name="My keys").wait_for()


def test_a_person_makes_a_key_uses_it_and_sees_what_was_used(gateway: Gateway, page: Page) -> None:
    sign_in(page, gateway, "awa@example.com")
    page.get_by_label("What it is for").fill("<script>alert(1)</script>")
    page.get_by_role("button", name="Make a key").click()
    key = page.locator("#new-key").inner_text()
    assert re.fullmatch(r"pk_live_\w{8}_[\w-]{47}", key)
    assert gateway.ask(key).status_code == 200
    page.goto(f"{gateway.url}/keys")
    assert key not in page.content()
    assert "<script>" not in page.content()

    def is_counted() -> bool:
        page.goto(f"{gateway.url}/usage")
        return key.split("_")[2] in page.content()

    eventually(is_counted)
    page.goto(f"{gateway.url}/keys")
    page.get_by_role("row", name=key.split("_")[2]).get_by_role("button", name="Revoke").click()
    page.get_by_role("heading", name="My keys").wait_for()
    assert gateway.ask(key).status_code == 401
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("heading", name="Sign in").wait_for()
    page.goto(f"{gateway.url}/usage")
    assert page.url.endswith("/sign-in")


@pytest.mark.usefixtures("within_a_minute")
def test_an_admin_sees_backends_and_limits_a_key(gateway: Gateway, page: Page) -> None:
    key = gateway.make_key("--label", "to limit")
    sign_in(page, gateway, "admin@example.com")
    page.get_by_role("link", name="Admin").click()
    page.get_by_role("cell", name="first").first.wait_for()
    row = page.get_by_role("row", name=key.split("_")[2])
    row.get_by_label("requests per minute").fill("1")
    row.get_by_role("button", name="Save").click()
    page.get_by_role("heading", name="Backends").wait_for()
    assert [gateway.ask(key).status_code for _ in range(2)] == [200, 429]


def test_a_member_finds_no_admin_page(gateway: Gateway, page: Page) -> None:
    sign_in(page, gateway, "awa@example.com")
    answer = page.goto(f"{gateway.url}/admin")
    assert answer
    assert answer.status == 404
