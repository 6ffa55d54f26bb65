"""A workspace: where pods find the PDFs that they read by themselves, and put what they have read.

It is the olmOCR toolkit's own (0.4.27), in a bucket or on a network volume, and each pod's program
keeps its queue alive (startup/read_workspace.py). A PDF lies there under its SHA-256, so that one
that has changed is another. Files are asked for by their keys: no listing decides anything.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from podkit.errors import Missing, UsageError
from podkit.ocr.documents import Document, put
from podkit.ocr.toolkit import BLANK, NO_TEXT, mark_pages
from podkit.pods.survey import find_volume
from podkit.s3 import PART_BYTES, Bucket
from podkit.settings import BUCKET

if TYPE_CHECKING:
    from podkit.runpod.client import RunpodClient
    from podkit.settings import Settings
    from podkit.uploads import Uploads

ON_VOLUME = re.compile(r"volume(/[A-Za-z0-9_-]+)?")
VOLUME_FOLDER = "podkit/ocr"
"""Where workspaces lie on a network volume; startup/boot/reader.py looks there."""
LIST = "pdfs.txt"
"""What is to be read, a PDF a line: its SHA-256 and its pages. It comes last."""
AT_ONCE = 16
"""Requests about small files at once."""


class Files(Protocol):
    """The files of a workspace, by their names in it."""

    def size(self, name: str) -> int | None:
        """Bytes of a file, None if there is none."""

    def read(self, name: str) -> bytes: ...

    def write(self, name: str, content: bytes) -> None: ...

    def put(self, file: Path, name: str, uploads: Uploads) -> None:
        """Sends a file, however large, and proves that it is there."""


@dataclass(frozen=True)
class InBucket:
    """See Files."""

    bucket: Bucket
    folder: str

    def size(self, name: str) -> int | None:
        found = self.bucket.find(f"{self.folder}/{name}")
        return found.size if found else None

    def read(self, name: str) -> bytes:
        return self.bucket.read(f"{self.folder}/{name}")

    def write(self, name: str, content: bytes) -> None:
        self.bucket.write(f"{self.folder}/{name}", content)

    def put(self, file: Path, name: str, uploads: Uploads) -> None:
        self.bucket.put(file, f"{self.folder}/{name}", uploads, lambda _: None)


@dataclass(frozen=True)
class InFolder:
    """See Files. The sandbox's network volume is a folder of this machine."""

    top: Path

    def size(self, name: str) -> int | None:
        path = self.top / name
        return path.stat().st_size if path.is_file() else None

    def read(self, name: str) -> bytes:
        return (self.top / name).read_bytes()

    def write(self, name: str, content: bytes) -> None:
        path = self.top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        put(path, content)

    def put(self, file: Path, name: str, uploads: Uploads) -> None:  # noqa: ARG002 - it is no upload
        self.write(name, file.read_bytes())


@dataclass(frozen=True)
class Progress:
    """How many PDFs and pages of a workspace's list are done."""

    pdfs: int
    pdfs_done: int
    pages: int
    pages_done: int

    @property
    def pdfs_left(self) -> int:
        return self.pdfs - self.pdfs_done


@dataclass(frozen=True)
class Workspace:
    """`place` is what its pods are told: `s3://bucket/folder`, or `volume/NAME`."""

    place: str
    files: Files

    def fill(self, documents: Sequence[Document], uploads: Uploads) -> int:
        """Puts there what is missing of these PDFs, then the list of them, and nothing else is read
        from then on. Returns how many PDFs were sent. Raises S3Failed.
        """
        distinct = {document.sha256: document for document in documents}
        wanted = list(distinct.values())
        sizes = self._each(wanted, lambda one: self.files.size(_pdf_name(one)))
        missing = []
        for document, size in zip(wanted, sizes, strict=True):
            if size != document.pdf.stat().st_size:
                missing.append(document)

        def send(document: Document) -> None:
            self.files.put(document.pdf, _pdf_name(document), uploads)

        small = [one for one in missing if one.pdf.stat().st_size <= PART_BYTES]
        large = [one for one in missing if one.pdf.stat().st_size > PART_BYTES]
        self._each(small, send)
        for document in large:  # one by one: each notes its parts
            send(document)
        lines = [f"{one.sha256} {one.pages}\n" for one in wanted]
        self.files.write(LIST, "".join(sorted(lines)).encode())
        return len(missing)

    def progress(self) -> Progress:
        """How far its pods are. Raises Missing for a workspace that was never filled."""
        if self.files.size(LIST) is None:
            hint = f"./ocr_pdfs.sh FOLDER --workspace {self.place} --pods 2 fills it"
            raise Missing(f"{self.place} is no workspace", hint)
        listed = []
        for line in self.files.read(LIST).decode().splitlines():
            name, pages = line.split()
            listed.append((name, int(pages)))
        flags = self._each(listed, lambda one: self.files.size(_flag_name(one[0])))
        done = [one for one, flag in zip(listed, flags, strict=True) if flag is not None]
        return Progress(
            len(listed),
            len(done),
            sum(pages for _, pages in listed),
            sum(pages for _, pages in done),
        )

    def collect(self, documents: Sequence[Document]) -> list[tuple[Document, str]]:
        """Each document with what became of it, and its text, empty where there is none."""
        return self._each(documents, self._collect)

    def _collect(self, document: Document) -> tuple[Document, str]:
        if self.files.size(_flag_name(document.sha256)) is None:
            return replace(document, reason="no pod has read it yet"), ""
        written = self.files.read(f"results/output_{document.sha256}.jsonl")
        answer = json.loads(written.partition(b"\n")[0] or b"{}")
        if answer and not answer["metadata"]["total-fallback-pages"]:
            return _with_all_pages(document, answer)
        told: dict[str, Any] = {"reason": "no answer was complete", "pages": {}}
        if self.files.size(f"failed/{document.sha256}.json") is not None:
            told = json.loads(self.files.read(f"failed/{document.sha256}.json"))
        if not answer:
            return _without_text(document, told["reason"], told["pages"])
        failed = []
        for page, reason in sorted(told["pages"].items(), key=lambda one: int(one[0])):
            failed.append({"page": int(page), "reason": reason})
        lost = tuple(failed) or ({"page": "unknown", "reason": told["reason"]},)
        return _with_all_pages(replace(document, failed_pages=lost), answer)

    def _each(self, things: Iterable[Any], ask: Callable[[Any], Any]) -> list[Any]:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(pool.map(ask, things))


def open_workspace(
    place: str,
    settings: Settings,
    client: RunpodClient,
    sandbox_volumes: Path | None,
) -> Workspace:
    """The workspace that `s3://bucket/folder`, `volume` or `volume/NAME` names; the sandbox's
    volumes are folders.

    Raises UsageError for anything else, and where keys to it are missing.
    """
    place = place.rstrip("/")
    if ON_VOLUME.fullmatch(place):
        name = place.partition("/")[2] or "default"
        volume = find_volume(client, settings)
        folder = f"{VOLUME_FOLDER}/{name}"
        if sandbox_volumes:
            return Workspace(f"volume/{name}", InFolder(sandbox_volumes / volume.id / folder))
        if not settings.volume_s3:
            what = "RUNPOD_S3_ACCESS_KEY and RUNPOD_S3_SECRET_KEY are not set"
            raise UsageError(what, "make an S3 API key in the provider's console; docs/sources.md")
        files = InBucket(Bucket(settings.volume_s3, volume.id), folder)
        return Workspace(f"volume/{name}", files)
    bucket, _, folder = place.removeprefix("s3://").partition("/")
    if not BUCKET.fullmatch(place) or not folder:
        what = f"--workspace {place!r} is no place for one"
        raise UsageError(what, "s3://bucket/folder, volume, or volume/NAME")
    if sandbox_volumes:
        raise UsageError("the sandbox is not given your buckets", "try --workspace volume")
    if not settings.model_s3:
        what = "PODKIT_S3_ACCESS_KEY and PODKIT_S3_SECRET_KEY are not set"
        raise UsageError(what, "put the keys to the bucket into .env; docs/ocr.md")
    return Workspace(place, InBucket(Bucket(settings.model_s3, bucket), folder))


def _with_all_pages(document: Document, answer: dict[str, Any]) -> tuple[Document, str]:
    """The document and its text, if that has as many pages as the PDF."""
    pages = int(answer["metadata"]["pdf-total-pages"])
    if pages != document.pages:
        reason = f"{pages} of its {document.pages} pages were read"
        return replace(document, failed_pages=(), reason=reason), ""
    return document, mark_pages(answer, document)


def _without_text(document: Document, reason: str, pages: dict[str, str]) -> tuple[Document, str]:
    """What the toolkit gives no text of: a PDF without any, or one that it could not read."""
    if reason == NO_TEXT and not pages:
        return document, BLANK
    return replace(document, reason=reason), ""


def _pdf_name(document: Document) -> str:
    return f"pdfs/{document.sha256}.pdf"


def _flag_name(sha256: str) -> str:
    return f"done_flags/done_{sha256}.flag"
