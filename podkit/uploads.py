"""Which parts of a large file are on a server already, so that an upload goes on after a break.

Kept in a file of the checkout: a listing of the server's own is not asked for. What is kept of a
file that has changed since is of no use, and forgotten.
"""

from __future__ import annotations

import json
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from podkit.private_files import write_private


class Upload:
    """One upload: the server's id of it, empty before it began, and the ETags of parts that are
    there, by number from 1."""

    def __init__(self, uploads: Uploads, name: str, mark: str) -> None:
        self._uploads = uploads
        self._name = name
        self._mark = mark
        self._lock = threading.Lock()
        kept = uploads.read().get(name, {})
        self.id = ""
        self.parts: dict[int, str] = {}
        if kept.get("file") == mark:
            self.id = str(kept["id"])
            self.parts = {int(number): str(etag) for number, etag in kept["parts"].items()}

    def begin(self, upload_id: str) -> None:
        """A new upload, without a part yet."""
        self.id = upload_id
        self.parts = {}

    def add(self, number: int, etag: str) -> None:
        """A part has arrived."""
        with self._lock:
            self.parts[number] = etag
            kept = {"file": self._mark, "id": self.id, "parts": dict(self.parts)}
            self._uploads.write(self._name, kept)

    def end(self) -> None:
        """The file is whole on the server."""
        self._uploads.write(self._name, None)


class Uploads:
    """All unfinished uploads of this checkout."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def open(self, bucket: str, key: str, source: Path) -> Upload:
        """The upload of `source` to this key, begun or not."""
        status = source.stat()
        return Upload(self, f"{bucket}/{key}", f"{source} {status.st_size} {status.st_mtime_ns}")

    def read(self) -> dict[str, Any]:
        with suppress(OSError, ValueError):
            told = json.loads(self._file.read_text(encoding="utf-8"))
            if isinstance(told, dict):
                return told
        return {}

    def write(self, name: str, kept: dict[str, Any] | None) -> None:
        """Keeps an upload, or forgets it."""
        told = self.read()
        told.pop(name, None)
        if kept:
            told[name] = kept
        write_private(self._file, json.dumps(told))
