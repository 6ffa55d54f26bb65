"""S3 servers for the tests, and keys to them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from podkit.s3 import Bucket
from tests.s3.servers import Door, Server, access, start_moto, start_s3rver


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The smallest parts that a server takes, and no pauses between the library's attempts."""
    monkeypatch.setattr("podkit.s3.PART_BYTES", 5 * 2**20)
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _: None)


@pytest.fixture(scope="session")
def moto() -> Iterator[str]:
    server, url = start_moto()
    yield url
    server.stop()


@pytest.fixture(scope="session")
def s3rver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    process, url = start_s3rver(tmp_path_factory.mktemp("s3rver"))
    yield url
    process.terminate()
    process.wait(10)


@pytest.fixture
def volume_id(moto: str) -> str:
    """A network volume: a bucket whose name is its id."""
    name = f"vol{uuid.uuid4().hex[:8]}"
    Server(moto).make_bucket(name)
    return name


@pytest.fixture
def door(moto: str) -> Iterator[Door]:
    """The provider's door."""
    server = Door(moto)
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def bucket(door: Door, volume_id: str) -> Bucket:
    return Bucket(access(door.url), volume_id, sleep=lambda _: None)


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A file of three parts."""
    file = tmp_path / "large.bin"
    file.write_bytes(b"".join(bytes([number]) * 2**20 for number in range(12)))
    return file
