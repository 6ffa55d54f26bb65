"""What keeps runs of the tests honest: the rule on skips, and sandboxes that end with their run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.clones import Clone
from tests.conftest import name_of
from tests.reliability.live import own_environment


@pytest.mark.parametrize(
    "nodeid",
    [
        "tests/test_a.py::test_one",
        "tests/test_a.py::test_one[a case::of@two]",
        "tests/test_a.py::test_one@tests/test_a.py",
        "tests/test_a.py::test_one[a case]@clone",
    ],
)
def test_a_skipped_test_is_known_by_its_name_in_a_parallel_run_too(nodeid: str) -> None:
    assert name_of(nodeid) == "test_one"


def test_a_sandbox_that_a_test_starts_ends_with_the_run(tmp_path: Path) -> None:
    clone = Clone(tmp_path, tmp_path / "home", tmp_path / "programs")
    for environment in (clone.environment(), own_environment()):
        assert environment["PODKIT_SANDBOX_OWNER"] == str(os.getpid())
