"""Audio that is too large for a job's input: a file here, which the worker fetches by an address
that nobody can guess.

A file lives as long as its job, and never longer than a job may.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

LONGEST_LIFE = 7200.0
"""Seconds; the job API forgets a job after one hour."""
NAME = re.compile(r"[0-9a-f]{64}")
PATH = "/hooks/audio/"


class Uploads:
    """The files of a folder that this gateway's processes share."""

    def __init__(self, folder: Path, public_url: str, random_bytes: Callable[[int], bytes]) -> None:
        self._folder = folder
        self._public_url = public_url
        self._random_bytes = random_bytes

    async def keep(self, file: BinaryIO) -> str:
        """Stores a copy under a new name, readable by this user alone; the name."""
        name = self._random_bytes(32).hex()
        await asyncio.to_thread(self._copy, file, self._folder / name)
        return name

    def url(self, name: str) -> str:
        return f"{self._public_url}{PATH}{name}"

    def find(self, name: str) -> Path | None:
        """The file of this name; None if there is none."""
        path = self._folder / name
        return path if NAME.fullmatch(name) and path.is_file() else None

    def remove(self, name: str) -> None:
        if NAME.fullmatch(name):
            (self._folder / name).unlink(missing_ok=True)

    def _copy(self, file: BinaryIO, path: Path) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._sweep()
        opened = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600)
        with os.fdopen(opened, "wb") as copy:
            shutil.copyfileobj(file, copy)

    def _sweep(self) -> None:
        for path in self._folder.iterdir():
            if NAME.fullmatch(path.name) and path.stat().st_mtime < time.time() - LONGEST_LIFE:
                path.unlink(missing_ok=True)
