"""The olmOCR toolkit: an environment of its own, and one run of it over PDFs.

Rendering, prompts, retries and rotation are the toolkit's own (olmocr 0.4.27). It gets no key but
the relay's, and nothing of this process's environment but PATH.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from podkit.errors import PodkitError
from podkit.ocr.documents import Document
from podkit.ocr.relay import Relay
from podkit.pods.progress import SAY_EVERY_SECONDS, minutes, show_live

HERE = Path(__file__).parent
CONSTRAINTS = HERE / "constraints-olmocr.txt"
PLACES_OF_UV = ("~/.local/bin", "~/.cargo/bin", "/opt/homebrew/bin", "/usr/local/bin")
LOOK_EVERY_SECONDS = 0.5
STILL_SECONDS = 5.0
"""After so much silence a person is told that it still goes on."""
NO_TEXT = "No document text"
"""What the toolkit's log says of a PDF on whose pages the model found nothing (olmocr 0.4.27)."""
BLANK = "<!-- no text was found in this PDF -->\n"
TAKE_SECONDS = 120.0
"""What taking some pages out of a PDF may take; it is seconds for a thousand."""


def install_toolkit(place: Path, path: str, say: Callable[[str], None]) -> Path:
    """The Python of an environment below `place` that holds the pinned toolkit; it is made where it
    is not whole.
    """
    place /= hashlib.sha256(CONSTRAINTS.read_bytes()).hexdigest()[:12]
    python = place / "bin/python"
    stamp = place / "complete"
    if stamp.exists() and python.exists():
        return python
    say(f"installing the olmOCR toolkit into {place}; only once")
    folders = (path, str(Path(sys.executable).parent), *map(os.path.expanduser, PLACES_OF_UV))
    if uv := shutil.which("uv", path=os.pathsep.join(folders)):
        make = [uv, "venv", "--quiet", "--clear", "--python", sys.executable]
        install = [uv, "pip", "install", "--quiet", "--python", str(python)]
    else:
        make = [sys.executable, "-m", "venv", "--clear"]
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    for command in ([*make, str(place)], [*install, "-r", str(CONSTRAINTS)]):
        if not _ends_well(command, say):
            raise PodkitError(
                "the olmOCR toolkit could not be installed, see above",
                "the same command tries again",
            )
    stamp.touch()
    return python


def _ends_well(command: Sequence[str], say: Callable[[str], None]) -> bool:
    """Whether a program of the set-up did what it should; it says that it goes on."""
    waited = 0.0
    with subprocess.Popen(command, stdout=2) as process:
        try:
            while True:
                with suppress(subprocess.TimeoutExpired):
                    return process.wait(STILL_SECONDS) == 0
                waited += STILL_SECONDS
                say(f"still installing, {waited:.0f} s")
        except BaseException:
            process.kill()
            raise


def transcribe(
    documents: Sequence[Document],
    python: Path,
    folder: Path,
    path: str,
    relay: Relay,
    concurrency: int,
    place: Callable[[Document, str], Document],
    show: Callable[[int], None],
) -> list[Document]:
    """What became of each document. `place` is given each that has a text, and says what became of
    it; `show` is given the number of pages read so far.
    """
    work = folder / "work"
    ended: list[Document] = []
    waiting = _lay_out(documents, python, work)
    with _toolkit(python, _arguments(documents, work, relay, concurrency), work, path) as process:
        running = True
        while running:
            with suppress(subprocess.TimeoutExpired):
                process.wait(LOOK_EVERY_SECONDS)
            running = process.returncode is None
            for link in filter(_is_through, list(waiting)):
                document, text = _read(link, waiting.pop(link))
                ended.append(place(document, text) if text else document)
            show(len(relay.reader.read))
            if relay.reader.failure:
                break
    if not waiting and not any(document.failures() for document in ended):
        relay.reader.forget()
    reason = relay.reader.failure
    if not reason:
        reason = f"the toolkit ended before it was done; {folder / 'olmocr.log'} says why"
    return ended + [replace(document, reason=reason) for document in waiting.values()]


def _lay_out(documents: Sequence[Document], python: Path, work: Path) -> dict[Path, Document]:
    """Fill the toolkit's folder: for each document a link to its PDF, or a PDF of some pages."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(mode=0o700)
    laid = {work / f"{number}.pdf": document for number, document in enumerate(documents)}
    for link, document in laid.items():
        if document.page_numbers:
            _take_pages(python, document, link)
        else:
            link.symlink_to(os.path.abspath(document.pdf))
    (work / "pdfs.txt").write_text("\n".join(map(str, laid)), encoding="utf-8")
    return laid


def _take_pages(python: Path, document: Document, target: Path) -> None:
    """Put the pages of a PDF that are to be read into one of their own. Raises PodkitError."""
    pages = ",".join(map(str, document.page_numbers))
    script = str(HERE / "take_pages.py")
    command = [str(python), "-P", script, os.path.abspath(document.pdf), str(target), pages]
    try:
        subprocess.run(command, capture_output=True, check=True, env={}, timeout=TAKE_SECONDS)
    except subprocess.SubprocessError as error:
        said = (getattr(error, "stderr", b"") or b"").decode(errors="replace").splitlines()
        why = said[-1] if said else type(error).__name__
        what = f"{document.pdf}: its pages cannot be taken out ({why})"
        raise PodkitError(what, "without --pages, all of it is read") from None


def _is_through(link: Path) -> bool:
    """Whether the toolkit has ended its work on this PDF."""
    return _of_item(link, "done_flags/done_{}.flag").exists()


def _of_item(link: Path, name: str) -> Path:
    """A file of the toolkit's queue for the work item that holds this PDF alone."""
    return (
        link.parent
        / "queue"
        / name.format(hashlib.sha1(str(link).encode(), usedforsecurity=False).hexdigest())
    )


def _read(link: Path, document: Document) -> tuple[Document, str]:
    """The document and its text, once the toolkit is through with it; with what its log says of
    what failed.
    """
    written = _of_item(link, "results/output_{}.jsonl").read_text(encoding="utf-8")
    answer = json.loads(written or "{}")
    text = mark_pages(answer, document) if answer else ""
    if text and not answer["metadata"]["total-fallback-pages"]:
        return document, text
    log = (link.parents[1] / "olmocr.log").read_text(encoding="utf-8", errors="replace")

    def last_word(name: str) -> str:
        """The last that the log says of a page or PDF; it is silent of answers that are cut off."""
        said = re.findall(rf" - (?:INFO|WARNING|ERROR) - (.*) for {re.escape(name)}(.*)", log)
        return "".join(said[-1])[:300] if said else "no answer was complete"

    found = re.findall(rf" - Failed {re.escape(str(link))}-(\d+) after", log)
    failed = []
    for place in sorted(set(map(int, found))):
        failed.append({"page": document.number_of(place), "reason": last_word(f"{link}-{place} ")})
    reason = "" if text else last_word(str(link))
    if reason == NO_TEXT and not failed:
        return document, BLANK
    return replace(document, failed_pages=tuple(failed), reason=reason), text


def mark_pages(answer: dict[str, Any], document: Document) -> str:
    """The text of the pages, with a mark before each but the PDF's first.

    The toolkit gives the place of each page in the text: where it begins, where it ends, its
    number in what was read.
    """
    marked = ""
    for begin, end, place in answer["attributes"]["pdf_page_numbers"]:
        page = document.number_of(place)
        text = answer["text"][begin:end].strip("\n")
        marked += f"\n\n<!-- page {page} -->\n\n{text}" if marked or page > 1 else text
    return marked.strip("\n") + "\n"


def _arguments(
    documents: Sequence[Document], work: Path, relay: Relay, concurrency: int
) -> list[str]:
    """A PDF is a work item of its own, and is kept whatever the number of failed pages.

    As many are open at once as keep twice the `concurrency` in pages ready: each page waits in
    memory, rendered.
    """
    pages = sum(document.pages for document in documents)
    workers = min(concurrency, max(2, 2 * concurrency * len(documents) // pages))
    return [
        *("olmocr", str(work / "queue"), "--pdfs", str(work / "pdfs.txt"), "--model", relay.model),
        *(
            "--server",
            relay.url,
            "--api_key",
            relay.key,
            "--pages_per_group",
            "1",
            "--max_page_error_rate",
            "1",
        ),
        *("--workers", str(workers), "--max_concurrent_requests", str(concurrency)),
    ]


@contextmanager
def _toolkit(
    python: Path, arguments: Sequence[str], work: Path, path: str
) -> Iterator[subprocess.Popen[bytes]]:
    """A toolkit at work; it ends with the block, and its folder goes."""
    environ = {"PATH": path, "HOME": str(work), "TMPDIR": str(work), "PYTHONUTF8": "1"}
    command = [str(python), "-P", str(HERE / "run_olmocr.py")]
    reading, writing = os.pipe()
    with (
        os.fdopen(writing, "w") as told,
        os.fdopen(reading) as heard,
        (work.parent / "olmocr.log").open("wb") as log,
    ):
        process = subprocess.Popen(
            command, stdin=heard, stdout=log, stderr=log, env=environ, start_new_session=True
        )
        try:
            print(json.dumps(arguments), file=told, flush=True)
            yield process
        finally:
            with suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            shutil.rmtree(work, ignore_errors=True)


@contextmanager
def progress(
    total: int,
    spent: Callable[[], float],
    say: Callable[[str], None] | None,
    clock: Callable[[], float],
) -> Iterator[Callable[[int], None]]:
    """What shows the number of pages read: `say` every 30 seconds and at the end, or a bar where
    that is None.
    """
    began = said_at = clock()
    line = ""

    def tell(pages: int) -> None:
        nonlocal line, said_at
        seconds = max(clock() - began, 0.001)
        left = int(seconds * (total - pages) / pages) if pages else 0
        told = f", {minutes(left)} left" if left else ""
        usd = spent()
        cost = f", about ${usd:.2f} in this run" if usd >= 0.005 else ""
        line = f"{pages} of {total} pages, {pages / seconds * 60:.1f} a minute{cost}{told}"
        if say and clock() - said_at >= SAY_EVERY_SECONDS:
            said_at = clock()
            say(line)
        elif not say:
            bar.update(task, completed=pages, description=line)  # drawn by a thread of its own

    if say:
        yield tell
        say(line)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    bar = Progress(
        BarColumn(),
        TextColumn("{task.description}"),
        console=Console(stderr=True),
        redirect_stdout=False,
    )
    task = bar.add_task("", total=total)
    with show_live(bar.live):
        yield tell
