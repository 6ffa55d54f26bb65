"""Which PDFs are to be turned into Markdown, and which are done.

It must never let a Markdown file be overwritten that podkit did not make, nor call a PDF done whose pages are not all
read.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from podkit.errors import PodkitError, UsageError
from podkit.extras.poppler import program


@dataclass(frozen=True)
class Document:
    """A PDF, where its Markdown goes, and what became of it: `reason` says why there is none."""

    pdf: Path
    markdown: Path
    sha256: str = ""
    pages: int = 0
    reason: str = ""
    failed_pages: tuple[dict[str, Any], ...] = ()

    def failures(self) -> list[str]:
        """A line for the PDF if there is no Markdown of it, else one for each page that is not read."""
        whole = [f"{self.pdf}: {self.reason}"] if self.reason else []
        instead = "the PDF's own text stands in"
        return whole or [f"{self.pdf}, page {lost['page']}: {lost['reason']} ({instead})" for lost in self.failed_pages]


class Done:
    """Which Markdown podkit made, and of what: the SHA-256 of the PDF, empty where pages are missing in it."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._sums: dict[str, str] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}

    def source(self, markdown: Path) -> str | None:
        """What this file was made of; None if podkit did not make it."""
        return self._sums.get(os.path.abspath(markdown))

    def place(self, document: Document, text: str) -> None:
        """Write the Markdown; a kill in the middle of it leaves a PDF that is to be done. Raises PodkitError."""
        try:
            self._note(document, "")
            document.markdown.parent.mkdir(parents=True, exist_ok=True)
            put(document.markdown, text.encode("utf-8", "replace"))
            self._note(document, "" if document.failed_pages else document.sha256)
        except OSError as error:
            what = f"cannot write {error.filename}: {error.strerror}"
            raise PodkitError(what, "make room there, or use --out; the same command goes on from here") from None

    def _note(self, document: Document, sha256: str) -> None:
        self._sums[os.path.abspath(document.markdown)] = sha256
        put(self._file, json.dumps(self._sums).encode())


@contextmanager
def turn(folder: Path) -> Iterator[Done]:
    """What is done so far, for one run at a time. Raises PodkitError while another one is at work."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PodkitError("another ./ocr_pdfs.sh of this checkout is at work", "wait until it has ended") from None
        yield Done(folder / "done.json")


def find(paths: Sequence[Path], out: Path | None) -> list[Document]:
    """The PDFs that `paths` name, files and whole folders; links to folders are not followed.

    Raises UsageError if two would become the same Markdown.
    """
    found: dict[str, Document] = {}
    for path in paths:
        inside = [Path(folder, name) for folder, _, names in os.walk(path) for name in sorted(names)]
        pdfs = [pdf for pdf in inside if pdf.suffix.lower() == ".pdf" and not pdf.name.startswith(".")]
        for pdf in pdfs or [path]:
            below = pdf.relative_to(path) if pdfs else Path(pdf.name)
            markdown = (out / below if out else pdf).with_suffix(".md")
            other = found.setdefault(os.path.abspath(markdown), Document(pdf, markdown))
            if os.path.abspath(other.pdf) != os.path.abspath(pdf):
                raise UsageError(f"{other.pdf} and {pdf} would both become {markdown}", "give them one after the other")
    return list(found.values())


def examined(document: Document, done: Done) -> Document | None:
    """The document with its sum and pages, or the reason why it cannot be done; None if it is done already."""
    try:
        data = document.pdf.read_bytes()
    except OSError as error:
        folder = isinstance(error, IsADirectoryError)
        return replace(document, reason="it holds no PDF" if folder else f"it cannot be read: {error.strerror}")
    document = replace(document, sha256=hashlib.sha256(data).hexdigest())
    there, source = document.markdown.exists(), done.source(document.markdown)
    if there and source == document.sha256:
        return None
    if there and source is None:
        reason = f"{document.markdown} is there, and podkit did not make it: remove it, or use --out"
        return replace(document, reason=reason)
    if b"%PDF" not in data[:1024]:
        return replace(document, reason="it is not a PDF" if data else "it is empty")
    pages, reason = _pages(document.pdf)
    return replace(document, pages=pages, reason=reason)


def _pages(pdf: Path) -> tuple[int, str]:
    """The number of pages, or 0 and why they cannot be read."""
    command = [program("pdfinfo"), os.path.abspath(pdf)]
    shown = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if "Incorrect password" in shown.stderr:
        return 0, "it is encrypted, and asks for a password"
    pages = next((int(line.split()[1]) for line in shown.stdout.splitlines() if line.startswith("Pages:")), 0)
    said = shown.stderr.splitlines() or ["it has no pages"]
    return pages, "" if pages else f"it is broken: {said[-1]}"


def put(path: Path, data: bytes, mode: int = 0o666) -> None:
    """Write a file, readable as `mode` and the umask say, whole or not at all."""
    part = path.with_name(f".{path.name}.part")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
        file.write(data)
    os.replace(part, path)
