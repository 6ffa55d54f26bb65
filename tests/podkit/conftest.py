"""Fixtures of the laptop side's tests: no setting of this machine, no real network,
every request validated.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests_mock as mocking

from podkit.runpod.client import RunpodClient
from tests import contract
from tests.podkit.samples import API, Clock, client_at
from tests.waiting import LONG

if TYPE_CHECKING:
    from tests.podkit.models.hub import Hub

FOREIGN_SETTINGS = (
    "RUNPOD_",
    "PODKIT_",
    "WEBUI_",
    "HF_",
    "PREFERRED_",
    "HTTP",
    "ALL_PROXY",
    "NO_PROXY",
    "NETRC",
)

LOOKING = ("(_probe)", "(_read)")
"""How the names of threads end that look at a pod for podkit/pods/phases.py. A list does not wait
for them; without the answers of their test they would ask the provider.
"""


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    contract.document()  # before its setting is hidden from podkit
    for name in list(os.environ):
        if name == "PODKIT_SANDBOX_OWNER":
            continue  # no setting of podkit; a sandbox that a test starts ends with the run
        if name.upper().startswith(FOREIGN_SETTINGS):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def api() -> Iterator[mocking.Mocker]:
    """The API, answering what a test tells it to;
    every request sent to it is one that its document allows.
    """
    with mocking.Mocker() as mock:
        yield mock
        for thread in threading.enumerate():
            if thread.name.endswith(LOOKING):
                thread.join(LONG)
    if document := contract.document():
        for sent in mock.request_history:
            if sent.url.startswith(API):
                contract.check_request(document, sent)


@pytest.fixture
def client(clock: Clock) -> RunpodClient:
    return client_at(API, clock)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """A Hub on this machine that has a checkpoint of Llama's architecture."""
    from huggingface_hub import constants

    from tests.podkit.models.hub import LLAMA, LLAMA_ID, Hub, checkpoint, shards

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = Hub()
    server.repos[LLAMA_ID] = checkpoint(LLAMA, shards(4))
    yield server
    server.shutdown()
    server.server_close()
