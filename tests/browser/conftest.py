"""One sandbox with the real Open WebUI for all tests of this folder, and a browser for each."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.clones import ROOT, new_clone

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.browser.real_page import RealPage

PICTURE = os.environ.get("PODKIT_PICTURE_OF_THE_PAGE", "")
"""Where to keep a picture of the chat page: docs/chat-page.png was made with it."""


@pytest.fixture(scope="session")
def kept_open_webui(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the first installation of Open WebUI is kept for the others.

    PODKIT_KEPT_OPEN_WEBUI names a folder that keeps it for the next run, too.
    """
    named = os.environ.get("PODKIT_KEPT_OPEN_WEBUI")
    if named:
        return Path(named)
    return tmp_path_factory.mktemp("installed") / "venv-webui"


@pytest.fixture(scope="session")
def real_page(
    tmp_path_factory: pytest.TempPathFactory, kept_open_webui: Path
) -> Iterator[RealPage]:
    from tests.browser.real_page import RealPage, browser, install_open_webui_once

    if not browser():
        pytest.skip("no chromium here (set CHROME)")
    folder = tmp_path_factory.mktemp("browser")
    clone = new_clone(folder, ROOT / ".venv/bin/uv")
    started = clone.run("podkit.sh", "sandbox", "start", "--real-webui")
    assert started.returncode == 0, started.stderr
    install_open_webui_once(clone, kept_open_webui, folder / "calls")
    yield RealPage(clone, folder / "calls")
    clone.run("podkit.sh", "sandbox", "stop")


@pytest.fixture
def browser_page() -> Iterator[Page]:
    from playwright.sync_api import sync_playwright

    from tests.browser.real_page import browser

    flags = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=browser(), args=flags)
        opened = started.new_page(viewport={"width": 1200, "height": 900})
        yield opened
        if PICTURE:
            opened.screenshot(path=PICTURE)
        started.close()
