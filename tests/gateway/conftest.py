"""One gateway for most tests of this folder, with two backends that each test may change."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .process import GatewayProcess
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
def stubs() -> Iterator[list[Stub]]:
    stubs = [Stub(), Stub(), Stub(("small",))]
    yield stubs
    for stub in stubs:
        stub.stop()


def config_for(stubs: list[Stub]) -> str:
    return CONFIG.format(first=stubs[0].url, second=stubs[1].url, third=stubs[2].url)


@pytest.fixture(scope="session")
def running(
    stubs: list[Stub], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    folder = tmp_path_factory.mktemp("gateway")
    gateway = GatewayProcess(folder, config_for(stubs), FIRST_KEY="backends-own-key")
    gateway.prepare()
    gateway.start()
    yield gateway
    gateway.stop()


@pytest.fixture(scope="session")
def shared_key(running: GatewayProcess) -> str:
    return running.make_key()


@pytest.fixture
def gateway(running: GatewayProcess, stubs: list[Stub]) -> GatewayProcess:
    for stub in stubs:
        stub.reset()
    return running


@pytest.fixture
def key(gateway: GatewayProcess, shared_key: str) -> str:
    return shared_key
