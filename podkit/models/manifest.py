"""What a checkpoint's folder holds, file by file: who has it can tell whether it is whole.

Pure but for reading the folder, and nothing of podkit is imported: the laptop writes manifests with
this file and the pod checks them with it; startup/boot/manifest.py is a link to it, and travels as
a file.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

NAME = "podkit-manifest.json"
"""The manifest's own file. It comes last, wherever a checkpoint is written."""
NEEDED = "config.json"
SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class File:
    """One file: its path below the folder, its bytes, and its SHA-256 in hex digits."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """The files of a checkpoint at a revision, in the order of their paths."""

    repo: str
    revision: str
    files: tuple[File, ...]

    @property
    def size(self) -> int:
        """Bytes in all."""
        return sum(file.size for file in self.files)

    @property
    def digest(self) -> str:
        """SHA-256 of the text, which names the model: same files, same digest."""
        return hashlib.sha256(self.text().encode()).hexdigest()

    def text(self) -> str:
        """What stands in the manifest's file; the same for the same files."""
        files = [asdict(file) for file in self.files]
        told = {"schema": 1, "repo": self.repo, "revision": self.revision, "files": files}
        return json.dumps(told, indent=1) + "\n"


def read_manifest(text: str | bytes) -> Manifest:
    """The manifest that `text` is. Raises ValueError for one that cannot be: it is others' text."""
    try:
        told = json.loads(text)
        if told["schema"] != 1:
            raise ValueError("a manifest of another schema")
        files = tuple(_file(one) for one in told["files"])
        manifest = Manifest(str(told["repo"]), str(told["revision"]), files)
    except (json.JSONDecodeError, TypeError, LookupError, RecursionError) as error:
        raise ValueError("no manifest of a checkpoint") from error
    paths = [file.path for file in files]
    if NEEDED not in paths or len(set(paths)) < len(paths):
        raise ValueError("no manifest of a whole checkpoint")
    return manifest


def make_manifest(
    folder: Path, repo: str, revision: str, known: Mapping[str, str] | None = None
) -> Manifest:
    """The manifest of what is in `folder`; hidden files and folders are no part of it.

    `known` has the SHA-256 of files that was proven before: these are not read again.
    """
    files = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        is_hidden = any(part.startswith(".") for part in PurePosixPath(name).parts)
        if path.is_file() and not is_hidden and name != NAME:
            digest = (known or {}).get(name) or sha256_of(path)
            files.append(File(name, path.stat().st_size, digest))
    return Manifest(repo, revision, tuple(sorted(files, key=lambda file: file.path)))


def wrong_sizes(manifest: Manifest, folder: Path) -> list[str]:
    """The files that are missing or of another size."""
    wrong = []
    for file in manifest.files:
        path = folder / file.path
        if not path.is_file() or path.stat().st_size != file.size:
            wrong.append(file.path)
    return wrong


def sha256_of(path: Path) -> str:
    """A file's SHA-256 in hex digits."""
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _file(told: Mapping[str, Any]) -> File:
    file = File(str(told["path"]), told["size"], str(told["sha256"]))
    if not isinstance(file.size, int) or file.size < 0 or not SHA256.fullmatch(file.sha256):
        raise ValueError(f"no size or hash of {file.path!r}")
    check_paths([file.path])
    return file


def check_paths(paths: Iterable[str]) -> None:
    """Raises ValueError for a path that leads out of the folder, or to what is hidden."""
    for path in paths:
        parts = path.split("/")
        if any(part.startswith(".") or not part or not part.isprintable() for part in parts):
            raise ValueError(f"no path of a checkpoint: {path!r}")
        if path.startswith("/") or "\\" in path or path == NAME:
            raise ValueError(f"no path of a checkpoint: {path!r}")
