"""Fixtures of the sandbox's tests."""

from collections.abc import Callable, Iterator

import pytest

from podkit_sandbox import control
from tests.sandbox.sandboxes import Live, Paper


@pytest.fixture
def paper() -> Paper:
    return Paper()


@pytest.fixture
def faulty() -> Callable[..., Paper]:
    """An account with one scripted fault: faulty("POST /pods", "500", effect=True)."""
    return lambda call, fault, **options: Paper(
        {"rules": [{"call": call, "fault": fault, **options}]}
    )


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """One sandbox for all tests, in a folder whose name is hostile to shell scripts."""
    sandbox = Live(tmp_path_factory.mktemp("it's a sand box"))
    yield sandbox
    control.stop(sandbox.folder)
