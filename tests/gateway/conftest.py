"""One gateway for most tests of this folder, with two backends that each test may change."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from tests.waiting import LONG

if TYPE_CHECKING:
    from .process import Gateway
    from .stub import Stub

CONFIG = """
[models.olmocr]
backends = ["first", "second"]
context = 16384
price = {{ prompt = 1.0, completion = 2.0 }}
fallback = ["small"]

[models.small]
backends = ["third"]

[backends.first]
url = "{first}"
key_env = "FIRST_KEY"

[backends.second]
url = "{second}"
key_env = "FIRST_KEY"

[backends.third]
url = "{third}"
"""


@pytest.fixture(scope="session")
def cheap_passwords() -> Iterator[None]:
    """Hashing is slow on purpose, and the gateways of most tests are in this process."""
    from argon2 import PasswordHasher

    from podkit_gateway import cli_admin, runtime

    cheap = partial(PasswordHasher, time_cost=1, memory_cost=8, parallelism=1)
    with pytest.MonkeyPatch.context() as patch:
        for module in (cli_admin, runtime):
            patch.setattr(module, "PasswordHasher", cheap)
        yield


@pytest.fixture(scope="session")
def patient_checks() -> Iterator[None]:
    """A backend is not down because a busy machine lets nobody answer for a while."""
    from podkit_gateway import backends

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backends, "HEALTH_TIMEOUT", LONG)
        yield


@pytest.fixture(scope="module", autouse=True)
def started_for_tests(request: pytest.FixtureRequest) -> None:
    """Tests that start gateways are slow ones; the others need not import so much."""
    if request.node.get_closest_marker("slow"):
        request.getfixturevalue("cheap_passwords")
        request.getfixturevalue("patient_checks")


@pytest.fixture
def within_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock of the limits stands: none is given back because a minute ends during the test."""
    now = time.time()
    stands = SimpleNamespace(time=lambda: now)
    monkeypatch.setattr("limits.aio.storage.memory.time", stands)


@pytest.fixture(scope="session")
def stubs() -> Iterator[list[Stub]]:
    from .stub import Stub

    stubs = [Stub(), Stub(), Stub(("small",))]
    yield stubs
    for stub in stubs:
        stub.stop()


def config_for(stubs: list[Stub]) -> str:
    return CONFIG.format(first=stubs[0].url, second=stubs[1].url, third=stubs[2].url)


@pytest.fixture(scope="session")
def running(
    stubs: list[Stub], cheap_passwords: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    from .process import Gateway

    folder = tmp_path_factory.mktemp("gateway")
    gateway = Gateway(folder, config_for(stubs), FIRST_KEY="backends-own-key")
    gateway.prepare()
    gateway.start()
    yield gateway
    gateway.stop()


@pytest.fixture(scope="session")
def shared_key(running: Gateway) -> str:
    return running.make_key()


@pytest.fixture
def gateway(running: Gateway, stubs: list[Stub]) -> Gateway:
    for stub in stubs:
        stub.reset()
    return running


@pytest.fixture
def key(gateway: Gateway, shared_key: str) -> str:
    return shared_key
