"""What answers the toolkit's request for a page: what was kept of it, else a pod.

The toolkit asks for whole answers, which the provider's proxy cuts when they take 100 seconds to
begin; here a stream is asked for and joined. Each good answer is kept on disk, so that no page is
asked for twice when a run is started again. And here is the patience that the toolkit lacks, which
takes every answer of a pod in trouble for an attempt at the page. It must never hand a pod's key
on, nor lose a page for what befell a pod.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from podkit.events import read_events
from podkit.ocr.backends import RETRY_SECONDS, Backend, Backends
from podkit.ocr.documents import put
from podkit.pods.pod_http import post

TIMEOUT = (10.0, 300.0)
"""Seconds to connect, and between two pieces of an answer, which come all along once the model has
begun.
"""
NOT_THE_PAGE = frozenset({401, 403, 404, 408, 429, 502, 503, 504, *range(520, 531)})
"""Statuses that say something of the pod or its proxy, and nothing of the page; vLLM's own 500 is
not one of them.
"""
MOST_BREAKS = 3
"""An answer that broke off so often may do so for the page's sake: the toolkit counts it then."""
CONNECTIONS = 200
GOOD = re.compile(
    r"---\s*\nprimary_language:.*\nis_rotation_valid: *([Tt]rue)?.*\n"
    r"rotation_correction: *(?:0|90|180|270)\s*\nis_table:.*\nis_diagram:.*\n---"
)
"""The head of an answer that the toolkit can read (olmocr 0.4.27); the group matches if the page
stands upright.
"""


class InTrouble(Exception):
    """The pod, or its proxy, does not do what it should."""


class BrokeOff(Exception):
    """The answer ended before it was whole."""


class PageReader:
    """Gives answers, to many threads at once.

    `read` has an entry for each page read; `failure` says why the run must end. Good answers are
    kept in `folder`.
    """

    def __init__(
        self,
        session: requests.Session,
        backends: Backends,
        folder: Path,
        sleep: Callable[[float], None],
    ) -> None:
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(pool_maxsize=CONNECTIONS))
        folder.mkdir(exist_ok=True, mode=0o700)
        self._session = session
        self._backends = backends
        self._folder = folder
        self._sleep = sleep
        self._defect = ""
        self.read: list[str] = []

    @property
    def failure(self) -> str:
        return self._defect or self._backends.failure

    def fail(self, why: str) -> None:
        """End the run: podkit itself has a defect."""
        self._defect = why

    def completion(self, body: bytes) -> tuple[int, bytes]:
        """Status and answer to the toolkit's request for a page: what was kept of it, else a
        pod's. 503 once no pod is left.
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
            status, answer = self._ask(question)
        data = json.dumps(answer).encode()
        said = answer["choices"][0] if status == 200 else {}
        good = None
        if said.get("finish_reason") == "stop":
            good = GOOD.match(said["message"]["content"])
        if good:
            put(kept, data, 0o600)
            if good[1]:  # else the toolkit turns the page and asks again
                self.read.append(kept.name)
        return status, data

    def forget(self) -> None:
        """Drop the answers that were kept: nothing needs them any more."""
        shutil.rmtree(self._folder)

    def _ask(self, question: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """A pod's status and answer, asked again and again while pods are in trouble."""
        breaks = 0
        while not self.failure:
            with self._backends.turn() as (backend, asked_at):
                if backend:
                    try:
                        return self._answer_of(backend, question, asked_at)
                    except BrokeOff:
                        breaks += 1
                    except InTrouble as error:
                        self._backends.see_trouble(backend, asked_at, str(error))
            if breaks == MOST_BREAKS:
                return 502, {"error": "the answer broke off"}
            if not backend and not self.failure:
                self._sleep(RETRY_SECONDS)
        return 503, {"error": self.failure}

    def _answer_of(
        self,
        backend: Backend,
        question: dict[str, Any],
        asked_at: float,
    ) -> tuple[int, dict[str, Any]]:
        """The pod's status and answer. Raises InTrouble for what says nothing of the page, and
        BrokeOff.
        """
        url = f"{backend.where.api_url}/chat/completions"
        try:
            with post(
                self._session,
                url,
                question,
                backend.where.key,
                TIMEOUT,
                stream=True,
            ) as response:
                if response.status_code in NOT_THE_PAGE:
                    raise InTrouble(f"it answers {response.status_code}")
                answer = join_events(response, lambda: self._backends.see_begin(backend, asked_at))
        except (requests.exceptions.ChunkedEncodingError, ValueError, LookupError):
            raise BrokeOff from None
        except requests.RequestException as error:
            raise InTrouble(f"there is no connection ({type(error).__name__})") from None
        if answer[0] == 200:
            backend.pages += 1
        return answer


def join_events(
    response: requests.Response,
    begins: Callable[[], None],
) -> tuple[int, dict[str, Any]]:
    """Status and answer to a request for a stream, its events joined into what answers one for no
    stream. `begins` is called at the first. Raises ValueError or LookupError for a broken one.
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
        for name in ("id", "created", "model", "usage"):
            if event.get(name):
                whole[name] = event[name]
        for choice in event["choices"]:
            text += choice["delta"].get("content") or ""
            finish = choice["finish_reason"] or finish
    else:
        raise ValueError("the stream broke off")
    message = {"role": "assistant", "content": text}
    return 200, {**whole, "choices": [{"index": 0, "message": message, "finish_reason": finish}]}
