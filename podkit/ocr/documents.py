"""Which PDFs are to be turned into Markdown, and which are done.

It must never let a Markdown file be overwritten that podkit did not make, nor call a PDF done whose
pages are not all read. The folders may be an unpacked archive of a stranger's: nothing is written
through a link that lies there, and nothing but regular files is read.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import stat
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from podkit.errors import PodkitError, UsageError
from podkit.lock import hold_lock
from podkit.ocr.page_range import short_pages
from podkit.ocr.poppler import program

MOST_BYTES = 1 << 30
"""A larger PDF is refused: no scan of this team has a tenth of it."""
PDFINFO_SECONDS = 30.0
"""What pdfinfo may take for a PDF; it reads the cross-references, which takes milliseconds."""


@dataclass(frozen=True)
class Document:
    """A PDF, where its Markdown goes, and what became of it: `reason` says why there is none.

    `pages` is how many are to be read; `page_numbers` are theirs, empty if that is all of the PDF.
    """

    pdf: Path
    markdown: Path
    sha256: str = ""
    pages: int = 0
    reason: str = ""
    failed_pages: tuple[dict[str, Any], ...] = ()
    page_numbers: tuple[int, ...] = ()

    def number_of(self, place: int) -> int:
        """The number in the PDF of the page that is read at this place, from 1 on."""
        return self.page_numbers[place - 1] if self.page_numbers else place

    def failures(self) -> list[str]:
        """A line for a PDF without Markdown, else one for each page of it that is not read."""
        if self.reason:
            return [f"{self.pdf}: {self.reason}"]
        instead = "the PDF's own text stands in"
        lines = []
        for lost in self.failed_pages:
            lines.append(f"{self.pdf}, page {lost['page']}: {lost['reason']} ({instead})")
        return lines


class Done:
    """Which Markdown podkit made, and of what.

    For each the path of its `pdf`, the `sha256` of that, empty where pages are missing in it, and
    the SHA-256 of its own `text`, empty while it is being written. `sandbox` says that the small
    OCR of the sandbox read it: for the account that is nothing done.
    """

    def __init__(self, file: Path, *, is_sandbox: bool = False) -> None:
        self._file = file
        self._is_sandbox = is_sandbox
        self._made: dict[str, dict[str, Any]] = {}
        if file.exists():
            self._made = json.loads(file.read_text("utf-8"))

    def is_whole(self, document: Document) -> bool:
        """Whether the Markdown is there, of this very PDF."""
        made = self._made.get(os.path.abspath(document.markdown), {})
        if made.get("sandbox") and not self._is_sandbox:
            return False
        origin = os.path.abspath(document.pdf), document.sha256
        return document.markdown.exists() and (made.get("pdf"), made.get("sha256")) == origin

    def objection(self, document: Document) -> str:
        """Why the Markdown that is there must not be written over; empty if it may be."""
        why = self._owner(document)
        if not why:
            return ""
        return f"{document.markdown} is there, and {why}: move it away, or use another --out"

    def place(self, document: Document, text: str) -> Document:
        """Write the Markdown, unless another has come there meanwhile: that is the reason then.

        A kill in the middle of it leaves a PDF that is to be done. Raises PodkitError where it
        cannot be written.
        """
        reason = self.objection(document)
        if reason:
            return replace(document, reason=reason)
        data = text.encode("utf-8", "replace")
        try:
            self._note(document, sha256="", text="")
            put(document.markdown, data)
            whole = "" if document.failed_pages else document.sha256
            self._note(document, sha256=whole, text=hashlib.sha256(data).hexdigest())
        except OSError as error:
            what = f"cannot write in {Path(error.filename).parent}: {error.strerror}"
            hint = "make room there, or use --out; the same command goes on from here"
            raise PodkitError(what, hint) from None
        return document

    def _owner(self, document: Document) -> str:
        """Whose the Markdown is that is there, if it is not this run's to write over."""
        made = self._made.get(os.path.abspath(document.markdown))
        if not document.markdown.exists():
            return ""
        if not made:
            return "podkit did not make it"
        if made["pdf"] != os.path.abspath(document.pdf):
            return f"it is the text of {made['pdf']}"
        if self._is_sandbox and not made.get("sandbox"):
            return "a rented pod read it"
        if not document.markdown.is_file():
            return "it is not a file"
        found = hashlib.sha256(document.markdown.read_bytes()).hexdigest()
        if made["text"] in ("", found):
            return ""
        return "it was changed after podkit made it"

    def _note(self, document: Document, *, sha256: str, text: str) -> None:
        made = {
            "pdf": os.path.abspath(document.pdf),
            "sha256": sha256,
            "text": text,
            "sandbox": self._is_sandbox,
        }
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
def turn(folder: Path, *, is_sandbox: bool = False) -> Iterator[Done]:
    """What is done so far, for one run at a time. Raises PodkitError while another is at work."""

    def busy() -> None:
        what = "another ./ocr_pdfs.sh of this checkout is at work"
        raise PodkitError(what, "wait until it has ended")

    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with hold_lock(folder / "lock", busy):
        yield Done(folder / "done.json", is_sandbox=is_sandbox)


def find(paths: Sequence[Path], out: Path | None) -> list[Document]:
    """The PDFs that `paths` name, files and whole folders; links to folders are not followed.

    One that would become the Markdown of another has that for its reason.
    """
    found: dict[str, Document] = {}
    refused: dict[str, Document] = {}
    for given in paths:
        path = given
        if not path.name:  # "." has no name to put a suffix to
            path = Path(os.path.abspath(given))
        pdfs = _pdfs_below(path)
        for pdf in pdfs or [path]:
            below = pdf.relative_to(path) if pdfs else Path(pdf.name)
            markdown = (out / below if out else pdf).with_suffix(".md")
            first = found.setdefault(os.path.abspath(markdown), Document(pdf, markdown))
            if os.path.abspath(first.pdf) != os.path.abspath(pdf):
                reason = f"{first.pdf} becomes {markdown}, too: rename one, or read it with --out"
                refused[os.path.abspath(pdf)] = Document(pdf, markdown, reason=reason)
    return [*found.values(), *refused.values()]


def only_pages(found: Sequence[Document], pages: tuple[int, ...]) -> Document:
    """The one PDF that was given, to be read in part. Raises UsageError if there are several.

    Its Markdown has a name of its own, so that a part is never taken for the whole.
    """
    if len(found) != 1:
        raise UsageError(f"--pages is for one PDF, not for {len(found)}", "give one of them")
    [document] = found
    markdown = document.markdown.with_name(
        f"{document.markdown.stem}.pages-{short_pages(pages)}.md"
    )
    return replace(document, markdown=markdown, page_numbers=pages)


def _pdfs_below(folder: Path) -> list[Path]:
    """Every PDF in a folder, by its name; none if it is no folder."""
    pdfs = []
    for inside, _, names in os.walk(folder):
        for name in sorted(names):
            pdf = Path(inside, name)
            if pdf.suffix.lower() == ".pdf" and not name.startswith("."):
                pdfs.append(pdf)
    return pdfs


def examine(document: Document, done: Done) -> Document | None:
    """The document with its sum and pages, or the reason why it cannot be done.

    None if it is done already.
    """
    if document.reason:
        return document
    try:
        sha256 = _sum(document.pdf)
    except OSError as error:
        reason = f"it cannot be read: {error.strerror}"
        if isinstance(error, IsADirectoryError):
            reason = "it holds no PDF"
        return replace(document, reason=reason)
    except ValueError as error:
        return replace(document, reason=str(error))
    document = replace(document, sha256=sha256)
    if done.is_whole(document):
        return None
    objection = done.objection(document)
    if objection:
        return replace(document, reason=objection)
    pages, reason = _pages(document.pdf)
    if not (document.page_numbers and pages):
        return replace(document, pages=pages, reason=reason)
    if document.page_numbers[-1] > pages:
        reason = f"it has {pages} pages, and page {document.page_numbers[-1]} is asked for"
    return replace(document, pages=len(document.page_numbers), reason=reason)


def _sum(pdf: Path) -> str:
    """The SHA-256 of a PDF. Raises OSError, or ValueError saying why it is none.

    It is opened without waiting, as a FIFO would make a reader wait forever.
    """
    with os.fdopen(os.open(pdf, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
        about = os.fstat(file.fileno())
        if stat.S_ISDIR(about.st_mode):
            raise IsADirectoryError
        if not stat.S_ISREG(about.st_mode):
            raise ValueError("it is not a regular file")
        if not about.st_size:
            raise ValueError("it is empty")
        if about.st_size > MOST_BYTES:
            raise ValueError(f"it is larger than {MOST_BYTES >> 20:,} MiB")
        if b"%PDF" not in file.read(1024):
            raise ValueError("it is not a PDF")
        file.seek(0)
        return hashlib.file_digest(file, "sha256").hexdigest()


def _pages(pdf: Path) -> tuple[int, str]:
    """The number of pages, or 0 and why they cannot be read."""
    command = [program("pdfinfo"), os.path.abspath(pdf)]
    try:
        shown = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=PDFINFO_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return 0, f"it is broken: its pages are not counted within {PDFINFO_SECONDS:.0f} s"
    if "Incorrect password" in shown.stderr:
        return 0, "it is encrypted, and asks for a password"
    for line in shown.stdout.splitlines():
        if line.startswith("Pages:") and int(line.split()[1]):
            return int(line.split()[1]), ""
    said = shown.stderr.splitlines() or ["it has no pages"]
    return 0, f"it is broken: {said[-1]}"


def put(path: Path, data: bytes, mode: int = 0o666) -> None:
    """Write a file, readable as `mode` and the umask say, whole or not at all.

    It is written beside, under a name that nobody can foresee and that must be new, so that no link
    is written through.
    """
    part = path.with_name(f".{secrets.token_hex(8)}.part")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    opened = os.open(part, flags, mode)
    try:
        with os.fdopen(opened, "wb") as file:
            file.write(data)
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
