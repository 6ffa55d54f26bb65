"""Where poppler's programs are: they read and render PDFs; no Python package brings them."""

from __future__ import annotations

import shutil

from podkit.errors import UsageError


def program(name: str) -> str:
    """The path of one of poppler's programs, such as pdftoppm. Raises UsageError if it is not
    installed.
    """
    if path := shutil.which(name):
        return path
    hint = "sudo apt install poppler-utils, or brew install poppler"
    raise UsageError(f"poppler is not installed: there is no {name}", hint)
