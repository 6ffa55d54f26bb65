"""The provider's job API on a real socket, as docs of 2026-08 describe it: run, status, cancel, and
the list of endpoints.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import requests


@dataclass
class JobApi:
    """What it knows; a test changes `answers`, which say what a job's status is by its input."""

    key: str = "job-key"
    endpoints: dict[str, str] = field(default_factory=lambda: {"translation": "ep1"})
    inputs: dict[str, Any] = field(default_factory=dict)
    webhooks: dict[str, str] = field(default_factory=dict)
    fetched: list[bytes] = field(default_factory=list)
    """The audio that was fetched by its address, as a worker does."""
    gateway: str = ""
    """Where a name of the gateway's public URL leads to here."""
    polls: dict[str, int] = field(default_factory=dict)
    cancelled: set[str] = field(default_factory=set)
    refusal: tuple[int, str] | None = None
    polls_needed: int = 1
    failure: str = ""

    def start(self) -> JobApi:
        api = self

        class Answers(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                self.reply(*api.get(self.path, self.headers.get("Authorization", "")))

            def do_POST(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                body = json.loads(self.rfile.read(length) or b"{}")
                self.reply(*api.post(self.path, self.headers.get("Authorization", ""), body))

            def reply(self, status: int, answer: Any) -> None:
                text = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        return self

    def settings(self) -> dict[str, str]:
        """What has a gateway speak to this API."""
        return {"JOB_KEY": self.key, "GATEWAY_JOBS_URL": self.url, "GATEWAY_API_URL": self.url}

    def get(self, path: str, authorization: str) -> tuple[int, Any]:
        if authorization != f"Bearer {self.key}":
            return 401, {}
        if path == "/serverless":
            listed = [{"id": known, "name": name} for name, known in self.endpoints.items()]
            return 200, {"endpoints": listed}
        _, endpoint, _, job_id = path.split("/")
        if endpoint not in self.endpoints.values() or job_id not in self.inputs:
            return 404, {}
        return 200, {"id": job_id, **self.state(job_id)}

    def state(self, job_id: str) -> dict[str, Any]:
        if job_id in self.cancelled:
            return {"status": "CANCELLED"}
        self.polls[job_id] = self.polls.get(job_id, 0) + 1
        if self.polls[job_id] < self.polls_needed:
            return {"status": "IN_PROGRESS"}
        if self.failure:
            return {"status": "FAILED", "error": self.failure}
        return {"status": "COMPLETED", "output": self.work(self.inputs[job_id])}

    def work(self, job_input: dict[str, Any]) -> dict[str, Any]:
        if "audio_base64" in job_input or "audio_url" in job_input:
            return self.listen(job_input)
        if "format" in job_input:
            return {"audio_base64": "UklGRg==", "format": job_input["format"], "duration": 2.5}
        texts = job_input["text"]
        count = 1 if isinstance(texts, str) else len(texts)
        codes = {"src_lang": job_input["src_lang"], "tgt_lang": job_input["tgt_lang"]}
        return {"translations": ["Ne y windiga"] * count, "sentences": count, **codes}

    def listen(self, job_input: dict[str, Any]) -> dict[str, Any]:
        path = urlsplit(job_input.get("audio_url", "")).path
        if path.startswith("/hooks/"):
            answer = requests.get(self.gateway + path, timeout=10)
            answer.raise_for_status()
            self.fetched.append(answer.content)
        heard = {"text": "bonjour", "segments": [], "language": "fr", "duration": 12.5}
        kind = job_input.get("subtitles", "none")
        return heard if kind == "none" else {**heard, kind: f"{kind} of bonjour"}

    def post(self, path: str, authorization: str, body: Any) -> tuple[int, Any]:
        if authorization != f"Bearer {self.key}":
            return 401, {}
        if self.refusal:
            return self.refusal[0], {"error": self.refusal[1]}
        words = path.split("/")
        if words[1] not in self.endpoints.values():
            return 404, {}
        if words[2] == "cancel":
            self.cancelled.add(words[3])
            return 200, {"status": "CANCELLED"}
        job_id = f"remote-{len(self.inputs)}"
        self.inputs[job_id] = body["input"]
        self.webhooks[job_id] = body.get("webhook", "")
        return 200, {"id": job_id, "status": "IN_QUEUE"}
