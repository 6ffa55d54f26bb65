"""Pages per minute of the olmOCR toolkit and podkit's relay on 1, 2, 3 and 4 pods, each a stand-in
that takes a fixed time for a page; and how many this machine renders when pods take no time at all.

    .venv/bin/python bench/ocr_fleet.py [PAGES] [SECONDS] [AT_ONCE]

A stand-in takes SECONDS for each page and reads AT_ONCE of them at once, as a GPU of a given size
does. What is timed is from the first question that a stand-in gets to the last answer. The speed-up
on three is to be at least 2.4; rendering bounds it.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from pathlib import Path

import requests

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from bench.ocr_overhead import KEY, StandIn, scans  # noqa: E402
from podkit.ocr.backends import Backends  # noqa: E402
from podkit.ocr.documents import Document, Done, examine  # noqa: E402
from podkit.ocr.pace import Pace  # noqa: E402
from podkit.ocr.page_reader import PageReader  # noqa: E402
from podkit.ocr.relay import Relay  # noqa: E402
from podkit.ocr.toolkit import install_toolkit, transcribe  # noqa: E402
from podkit.pods.access import Access  # noqa: E402
from podkit.secret import Secret  # noqa: E402
from tests.podkit.samples import pod  # noqa: E402

MOST_PODS = 4
AIM = 2.4


def serve(told: Connection, seconds: float, at_once: int) -> None:
    """One stand-in, in a process of its own: tells its port, then answers until it is ended."""
    room = threading.Semaphore(at_once)

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            with room:
                StandIn.stream(self)  # type: ignore[arg-type]

        def log_message(self, *_: object) -> None: ...

    Answer.seconds = seconds  # type: ignore[attr-defined]
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    server.daemon_threads = True
    told.send(server.server_port)
    server.serve_forever()


@contextmanager
def stand_in(seconds: float, at_once: int) -> Iterator[str]:
    """The URL of a stand-in."""
    heard, told = multiprocessing.Pipe()
    process = multiprocessing.Process(target=serve, args=[told, seconds, at_once], daemon=True)
    process.start()
    yield f"http://127.0.0.1:{heard.recv()}/v1"
    process.terminate()


class Timed(PageReader):
    """Notes the moments at which pages are asked for and answered."""

    moments: list[float]

    def completion(self, body: bytes) -> tuple[int, bytes]:
        self.moments.append(time.monotonic())
        try:
            return super().completion(body)
        finally:
            self.moments.append(time.monotonic())


def pages_a_minute(
    documents: list[Document], python: Path, folder: Path, pods: int, seconds: float, at_once: int
) -> float:
    """What so many stand-ins read."""
    folder.mkdir()
    backends = Backends(time.monotonic, threading.Condition())
    session = requests.Session()
    session.trust_env = False
    reader = Timed(session, backends, folder / "answers", time.sleep)
    reader.moments = []
    with ExitStack() as started:
        for _ in range(pods):
            url = started.enter_context(stand_in(seconds, at_once))
            where = Access(url, "", "olmocr", Secret(KEY), "", Secret(""))
            backends.add(pod(), where, Pace(at_once, time.monotonic), lambda: False)
        relay = started.enter_context(Relay(reader, "olmocr"))
        path = os.environ["PATH"]
        ended = transcribe(
            documents,
            python,
            folder,
            path,
            relay,
            at_once * pods,
            lambda document, _: document,
            lambda _: None,
        )
    assert not [one for one in ended if one.failures()], "not all was read"
    pages = sum(document.pages for document in documents)
    return pages / (max(reader.moments) - min(reader.moments)) * 60


def main(pages: int = 240, seconds: float = 10.0, at_once: int = 10) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        python = install_toolkit(folder / "toolkit", os.environ["PATH"], print)
        documents = []
        for path in scans(folder / "scans", pages):
            found = examine(Document(path, path.with_suffix(".md")), Done(folder / "done.json"))
            assert found
            documents.append(found)
        print(f"{pages} pages, {seconds:g} s a page, {at_once} at once, {os.cpu_count()} cores\n")
        print("| pods | pages a minute | of what they can | times one pod |\n|---|---|---|---|")
        rates: list[float] = []
        for pods in range(1, MOST_PODS + 1):
            rate = pages_a_minute(documents, python, folder / str(pods), pods, seconds, at_once)
            rates.append(rate)
            can = pods * at_once / seconds * 60
            print(f"| {pods} | {rate:.1f} | {rate / can:.0%} | {rate / rates[0]:.2f} |", flush=True)
        print(f"\nthree pods: {rates[2] / rates[0]:.2f} times one (aim: at least {AIM})")
        rate = pages_a_minute(documents, python, folder / "bound", 1, 0.1, 40)
        print(f"rendered and sent, with pods that take no time: {rate:.1f} pages a minute")


if __name__ == "__main__":
    given = sys.argv[1:]
    main(*map(int, given[:1]), *map(float, given[1:2]), *map(int, given[2:3]))
