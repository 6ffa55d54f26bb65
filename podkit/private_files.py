"""Files that only their owner may read, under .podkit: written whole or not at all, and never
through a link."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

OWNER_ONLY = 0o600
FOLDER_OF_OWNER = 0o700


def write_private(file: Path, text: str) -> None:
    """Replaces `file` in one step; its folder is made if need be. Raises OSError."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=FOLDER_OF_OWNER)
    descriptor, part = tempfile.mkstemp(dir=file.parent)  # of mode 0600
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
            opened.write(text)
        os.replace(part, file)
    finally:
        Path(part).unlink(missing_ok=True)


def open_to_append(file: Path) -> int:
    """A descriptor that appends to `file`; its folder is made if need be. Raises OSError."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=FOLDER_OF_OWNER)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
    return os.open(file, flags, OWNER_ONLY)
