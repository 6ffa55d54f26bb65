"""The versions of what runs in the images: those that a pod installs."""

from __future__ import annotations

import re
from pathlib import Path

from podkit.errors import UsageError

FIRST_LINE = re.compile(r"# [\w-]+==([\w.]+),")


def pinned_version(startup: Path, name: str) -> str:
    """The version that constraints-NAME.txt was made for, which its first line says. Raises
    UsageError.
    """
    text = (startup / f"constraints-{name}.txt").read_text(encoding="utf-8")
    match = FIRST_LINE.match(text)
    if match is None:
        raise UsageError(f"constraints-{name}.txt does not say what it was made for")
    return match[1]
