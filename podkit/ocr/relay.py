"""Stands between the olmOCR toolkit and the pod, on this machine's loopback.

The toolkit gets a key of the relay's own, so that the pod's key stays in this process. It asks for
whole answers, which the provider's proxy cuts when they take 100 seconds to begin; the relay asks
for streams and joins them. It keeps each good answer on disk, so that no page is asked for twice
when a run is started again. And it has the patience that the toolkit lacks, which takes every
answer of a pod in trouble for an attempt at the page. How many pages the pod is asked for at once
follows how soon it answers. It must never listen on another address, nor hand the pod's key on.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import shutil
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from podkit.events import read_events
from podkit.ocr.documents import put
from podkit.ocr.pace import Pace
from podkit.pods.access import Access
from podkit.pods.pod_http import post

TROUBLE_SECONDS = 240.0
"""After so long without a sensible answer the API is asked for the pod.

Starting vLLM again in a pod takes about 2 minutes.
"""
SILENT_SECONDS = 1200.0
"""A pod that is there, and answers nothing sensible for so long, is given up."""
RETRY_SECONDS = 5.0
TIMEOUT = (10.0, 300.0)
"""Seconds to connect, and between two pieces of an answer, which come all along once the model has
begun.
"""
NOT_THE_PAGE = frozenset({401, 403, 404, 408, 429, 502, 503, 504, *range(520, 531)})
"""Statuses that say something of the pod or its proxy, and nothing of the page; vLLM's own 500 is
not one of them.
"""
CONNECTIONS = 200
SHUT_SECONDS = 0.05
GOOD = re.compile(
    r"---\s*\nprimary_language:.*\nis_rotation_valid: *([Tt]rue)?.*\n"
    r"rotation_correction: *(?:0|90|180|270)\s*\nis_table:.*\nis_diagram:.*\n---"
)
"""The head of an answer that the toolkit can read (olmocr 0.4.27); the group matches if the page
stands upright.
"""


class InTrouble(Exception):
    """The pod, or its proxy, does not do what it should."""


class Relay(ThreadingHTTPServer):
    """Answers as soon as it is made.

    `url`, `key` and `model` are for its only client; `read` has an entry for each page read;
    `failure` says why the run must end. Good answers are kept in `folder`.
    """

    daemon_threads = True
    request_queue_size = CONNECTIONS

    def __init__(
        self,
        session: requests.Session,
        pod: Access,
        folder: Path,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
        is_gone: Callable[[], bool],
        pace: Pace,
    ) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(pool_maxsize=CONNECTIONS))
        folder.mkdir(exist_ok=True, mode=0o700)
        self._session = session
        self._pod = pod
        self._folder = folder
        self._clock = clock
        self._sleep = sleep
        self._is_gone = is_gone
        self._pace = pace
        self._good_at = clock()
        self._asked_at = clock()
        self._asking = threading.Lock()
        self.url = f"http://127.0.0.1:{self.server_port}/v1"
        self.model = pod.model
        self.key = secrets.token_hex(32)  # never with a dash in front, as an option has
        self.read: list[str] = []
        self.failure = ""
        threading.Thread(target=self.serve_forever, args=[SHUT_SECONDS], daemon=True).start()

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    def handle_error(self, *_: object) -> None:
        """Called for a defect, which the toolkit would take for a broken connection, and try for
        hours.

        A connection that really breaks is none: any program of this machine may do that.
        """
        if not isinstance(error := sys.exc_info()[1], OSError):
            self.failure = f"the relay failed ({type(error).__name__})"

    def completion(self, body: bytes) -> tuple[int, bytes]:
        """Status and answer to the toolkit's request for a page: what was kept of it, else the
        pod's.
        """
        kept = self._folder / hashlib.sha256(body).hexdigest()
        if kept.exists():
            status = 200
            answer = json.loads(kept.read_bytes())
        else:
            question = {
                **json.loads(body),
                "stream": True,
                "stream_options": {"include_usage": True},
            }
            status, answer = self._asked(question)
        data = json.dumps(answer).encode()
        said = answer["choices"][0] if status == 200 else {}
        if said.get("finish_reason") == "stop" and (good := GOOD.match(said["message"]["content"])):
            put(kept, data, 0o600)
            self.read += (
                [kept.name] if good[1] else []
            )  # else the toolkit turns the page and asks again
        return status, data

    def forget(self) -> None:
        """Drop the answers that were kept: nothing needs them any more."""
        shutil.rmtree(self._folder)

    def _asked(self, question: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """The pod's status and answer, asked again and again while it is in trouble.

        503 once it is given up.
        """
        began = self._clock()
        while not self.failure:
            with self._pace.turn() as asked_at:
                try:
                    return self._answer_to(question, asked_at)
                except InTrouble as error:
                    self._pace.see_trouble(asked_at)
                    trouble = str(error)
            self._judge(max(began, self._good_at), trouble)
            if not self.failure:
                self._sleep(RETRY_SECONDS)
        return 503, {"error": self.failure}

    def _answer_to(
        self,
        question: dict[str, Any],
        asked_at: float,
    ) -> tuple[int, dict[str, Any]]:
        """The pod's status and answer. Raises InTrouble for what says nothing of the page."""

        def begins() -> None:
            self._good_at = self._clock()
            self._pace.see_begin(asked_at)

        url = f"{self._pod.api_url}/chat/completions"
        try:
            with post(
                self._session,
                url,
                question,
                self._pod.key,
                TIMEOUT,
                stream=True,
            ) as response:
                if response.status_code in NOT_THE_PAGE:
                    raise InTrouble(f"it answers {response.status_code}")
                return joined(response, begins)
        except (requests.exceptions.ChunkedEncodingError, ValueError, LookupError):
            return 502, {"error": "the answer broke off"}
        except requests.RequestException as error:
            raise InTrouble(f"there is no connection ({type(error).__name__})") from None

    def _judge(self, since: float, trouble: str) -> None:
        """Give a pod up that has been in trouble `since`: one that is gone, or silent for too long.

        Only the API knows whether it is gone; it is asked once in TROUBLE_SECONDS.
        """
        with self._asking:
            now = self._clock()
            if now - max(since, self._asked_at) <= TROUBLE_SECONDS or self.failure:
                return
            self._asked_at = now
            if self._is_gone():
                self.failure = f"the pod is gone: {trouble}"
            elif now - since > SILENT_SECONDS:
                minutes = round((now - since) / 60)
                self.failure = f"the pod is there, but in trouble for {minutes} minutes: {trouble}"


def joined(
    response: requests.Response,
    begins: Callable[[], None],
) -> tuple[int, dict[str, Any]]:
    """Status and answer to a request for a stream, its events joined into what answers one for no
    stream. `begins` is called at the first.
    """
    if response.status_code != 200:
        begins()
        return response.status_code, {"error": response.text}
    whole: dict[str, Any] = {"object": "chat.completion", "usage": {}}
    text = ""
    finish = None
    for number, told in enumerate(read_events(response.iter_content(chunk_size=None))):
        if number == 0:
            begins()
        if told.data == "[DONE]":
            break
        event = json.loads(told.data)
        if "error" in event:
            return 500, event
        whole |= {
            name: event[name] for name in ("id", "created", "model", "usage") if event.get(name)
        }
        for choice in event["choices"]:
            text += choice["delta"].get("content") or ""
            finish = choice["finish_reason"] or finish
    else:
        raise ValueError("the stream broke off")
    message = {"role": "assistant", "content": text}
    return 200, {**whole, "choices": [{"index": 0, "message": message, "finish_reason": finish}]}


class _Handler(BaseHTTPRequestHandler):
    server: Relay

    def do_GET(self) -> None:
        self._answer(200, b'{"data": []}')

    def do_POST(self) -> None:
        given = self.headers.get("Authorization", "").encode("utf-8", "replace")
        if secrets.compare_digest(given, f"Bearer {self.server.key}".encode()):
            self._answer(
                *self.server.completion(self.rfile.read(int(self.headers["Content-Length"])))
            )
        else:
            self._answer(401, b"")

    def _answer(self, status: int, body: bytes) -> None:
        with suppress(OSError):  # the toolkit was ended
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Says nothing: the toolkit tells what fails."""
