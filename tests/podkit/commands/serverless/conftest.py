"""The commands of this folder talk to a platform on paper, on its clock."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from podkit.commands import app as application
from podkit.runpod import session
from tests.podkit.commands.desk import Run
from tests.podkit.commands.serverless.shop import TOKEN, Shop
from tests.podkit.serverless.cloud import Cloud


@pytest.fixture
def cloud() -> Cloud:
    return Cloud()


@pytest.fixture
def clock(cloud: Cloud) -> Any:
    return cloud


@pytest.fixture
def shop(root: Path, cloud: Cloud, run: Run, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """A checkout with a config of one service, its first job and a token in .env."""
    monkeypatch.setattr(session, "bounded_session", cloud.session)
    monkeypatch.setattr(application.App, "session", lambda _: cloud.session())
    with (root / ".env").open("a") as file:
        file.write(f"HF_TOKEN={TOKEN}\n")
    (root / "test_input.json").write_text('{"input": {"text": "Bonjour"}}')
    shop = Shop(root, cloud, run)
    shop.write()
    return shop
