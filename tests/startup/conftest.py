"""Lets the tests import startup/ as the pod does, and gives them a pod."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.startup.local_pod import STARTUP, Platform, Pod

sys.path.insert(0, str(STARTUP))


@pytest.fixture
def platform() -> Iterator[Platform]:
    server = Platform()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def pod(tmp_path: Path, platform: Platform) -> Iterator[Pod]:
    root = tmp_path / "a pod's folder"
    root.mkdir()
    pod = Pod(root, platform)
    yield pod
    pod.kill()
