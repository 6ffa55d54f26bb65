"""One gateway for most tests of this folder, with two backends that each test may change."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest
from argon2 import PasswordHasher

from podkit_gateway import cli_admin, runtime

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


@pytest.fixture(scope="session", autouse=True)
def cheap_passwords() -> Iterator[None]:
    """Hashing is slow on purpose, and the gateways of most tests are in this process."""
    cheap = partial(PasswordHasher, time_cost=1, memory_cost=8, parallelism=1)
    with pytest.MonkeyPatch.context() as patch:
        for module in (cli_admin, runtime):
            patch.setattr(module, "PasswordHasher", cheap)
        yield


@pytest.fixture(scope="session")
def stubs() -> Iterator[list[Stub]]:
    stubs = [Stub(), Stub(), Stub(("small",))]
    yield stubs
    for stub in stubs:
        stub.stop()


def config_for(stubs: list[Stub]) -> str:
    return CONFIG.format(first=stubs[0].url, second=stubs[1].url, third=stubs[2].url)


@pytest.fixture(scope="session")
def running(stubs: list[Stub], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
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
