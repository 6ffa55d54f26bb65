"""The exports that most tests here look at, made once."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from podkit import ROOT
from tests.podkit.export.exports import OTHERS, VARIANTS, export

sys.path.insert(0, str(ROOT / "startup"))  # the pod's own code, whose command is compared with

Tree = dict[str, str]


@pytest.fixture(scope="session")
def tree_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Tree]:
    """The files of a variant, by their paths."""
    made: dict[str, Tree] = {}

    def tree(name: str) -> Tree:
        if name not in made:
            made[name] = export(tmp_path_factory.mktemp(name), *{**VARIANTS, **OTHERS}[name])
        return made[name]

    return tree


@pytest.fixture(params=list(VARIANTS))
def tree(request: pytest.FixtureRequest, tree_of: Callable[[str], Tree]) -> Tree:
    """Each variant in turn."""
    return tree_of(request.param)
