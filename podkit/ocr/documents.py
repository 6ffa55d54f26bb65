"""Which PDFs are to be turned into Markdown, and which are done.

It must never let a Markdown file be overwritten that podkit did not make, nor call a PDF done whose pages are not all
read.
"""

from __future__ import annotations

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
from podkit.lock import locked
from podkit.ocr.poppler import program


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
        return whole or [
            f"{self.pdf}, page {lost['page']}: {lost['reason']} ({instead})"
            for lost in self.failed_pages
        ]


class Done:
    """Which Markdown podkit made, and of what.

    For each the path of its `pdf`, the `sha256` of that, empty where pages are missing in it, and the SHA-256 of its
    own `text`, empty while it is being written.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._made: dict[str, dict[str, str]] = (
            json.loads(file.read_text("utf-8")) if file.exists() else {}
        )

    def is_whole(self, document: Document) -> bool:
        """Whether the Markdown is there, of this very PDF."""
        made = self._made.get(os.path.abspath(document.markdown), {})
        origin = os.path.abspath(document.pdf), document.sha256
        return document.markdown.exists() and (made.get("pdf"), made.get("sha256")) == origin

    def objection(self, document: Document) -> str:
        """Why the Markdown that is there must not be written over; empty if it may be."""
        made = self._made.get(os.path.abspath(document.markdown))
        if not document.markdown.exists():
            return ""
        if not made:
            return "podkit did not make it"
        if made["pdf"] != os.path.abspath(document.pdf):
            return f"it is the text of {made['pdf']}"
        changed = made["text"] not in (
            "",
            hashlib.sha256(document.markdown.read_bytes()).hexdigest(),
        )
        return "it was changed after podkit made it" if changed else ""

    def place(self, document: Document, text: str) -> None:
        """Write the Markdown; a kill in the middle of it leaves a PDF that is to be done. Raises PodkitError."""
        data = text.encode("utf-8", "replace")
        try:
            self._note(document, sha256="", text="")
            put(document.markdown, data)
            whole = "" if document.failed_pages else document.sha256
            self._note(document, sha256=whole, text=hashlib.sha256(data).hexdigest())
        except OSError as error:
            what = f"cannot write {error.filename}: {error.strerror}"
            raise PodkitError(
                what, "make room there, or use --out; the same command goes on from here"
            ) from None

    def _note(self, document: Document, *, sha256: str, text: str) -> None:
        made = {"pdf": os.path.abspath(document.pdf), "sha256": sha256, "text": text}
        self._made[os.path.abspath(document.markdown)] = made
        put(self._file, json.dumps(self._made).encode())


def make_room(documents: Sequence[Document]) -> None:
    """Make the folders that the Markdown goes to. Raises UsageError for one that cannot be."""
    for folder in {document.markdown.parent for document in documents}:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            what = f"{folder} cannot be made a folder: {error.strerror}"
            raise UsageError(what, "name another with --out") from None


@contextmanager
def turn(folder: Path) -> Iterator[Done]:
    """What is done so far, for one run at a time. Raises PodkitError while another is at work."""

    def busy() -> None:
        what = "another ./ocr_pdfs.sh of this checkout is at work"
        raise PodkitError(what, "wait until it has ended")

    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with locked(folder / "lock", busy):
        yield Done(folder / "done.json")


def find(paths: Sequence[Path], out: Path | None) -> list[Document]:
    """The PDFs that `paths` name, files and whole folders; links to folders are not followed.

    Raises UsageError if two would become the same Markdown.
    """
    found: dict[str, Document] = {}
    for given in paths:
        path = (
            given if given.name else Path(os.path.abspath(given))
        )  # "." has no name to put a suffix to
        inside = [
            Path(folder, name) for folder, _, names in os.walk(path) for name in sorted(names)
        ]
        pdfs = [
            pdf for pdf in inside if pdf.suffix.lower() == ".pdf" and not pdf.name.startswith(".")
        ]
        for pdf in pdfs or [path]:
            below = pdf.relative_to(path) if pdfs else Path(pdf.name)
            markdown = (out / below if out else pdf).with_suffix(".md")
            other = found.setdefault(os.path.abspath(markdown), Document(pdf, markdown))
            if os.path.abspath(other.pdf) != os.path.abspath(pdf):
                raise UsageError(
                    f"{other.pdf} and {pdf} would both become {markdown}",
                    "give each an --out of its own",
                )
    return list(found.values())


def examined(document: Document, done: Done) -> Document | None:
    """The document with its sum and pages, or the reason why it cannot be done; None if it is done already."""
    try:
        data = document.pdf.read_bytes()
    except OSError as error:
        folder = isinstance(error, IsADirectoryError)
        return replace(
            document, reason="it holds no PDF" if folder else f"it cannot be read: {error.strerror}"
        )
    document = replace(document, sha256=hashlib.sha256(data).hexdigest())
    if b"%PDF" not in data[:1024]:
        return replace(document, reason="it is not a PDF" if data else "it is empty")
    if done.is_whole(document):
        return None
    if why := done.objection(document):
        return replace(
            document,
            reason=f"{document.markdown} is there, and {why}: move it away, or use another --out",
        )
    pages, reason = _pages(document.pdf)
    return replace(document, pages=pages, reason=reason)


def _pages(pdf: Path) -> tuple[int, str]:
    """The number of pages, or 0 and why they cannot be read."""
    command = [program("pdfinfo"), os.path.abspath(pdf)]
    shown = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if "Incorrect password" in shown.stderr:
        return 0, "it is encrypted, and asks for a password"
    pages = next(
        (int(line.split()[1]) for line in shown.stdout.splitlines() if line.startswith("Pages:")), 0
    )
    said = shown.stderr.splitlines() or ["it has no pages"]
    return pages, "" if pages else f"it is broken: {said[-1]}"


def put(path: Path, data: bytes, mode: int = 0o666) -> None:
    """Write a file, readable as `mode` and the umask say, whole or not at all."""
    part = path.with_name(f".{path.name}.part")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
        file.write(data)
    os.replace(part, path)
