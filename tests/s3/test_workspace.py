"""Several readers of one workspace: the real toolkit on real S3 servers, and on a shared folder."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from podkit.ocr.documents import Document
from podkit.ocr.toolkit import install_toolkit
from podkit.ocr.workspace import Files, InBucket, InFolder, Workspace
from podkit.s3 import Bucket
from podkit.uploads import Uploads
from tests.podkit.ocr.answers import HEAD
from tests.podkit.ocr.documents import pdf_of
from tests.s3.servers import Server, access
from tests.waiting import LONG

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("poppler")]
PROGRAM = Path(__file__).parents[2] / "startup/read_workspace.py"
PAGES = 2
BEAT = 1
PATIENT_BEAT = 3
"""A reader with this beat takes nobody for dead who stalls for less than 15 seconds."""


class Model(ThreadingHTTPServer):
    """A server of models that reads every page at once, but for the keys that are `held`: their
    readers wait until they are no more.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.url = f"http://127.0.0.1:{self.server_port}/v1"
        self.held: set[str] = set()
        self.asked: list[str] = []
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()


class _Answer(BaseHTTPRequestHandler):
    server: Model

    def do_GET(self) -> None:
        self._send({"data": []})

    def do_POST(self) -> None:
        key = self.headers.get("Authorization", "").removeprefix("Bearer ")
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append(key)
        while key in self.server.held:
            time.sleep(0.05)
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        finish = "length" if key == "unreadable" else "stop"
        choice = {"message": {"content": f"{HEAD}read"}, "finish_reason": finish}
        self._send({"choices": [choice], "usage": usage})

    def _send(self, told: object) -> None:
        body = json.dumps(told).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with suppress(OSError):  # the reader was killed
            self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


@dataclass
class Bench:
    """A workspace of six PDFs, and who reads it."""

    workspace: Workspace
    place: str
    environ: dict[str, str]
    python: Path
    model: Model
    documents: list[Document]
    logs: Path
    readers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, key: str, beat: int = BEAT) -> subprocess.Popen[bytes]:
        """A reader in a session of its own, as a pod's is."""
        environ = {
            **self.environ,
            "PATH": os.environ["PATH"],
            "HOME": str(self.logs),
            "OCR_SERVER": self.model.url,
            "OCR_MODEL": "olmocr",
            "OCR_KEY": key,
            "PODKIT_BEAT_SECONDS": str(beat),
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        with (self.logs / key).open("ab") as log:
            argv = [str(self.python), str(PROGRAM), self.place]
            reader = subprocess.Popen(
                argv, env=environ, stdout=log, stderr=log, start_new_session=True
            )
        self.readers.append(reader)
        return reader

    def log(self, key: str) -> str:
        return (self.logs / key).read_text()

    def wait_for(self, what: Callable[[], bool], seconds: float = LONG) -> None:
        until = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < until, [self.log(path.name) for path in self.logs.iterdir()]
            time.sleep(0.1)

    def texts(self) -> list[str]:
        return [text for _, text in self.workspace.collect(self.documents)]


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install_toolkit(tmp_path_factory.mktemp("toolkit"), os.environ["PATH"], print)


@pytest.fixture
def model() -> Iterator[Model]:
    server = Model()
    yield server
    server.held.clear()
    server.shutdown()
    server.server_close()


def in_bucket(kind: str, url: str) -> tuple[InBucket, str, dict[str, str]]:
    """A new folder of a bucket, its place, and what a reader is told to reach it."""
    key = "S3RVER" if kind == "s3rver" else "user_test"
    bucket = "models"
    folder = f"w{uuid.uuid4().hex[:6]}"
    if kind == "moto":
        bucket = f"work{uuid.uuid4().hex[:6]}"
        Server(url).make_bucket(bucket)
    environ = {
        "AWS_ENDPOINT_URL": url,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": key,
        "AWS_SECRET_ACCESS_KEY": key,
        "AWS_SESSION_TOKEN": "",
        "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
        "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
    }
    files = InBucket(Bucket(access(url, key, key), bucket), folder)
    return files, f"s3://{bucket}/{folder}", environ


@pytest.fixture(params=["moto", "s3rver", "folder"])
def bench(
    request: pytest.FixtureRequest, tmp_path: Path, python: Path, model: Model
) -> Iterator[Bench]:
    logs = tmp_path / "logs"
    logs.mkdir()
    files: Files = InFolder(tmp_path / "shared")
    place = str(tmp_path / "shared")
    environ: dict[str, str] = {}
    if request.param != "folder":
        server = request.getfixturevalue(request.param)
        files, place, environ = in_bucket(request.param, server)
    documents = []
    for number in range(6):
        pdf = tmp_path / f"{number}.pdf"
        pdf.write_bytes(pdf_of(*(f"{number} {page}" for page in range(PAGES))))
        digest = hashlib.sha256(pdf.read_bytes()).hexdigest()
        documents.append(Document(pdf, pdf.with_suffix(".md"), digest, PAGES))
    workspace = Workspace("volume/test", files)
    workspace.fill(documents, Uploads(tmp_path / "uploads.json"))
    made = Bench(workspace, place, environ, python, model, documents, logs)
    yield made
    for reader in made.readers:
        if reader.poll() is None:
            os.killpg(reader.pid, signal.SIGKILL)
        reader.wait()


def test_what_a_killed_reader_had_in_hand_is_read_by_another(bench: Bench) -> None:
    bench.model.held.add("dying")
    dying = bench.start("dying")
    bench.wait_for(lambda: "processing work item" in bench.log("dying"))
    bench.wait_for(lambda: "dying" in bench.model.asked)
    os.killpg(dying.pid, signal.SIGKILL)
    other = bench.start("other")
    assert other.wait(LONG) == 0, bench.log("other")
    assert bench.texts() == ["read\n\n<!-- page 2 -->\n\nread\n"] * 6
    progress = bench.workspace.progress()
    assert (progress.pdfs, progress.pdfs_done, progress.pages_done) == (6, 6, 12)


@pytest.mark.parametrize("bench", ["s3rver"], indirect=True)
def test_a_reader_takes_nothing_that_a_slow_one_has_in_hand(bench: Bench) -> None:
    bench.model.held.add("slow")
    slow = bench.start("slow")
    bench.wait_for(lambda: bench.log("slow").count("processing work item") == 6)
    quick = bench.start("quick", PATIENT_BEAT)
    bench.wait_for(lambda: "0 of 6 PDFs are done" in bench.log("quick"))
    time.sleep(PATIENT_BEAT * 7)  # longer than a lock lives that nobody renews
    assert quick.poll() is None
    assert "quick" not in bench.model.asked
    bench.model.held.clear()
    assert slow.wait(LONG) == 0
    assert quick.wait(LONG) == 0
    assert bench.model.asked == ["slow"] * 6 * PAGES


@pytest.mark.parametrize("bench", ["folder"], indirect=True)
def test_a_page_that_no_reader_could_read_is_named_with_its_reason(bench: Bench) -> None:
    bench.workspace.fill(bench.documents[:1], Uploads(bench.logs / "uploads.json"))
    assert bench.start("unreadable").wait(LONG) == 0, bench.log("unreadable")
    [(document, text)] = bench.workspace.collect(bench.documents[:1])
    pages = [(lost["page"], lost["reason"]) for lost in document.failed_pages]
    assert pages == [(1, "no answer was complete"), (2, "no answer was complete")]
    assert "page 2" in text
    [(unread, _)] = bench.workspace.collect(bench.documents[1:2])
    assert unread.reason == "no pod has read it yet"
