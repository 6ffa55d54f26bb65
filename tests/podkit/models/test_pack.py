"""How a program changes on its way to a pod: its docstrings stay behind, and nothing else."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from podkit import ROOT
from podkit.models.spec import without_docstrings

STARTUP = ROOT / "startup"


@pytest.mark.parametrize("path", sorted(STARTUP.rglob("*.py")), ids=lambda path: path.name)
def test_a_program_travels_without_its_docstrings_and_keeps_every_line_number(path: Path) -> None:
    source = path.read_text()
    travelled = without_docstrings(source)
    assert ast.get_docstring(ast.parse(travelled)) in ("", None)
    kept = [ast.dump(node, include_attributes=True) for node in statements(source)]
    assert [ast.dump(node, include_attributes=True) for node in statements(travelled)] == kept
    assert kept or path.stem == "__init__"
    assert travelled.count("\n") == source.count("\n")


def statements(source: str) -> Iterator[ast.stmt]:
    """Every statement without a body of its own, but docstrings."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.stmt) and not hasattr(node, "body"):
            is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
            if not is_text:
                yield node
