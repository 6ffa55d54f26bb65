"""The worker's side of the provider's job API, on this machine: what the official SDK asks for, and
nothing else.

Routes, variables and their shapes are those that runpod 1.12.0 was seen to use. Polls are held, as
the service holds them: the SDK does not pause between them.
"""

from __future__ import annotations

import json
import queue
import threading
from collections import defaultdict
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

HELD = 0.5
"""Seconds that an empty poll is held."""


@dataclass
class Seen:
    """What the worker did, for tests to look at."""

    batch_sizes: list[int] = field(default_factory=list)
    most_in_flight: int = 0
    progress: dict[str, list[Any]] = field(default_factory=lambda: defaultdict(list))


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Says nothing: a worker that is killed leaves broken connections."""


class JobApi:
    """A queue of jobs behind HTTP. `start` it, `submit` inputs, `wait` for what the worker
    posts.
    """

    def __init__(self) -> None:
        self.seen = Seen()
        self._queue: queue.Queue[dict[str, Any]] = queue.Queue()
        self._to_stop: queue.Queue[str] = queue.Queue()
        self._results: dict[str, dict[str, Any]] = {}
        self._in_flight: set[str] = set()
        self._changed = threading.Condition()
        self._count = 0
        api = self

        class Routes(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                api._get(self)

            def do_POST(self) -> None:
                api._post(self)

            def log_message(self, *_: object) -> None:
                pass

        self._server = _Server(("127.0.0.1", 0), Routes)

    def start(self) -> None:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def environment(self, home: str) -> dict[str, str]:
        """What tells the SDK that it is on the platform. HOME: it prefers a key in ~/.runpod to the
        one given here.
        """
        base = f"http://127.0.0.1:{self._server.server_address[1]}/v2/ep"
        return {
            "HOME": home,
            "RUNPOD_AI_API_KEY": "key-of-this-worker",
            "RUNPOD_ENDPOINT_ID": "ep",
            "RUNPOD_PING_INTERVAL": "1000",
            "RUNPOD_POD_ID": "worker-1",
            "RUNPOD_SKIP_AUTO_SYSTEM_CHECKS": "true",
            "RUNPOD_SKIP_GPU_CHECK": "true",
            "RUNPOD_WEBHOOK_GET_JOB": f"{base}/job-take/$ID?gpu=none",
            "RUNPOD_WEBHOOK_PING": f"{base}/ping/$RUNPOD_POD_ID",
            "RUNPOD_WEBHOOK_POST_OUTPUT": f"{base}/job-done/$RUNPOD_POD_ID/$ID?gpu=none",
            "RUNPOD_WEBHOOK_POST_STREAM": f"{base}/job-stream/$RUNPOD_POD_ID/$ID?gpu=none",
        }

    def submit(self, given: object) -> str:
        """Queues a job with `given` as its input; returns the job's id."""
        with self._changed:
            self._count += 1
            job = f"job-{self._count}"
        self._queue.put({"id": job, "input": given})
        return job

    def cancel(self, job: str) -> None:
        self._to_stop.put(job)

    def wait(self, job: str, timeout: float = 60) -> dict[str, Any]:
        """What the worker posted for `job`: a mapping with `output` or `error`. Raises
        TimeoutError.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: job in self._results, timeout):
                raise TimeoutError(f"{job} has no result after {timeout} s")
            return self._results[job]

    def run(self, given: object, timeout: float = 60) -> dict[str, Any]:
        return self.wait(self.submit(given), timeout)

    def wait_until_taken(self, job: str, timeout: float = 60) -> None:
        with self._changed:
            taken = self._changed.wait_for(
                lambda: job in self._in_flight or job in self._results,
                timeout,
            )
        assert taken

    def _get(self, request: BaseHTTPRequestHandler) -> None:
        url = urlsplit(request.path)
        route = url.path.split("/")[3]
        if route == "job-take":
            jobs = self._take(1)
            _reply(request, jobs[0] if jobs else None)
        elif route == "job-take-batch":
            size = int(parse_qs(url.query)["batch_size"][0])
            self.seen.batch_sizes.append(size)
            _reply(request, self._take(size) or None)
        elif route == "job-stop":
            _reply(request, self._take_stop())
        else:
            _reply(request, {})

    def _take(self, size: int) -> list[dict[str, Any]]:
        jobs = []
        try:
            jobs.append(self._queue.get(timeout=HELD))
            while len(jobs) < size:
                jobs.append(self._queue.get_nowait())
        except queue.Empty:
            pass
        with self._changed:
            self._in_flight.update(job["id"] for job in jobs)
            self.seen.most_in_flight = max(self.seen.most_in_flight, len(self._in_flight))
            self._changed.notify_all()
        return jobs

    def _take_stop(self) -> dict[str, Any] | None:
        try:
            return {"jobsToStop": [self._to_stop.get(timeout=HELD)]}
        except queue.Empty:
            return None

    def _post(self, request: BaseHTTPRequestHandler) -> None:
        route, _, job = urlsplit(request.path).path.split("/")[3:6]
        body = json.loads(request.rfile.read(int(request.headers["Content-Length"])))
        with self._changed:
            if body.get("status") == "IN_PROGRESS":
                self.seen.progress[job].append(body["output"])
            elif route == "job-done":
                self._results[job] = body
                self._in_flight.discard(job)
            self._changed.notify_all()
        _reply(request, {})


def _reply(request: BaseHTTPRequestHandler, answer: object) -> None:
    body = b"" if answer is None else json.dumps(answer).encode()
    request.send_response(204 if answer is None else 200)
    request.send_header("Content-Type", "application/json")
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    request.wfile.write(body)
