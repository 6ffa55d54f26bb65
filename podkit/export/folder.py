"""Writes an export's files into a folder, and nothing of anybody else's away.

The folder keeps a list of what was written, with digests: a folder without it that is not empty is
refused, and so is one in which a file was changed since.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from podkit.errors import UsageError

LIST = ".podkit-export"
Tree = Mapping[str, str]
"""The texts of an export by their paths."""


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def written_before(folder: Path) -> dict[str, str]:
    """The digests of what an earlier export wrote there, by path.

    Raises UsageError for a folder that no export wrote, or that was changed since.
    """
    listed = folder / LIST
    if not listed.is_file():
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UsageError(f"{folder} is not empty, and no export wrote it", "--out NEW_FOLDER")
        return {}
    found = {}
    for line in listed.read_text(encoding="utf-8").splitlines():
        known, _, name = line.partition("  ")
        if not (folder / name).resolve().is_relative_to(folder.resolve()):
            raise UsageError(f"{listed} names {name!r}, which is elsewhere", "--out NEW_FOLDER")
        found[name] = known
    changed = [name for name, known in found.items() if is_changed(folder / name, known)]
    if changed:
        what = f"changed since the export: {', '.join(changed)}"
        raise UsageError(what, "move them away, or name another folder: --out NEW_FOLDER")
    return found


def is_changed(path: Path, known: str) -> bool:
    """Whether a file is there and is not what was written."""
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() != known


def write_tree(tree: Tree, folder: Path) -> None:
    """Brings the folder to exactly these files; others beside them stay. Raises UsageError."""
    before = written_before(folder)
    for name in sorted(set(before) - set(tree)):
        (folder / name).unlink(missing_ok=True)
    for name, text in tree.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755 if name.endswith(".sh") else 0o644)
    lines = [f"{digest(text)}  {name}\n" for name, text in sorted(tree.items())]
    (folder / LIST).write_text("".join(lines), encoding="utf-8")
