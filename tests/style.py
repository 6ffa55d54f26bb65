"""Measures how dense Python code is: what the rules of style in test_layout.py hold, and what
bench/style_figures.py counts.

Lines of code are those that are neither blank, nor a comment, nor part of a docstring.
"""

from __future__ import annotations

import ast
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from functools import cache
from pathlib import Path

LINES_OF_A_FILE = 300
LINES_OF_A_CLASS = 200
LINES_OF_A_FUNCTION = 40
COMPLEXITY = 10

Function = ast.FunctionDef | ast.AsyncFunctionDef
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
JUDGED = (*FUNCTIONS, *COMPREHENSIONS, ast.ClassDef, ast.Assign, ast.IfExp)
"""What findings() has something to say about."""
BRANCHES = (
    ast.If,
    ast.For,
    ast.AsyncFor,
    ast.While,
    ast.ExceptHandler,
    *COMPREHENSIONS,
    ast.match_case,
)
"""What makes a function more complex by one, as McCabe counts, comprehensions among them."""


@cache
def parsed(path: Path) -> ast.Module:
    """The tree of a Python file, which several tests look at."""
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def nodes_of(path: Path) -> list[ast.AST]:
    """Every node of a Python file that a rule may look at."""
    found: list[ast.AST] = [parsed(path)]
    for node in found:
        found += children(node)
    return found


def children(node: ast.AST) -> list[ast.AST]:
    """The nodes right below one, as ast finds them but in a third of the time: those that only say
    whether a name is read or written are left out.
    """
    found: list[ast.AST] = []
    for name, value in vars(node).items():
        if isinstance(value, list):
            found += [one for one in value if isinstance(one, ast.AST)]
        elif name != "ctx" and isinstance(value, ast.AST):
            found.append(value)
    return found


def prose_lines(nodes: list[ast.AST]) -> set[int]:
    """The numbers of the lines that docstrings take, also those below a constant."""
    found: set[int] = set()
    for node in nodes:
        if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
            continue
        if isinstance(node.value.value, str):
            found.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return found


def code_lines(path: Path) -> list[int]:
    """The numbers of the lines of code of a Python or bash file."""
    text = path.read_text(encoding="utf-8")
    prose = prose_lines(nodes_of(path)) if path.suffix == ".py" else set()
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.strip().startswith("#") and number not in prose:
            found.append(number)
    return found


def complexity(function: Function) -> int:
    """One more than the branches in a function, nested functions apart; a comprehension counts."""
    total = 1
    waiting = children(function)
    while waiting:
        node = waiting.pop()
        if isinstance(node, (*FUNCTIONS, ast.Lambda, ast.ClassDef)):
            continue
        if isinstance(node, BRANCHES):
            total += 1
        waiting += children(node)
    return total


def is_swap(node: ast.Assign) -> bool:
    """Whether a tuple-to-tuple assignment only exchanges its own names."""
    (target,) = node.targets[:1]
    return sorted(ast.unparse(one) for one in getattr(target, "elts", ())) == sorted(
        ast.unparse(one) for one in getattr(node.value, "elts", ())
    )


def is_tuple_to_tuple(node: ast.AST) -> bool:
    """Whether one statement gives several values to several names, and is no swap."""
    return (
        isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Tuple)
        and any(isinstance(target, ast.Tuple) for target in node.targets)
        and not is_swap(node)
    )


def findings(path: Path) -> Iterator[str]:
    """What breaks a rule in a Python file, each as "FILE:LINE: what"."""
    lines = code_lines(path)
    if len(lines) > LINES_OF_A_FILE:
        yield f"{path}:1: {len(lines)} lines of code, at most {LINES_OF_A_FILE}: split the file"
    for node in nodes_of(path):
        if not isinstance(node, JUDGED):
            continue
        where = f"{path}:{node.lineno}"
        if is_tuple_to_tuple(node):
            yield f"{where}: a tuple-to-tuple assignment: write one line for each"
        if isinstance(node, ast.IfExp) and any(
            isinstance(part, ast.IfExp) for part in (node.body, node.orelse, node.test)
        ):
            yield f"{where}: a conditional expression in another: use if"
        if isinstance(node, COMPREHENSIONS) and len(node.generators) > 1:
            yield f"{where}: a comprehension with two `for`: write a loop"
        if isinstance(node, (*FUNCTIONS, ast.ClassDef)):
            yield from _size_findings(node, where, lines)


def _size_findings(node: Function | ast.ClassDef, where: str, lines: list[int]) -> Iterator[str]:
    most = LINES_OF_A_CLASS if isinstance(node, ast.ClassDef) else LINES_OF_A_FUNCTION
    size = bisect_right(lines, node.end_lineno or 0) - bisect_left(lines, node.lineno)
    if size > most:
        yield f"{where}: {node.name} has {size} lines of code, at most {most}: split it"
    if isinstance(node, FUNCTIONS) and complexity(node) > COMPLEXITY:
        yield f"{where}: {node.name} has complexity {complexity(node)}, at most {COMPLEXITY}"


def figures(paths: list[Path]) -> dict[str, float]:
    """Per 100 lines of code: tuple-to-tuple assignments, comprehensions, conditional expressions.

    And the mean number of characters of a line of code, without its indentation.
    """
    counts = {"tuple assignments": 0, "comprehensions": 0, "conditional expressions": 0}
    total = 0
    characters = 0
    for path in paths:
        source = path.read_text(encoding="utf-8").splitlines()
        numbers = code_lines(path)
        total += len(numbers)
        characters += sum(len(source[number - 1].strip()) for number in numbers)
        for node in nodes_of(path):
            counts["tuple assignments"] += is_tuple_to_tuple(node)
            counts["comprehensions"] += isinstance(node, COMPREHENSIONS)
            counts["conditional expressions"] += isinstance(node, ast.IfExp)
    per_100 = {name: 100 * count / max(total, 1) for name, count in counts.items()}
    return per_100 | {"characters per line": characters / max(total, 1), "lines": float(total)}
