"""Pages per minute of ./ocr_pdfs.sh beside those of the olmOCR toolkit alone,
on one stand-in for a pod, in one run.

    .venv/bin/python bench/ocr_overhead.py [PAGES] [SECONDS] [ROUNDS]

The stand-in takes SECONDS for each page, whatever else it does, as a GPU with room does. Both read
the same scans with the same number of pages at once, by turns. What is timed is the whole command,
from its start to its last Markdown.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from tests.clones import Clone, new_clone  # noqa: E402
from tests.pages import page  # noqa: E402

PDFS = 6
CONCURRENCY = 20
BURSTS = 50
WORDS = 500
KEY = "pk-bench"
HEAD = (
    "---\nprimary_language: en\nis_rotation_valid: True\nrotation_correction: 0\nis_table: False\n"
)
TEXT = HEAD + "is_diagram: False\n---\n" + "word " * WORDS
USAGE = {"prompt_tokens": 1500, "completion_tokens": WORDS, "total_tokens": 1500 + WORDS}


def pod(port: int) -> dict[str, Any]:
    env = {"PODKIT_MODEL": "olmocr", "PODKIT_API_KEY": KEY, "WEBUI_ADMIN_PASSWORD": "bench"}
    ports = [
        {"private": private, "public": port, "type": "http", "ip": "127.0.0.1"}
        for private in (8000, 3000)
    ]
    return {
        "id": "bench0pod",
        "name": "podkit-olmocr-bench0",
        "status": "RUNNING",
        "cost": 0.86,
        "env": env,
        "dataCenterId": "EU-RO-1",
        "gpu": {"id": "NVIDIA L40S", "count": 1},
        "createdAt": "2026-11-21T12:00:00Z",
        "runtime": {"uptime": 60, "ports": ports},
    }


class StandIn(BaseHTTPRequestHandler):
    """The account's API, the chat page's sign-in, and the model, on one port."""

    seconds: float
    """How long a page takes."""
    calls: Counter[str]
    """What it was asked, by path."""

    def do_GET(self) -> None:
        one = pod(self.connection.getsockname()[1])
        path = self.path.partition("?")[0]
        answers = {"/v2/pods": {"pods": [one]}, f"/v2/pods/{one['id']}": one}
        self.give(answers.get(path, {"status": True}))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.calls[self.path] += 1
        if not self.path.endswith("/chat/completions"):
            self.give({"token": "bench"})
        elif body["max_tokens"] == 1:
            self.give({"choices": [{}]})
        elif body.get("stream"):
            self.stream()
        else:
            time.sleep(self.seconds)
            message = {"role": "assistant", "content": TEXT}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            self.give({"choices": [choice], "usage": USAGE})

    def stream(self) -> None:
        """An event a word, as vLLM sends one a token."""
        self.send_response(200)
        self.end_headers()
        events: list[dict[str, Any]] = []
        for word in [HEAD + "is_diagram: False\n---\n", *["word "] * WORDS]:
            events.append({"choices": [{"delta": {"content": word}, "finish_reason": None}]})
        events.append({"choices": [{"delta": {}, "finish_reason": "stop"}]})
        events.append({"choices": [], "usage": USAGE})
        lines = [f"data: {json.dumps(event)}\n\n" for event in events] + ["data: [DONE]\n\n"]
        for burst in range(BURSTS):
            time.sleep(self.seconds / BURSTS)
            first = burst * len(lines) // BURSTS
            end = (burst + 1) * len(lines) // BURSTS
            self.wfile.write("".join(lines[first:end]).encode())

    def give(self, answer: dict[str, Any]) -> None:
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None: ...


@contextmanager
def stand_in(seconds: float) -> Iterator[tuple[str, Counter[str]]]:
    """A pod's stand-in: its URL, and the calls it has seen."""
    counted: Counter[str] = Counter()

    class Answer(StandIn):
        calls = counted

    Answer.seconds = seconds
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", counted
    finally:
        server.shutdown()


def scans(folder: Path, pages: int) -> list[Path]:
    """PDFs of scans, each page with a number of its own."""
    folder.mkdir()
    plain = Image.open(BytesIO(page()[0])).convert("RGB")
    names = []
    for number in range(PDFS):
        images = [plain.copy() for _ in range(pages // PDFS)]
        for place, image in enumerate(images):
            ImageDraw.Draw(image).text((80, 1200), f"{number}-{place}", "black", font_size=40)
        names.append(folder / f"{number}.pdf")
        images[0].save(names[-1], save_all=True, append_images=images[1:], resolution=120)
    return names


def timed(command: list[str], env: dict[str, str]) -> float:
    started = time.perf_counter()
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{command}: {done.stderr}")
    return time.perf_counter() - started


def with_podkit(clone: Clone, url: str, pdfs: list[Path], out: Path) -> float:
    script = [
        str(clone.root / "ocr_pdfs.sh"),
        *map(str, pdfs),
        "--out",
        str(out),
        "--concurrency",
        str(CONCURRENCY),
    ]
    environment = clone.environment(
        RUNPOD_API_KEY="rpa_bench",
        RUNPOD_API_URL=f"{url}/v2",
        RUNPOD_PROXY_URL="http://127.0.0.1:{public_port}",
    )
    return timed(script, environment)


def alone(clone: Clone, url: str, pdfs: list[Path], workspace: Path) -> float:
    [python] = clone.root.glob(".podkit/olmocr/*/bin/python")
    options = [
        "--server",
        f"{url}/v1",
        "--api_key",
        KEY,
        "--model",
        "olmocr",
        "--pages_per_group",
        "1",
        "--markdown",
    ]
    options += [
        "--workers",
        "2",
        "--max_concurrent_requests",
        str(CONCURRENCY),
        "--pdfs",
        *map(str, pdfs),
    ]
    return timed(
        [str(python), "-m", "olmocr.pipeline", str(workspace), *options], clone.environment()
    )


def main(pages: int = 240, seconds: float = 6.0, rounds: int = 3) -> None:
    with tempfile.TemporaryDirectory() as temporary, stand_in(seconds) as (url, calls):
        folder = Path(temporary)
        clone = new_clone(folder, ROOT / ".venv/bin/uv")
        with_podkit(clone, url, scans(folder / "warm", PDFS), folder / "out")
        pdfs = scans(folder / "scans", pages)
        rates: dict[str, list[float]] = {"the toolkit alone": [], "./ocr_pdfs.sh": []}
        conditions = f"{seconds:g} s a page, {CONCURRENCY} at once, {os.cpu_count()} cores"
        print(f"{pages} pages in {PDFS} PDFs, {conditions}\n")
        for number in range(rounds):
            calls.clear()
            rates["the toolkit alone"].append(
                pages / alone(clone, url, pdfs, folder / f"alone-{number}") * 60
            )
            rates["./ocr_pdfs.sh"].append(
                pages / with_podkit(clone, url, pdfs, folder / f"out-{number}") * 60
            )
            asked = calls["/v1/chat/completions"]
            assert asked == 2 * pages + 1, (
                f"{asked} completions for {pages} pages twice and one probe"
            )
            same = all(
                (folder / f"out-{number}/{pdf.stem}.md").read_text()
                == next((folder / f"alone-{number}/markdown").rglob(f"{pdf.stem}.md")).read_text()
                for pdf in pdfs
            )
            assert same, "the Markdown differs"
        print("| command | pages a minute (median) | each round |\n|---|---|---|")
        for name, found in rates.items():
            each = ", ".join(f"{rate:.1f}" for rate in found)
            print(f"| {name} | {statistics.median(found):.1f} | {each} |")
        with_it, without = (
            statistics.median(rates[name]) for name in ("./ocr_pdfs.sh", "the toolkit alone")
        )
        print(
            f"\noverhead of ./ocr_pdfs.sh: {(without / with_it - 1) * 100:.1f} % (aim: at most 5 %)"
        )


if __name__ == "__main__":
    given = sys.argv[1:]
    main(*map(int, given[:1]), *map(float, given[1:2]), *map(int, given[2:3]))
