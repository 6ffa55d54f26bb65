"""Reads the PDFs of a workspace with the olmOCR toolkit, beside others that do the same: a program,
in the toolkit's own environment (olmocr 0.4.27).

    python read_workspace.py s3://bucket/folder | FOLDER

A workspace is the toolkit's: an index of work, a lock for what is being read, a flag for what is
done, results. The toolkit never renews a lock, and drops what another has locked: what a pod that
dies had in hand, nobody reads. So the locks of what is read here are renewed, a lock that nobody
renews is removed, and the toolkit is started again until all is done. It must never print a key.

Exit status 1: some PDFs were not read however often they were tried. The models' server is
OCR_SERVER, OCR_MODEL and OCR_KEY, which is empty where it asks for none.
"""

import asyncio
import csv
import hashlib
import io
import json
import os
import re
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

BEAT_SECONDS = float(os.environ.get("PODKIT_BEAT_SECONDS", "60"))
"""How often the locks of what is being read here are renewed."""
LOST_SECONDS = 5 * BEAT_SECONDS
"""A lock that was not renewed for so long is of a pod that is dead."""
FRUITLESS_MOST = 3
"""So many times the toolkit may end without one more PDF done, before what is left is given up."""
AT_ONCE = int(os.environ.get("PODKIT_AT_ONCE", "40"))
"""Pages that the server is asked for at once, as ./ocr_pdfs.sh does."""
TAKEN = re.compile(r"Worker \d+ processing work item (\w+)")
GIVEN_UP = re.compile(r"Exception occurred while processing work_hash (\w+)")
FAILED_PAGE = re.compile(r" - Failed (.+)-(\d+) after ")
SAID = re.compile(
    r" - (?:INFO|WARNING|ERROR) - (.*) for (.+?\.pdf)(?:-(\d+))?( .*|, .*|:.*|)$", re.I
)
TOOLKIT = """
import json, os, sys, threading
sys.argv = json.loads(sys.stdin.buffer.readline())
threading.Thread(target=lambda: (os.read(0, 1), os._exit(1)), daemon=True).start()
from olmocr.pipeline import cli_main
cli_main()
"""
"""Its arguments come on standard input: one is a key. When that closes, this program is gone."""


@dataclass(frozen=True)
class Pdf:
    """A PDF of the workspace: the name of its work in the queue, where it lies, and its pages."""

    name: str
    path: str
    pages: int


class Folder:
    """A workspace on a disk that all of its readers share."""

    def __init__(self, place: str) -> None:
        from olmocr.work_queue import LocalBackend  # type: ignore[import-not-found]

        self.place = place
        self.queue = LocalBackend(place)
        self._top = Path(place)

    def read(self, name: str) -> str:
        """A small file of the workspace, empty if there is none."""
        with suppress(FileNotFoundError):
            return (self._top / name).read_text(encoding="utf-8")
        return ""

    def write(self, name: str, text: str) -> None:
        path = self._top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        part.write_text(text, encoding="utf-8")
        part.replace(path)

    def found(self) -> list[Pdf]:
        """The PDFs below in/: for a folder that no podkit has filled."""
        pdfs = []
        for path in sorted((self._top / "in").rglob("*.pdf")):
            name = path.relative_to(self._top / "in").as_posix()
            pdfs.append(Pdf(hashlib.sha256(name.encode()).hexdigest(), str(path), 10))
        return pdfs

    def put_texts(self) -> None:
        """Puts the text of each PDF below in/ below out/, and a list of those without one."""
        missing = ""
        for pdf in self.found():
            name = Path(pdf.path).relative_to(self._top / "in")
            result = self.read(f"results/output_{pdf.name}.jsonl")
            try:
                self.write(f"out/{name.with_suffix('.md').as_posix()}", json.loads(result)["text"])
            except ValueError:  # not done yet, or without text
                missing += f"{name.as_posix()}\n"
        self.write("out/missing.txt", missing)


class Bucket:
    """A workspace in an S3 bucket, with the keys in the environment."""

    def __init__(self, place: str) -> None:
        import boto3
        from olmocr.work_queue import S3Backend

        parts = urlsplit(place)
        self.place = place
        self._bucket = parts.netloc
        self._folder = parts.path.strip("/")
        self._client: Any = boto3.client("s3")
        self.queue = S3Backend(self._client, place)

    def read(self, name: str) -> str:
        with suppress(self._client.exceptions.NoSuchKey):
            found = self._client.get_object(Bucket=self._bucket, Key=f"{self._folder}/{name}")
            return str(found["Body"].read(), "utf-8")
        return ""

    def write(self, name: str, text: str) -> None:
        key = f"{self._folder}/{name}"
        self._client.put_object(Bucket=self._bucket, Key=key, Body=text.encode())

    def found(self) -> list[Pdf]:
        return []

    def put_texts(self) -> None:
        """Whoever has filled a bucket takes the results from there."""


Workspace = Folder | Bucket


@dataclass
class Reading:
    """What a toolkit at work has in hand, and what its log says of pages and PDFs that failed."""

    workspace: Workspace
    names: dict[str, str]
    held: set[str] = field(default_factory=set)
    said: dict[tuple[str, str], str] = field(default_factory=dict)
    failures: dict[str, dict[str, Any]] = field(default_factory=dict)

    async def follow(self, line: str) -> None:
        """Learns from one line of the toolkit's log."""
        if taken := TAKEN.search(line):
            self.held.add(taken[1])
        elif lost := GIVEN_UP.search(line):
            self.held.discard(lost[1])
        elif failed := FAILED_PAGE.search(line):
            reason = self.said.get((failed[1], failed[2]), "no answer was complete")
            await self._note(failed[1], failed[2], reason)
        elif said := SAID.search(line):
            told = (said[1] + said[4])[:300]
            self.said[said[2], said[3] or ""] = told
            if not said[3]:
                await self._note(said[2], "", told)

    async def _note(self, path: str, page: str, reason: str) -> None:
        """Keeps in the workspace why a page, or with an empty `page` a PDF, was not read."""
        name = self.names.get(path, "")
        if name:
            told = self.failures.setdefault(name, {"reason": "", "pages": {}})
            if page:
                told["pages"][page] = reason
            else:
                told["reason"] = reason
            await asyncio.to_thread(self.workspace.write, f"failed/{name}.json", json.dumps(told))

    async def renew(self) -> None:
        """Renews the locks of what is in hand, as long as the toolkit is at work."""
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            try:
                self.held -= await self.workspace.queue.get_completed_hashes()
                for name in list(self.held):
                    await self.workspace.queue.create_worker_lock(name)
            except Exception as error:  # the next beat tries again; four may fail
                print(f"the locks could not be renewed: {type(error).__name__}", flush=True)


def open_workspace(place: str) -> Workspace:
    for name in [name for name in os.environ if name.startswith("AWS_") and not os.environ[name]]:
        del os.environ[name]  # the library would take an empty one for a value
    if not place.startswith("s3://"):
        return Folder(place)
    if os.environ.get("AWS_ENDPOINT_URL"):  # other servers' buckets have no host name of their own
        config = Path(tempfile.mkdtemp(), "aws")
        config.write_text("[default]\ns3 =\n    addressing_style = path\n")
        os.environ["AWS_CONFIG_FILE"] = str(config)
    return Bucket(place)


def wanted(workspace: Workspace) -> list[Pdf]:
    """What is to be read: the list that podkit has put there, else what lies below in/."""
    listed = workspace.read("pdfs.txt")
    if not listed:
        return workspace.found()
    pdfs = []
    for line in listed.splitlines():
        name, pages = line.split()
        pdfs.append(Pdf(name, f"{workspace.place.rstrip('/')}/pdfs/{name}.pdf", int(pages)))
    return pdfs


async def fill(workspace: Workspace, pdfs: list[Pdf]) -> None:
    """Writes the index: a PDF is a work item. Of the same list each reader makes the same bytes."""
    lines = []
    for pdf in pdfs:
        row = io.StringIO()
        csv.writer(row).writerow([pdf.name, pdf.path])
        lines.append(row.getvalue().strip())
    there: list[str] = []
    with suppress(Exception):  # another reader is just writing it
        there = [line.strip() for line in await workspace.queue.load_index_lines()]
    if there != lines:
        await workspace.queue.save_index_lines(lines)


async def release(workspace: Workspace, left: set[str]) -> int:
    """Removes the locks that nobody renews. Returns how many PDFs nobody is reading."""

    async def is_free(name: str) -> bool:
        if await workspace.queue.is_worker_lock_taken(name, LOST_SECONDS):
            return False
        await workspace.queue.delete_worker_lock(name)
        return True

    return sum(await asyncio.gather(*map(is_free, sorted(left))))


def arguments(workspace: Workspace, pdfs: list[Pdf]) -> list[str]:
    """The toolkit's. As many PDFs are open as keep twice AT_ONCE pages ready."""
    pages = max(sum(pdf.pages for pdf in pdfs), 1)
    workers = min(AT_ONCE, max(2, 2 * AT_ONCE * len(pdfs) // pages))
    told = ["olmocr", workspace.place, "--server", os.environ["OCR_SERVER"]]
    told += ["--model", os.environ["OCR_MODEL"], "--workers", str(workers)]
    told += ["--max_concurrent_requests", str(AT_ONCE), "--max_page_error_rate", "1"]
    if os.environ.get("OCR_KEY"):
        told += ["--api_key", os.environ["OCR_KEY"]]
    return told


async def read(workspace: Workspace, pdfs: list[Pdf]) -> None:
    """Runs the toolkit once. Gives back what it leaves unread."""
    reading = Reading(workspace, {pdf.path: pdf.name for pdf in pdfs})
    toolkit = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", TOOLKIT),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        limit=2**22,
    )
    if not (toolkit.stdin and toolkit.stdout):
        raise RuntimeError("the toolkit has no pipes")
    toolkit.stdin.write(f"{json.dumps(arguments(workspace, pdfs))}\n".encode())
    renewing = asyncio.create_task(reading.renew())
    async for raw in toolkit.stdout:
        line = raw.decode(errors="replace").rstrip()
        print(line, flush=True)
        await reading.follow(line)
    await toolkit.wait()
    renewing.cancel()
    for name in reading.held - await workspace.queue.get_completed_hashes():
        await workspace.queue.delete_worker_lock(name)


async def main(place: str) -> int:
    workspace = open_workspace(place)
    fruitless = 0
    left_before: set[str] = set()
    while True:
        pdfs = wanted(workspace)  # there may be more of them meanwhile
        await fill(workspace, pdfs)
        names = {pdf.name for pdf in pdfs}
        left = names - await workspace.queue.get_completed_hashes()
        print(f"{len(names) - len(left)} of {len(names)} PDFs are done", flush=True)
        workspace.put_texts()
        if not left:
            return 0
        if not await release(workspace, left):
            await asyncio.sleep(BEAT_SECONDS)  # others read what is left; if one dies it is free
            continue
        fruitless = fruitless + 1 if left == left_before else 0
        if fruitless == FRUITLESS_MOST:
            print(f"given up: {' '.join(sorted(left))}", flush=True)
            return 1
        left_before = left
        await read(workspace, [pdf for pdf in pdfs if pdf.name in left])


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1])))
