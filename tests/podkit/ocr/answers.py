"""A pod that tests play: where it is, what it answers, and a clock that only waiting moves."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests

from podkit.ocr.backends import Backends
from podkit.ocr.pace import Pace
from podkit.ocr.page_reader import PageReader
from podkit.ocr.relay import Relay
from podkit.pods.access import Access
from podkit.secret import Secret
from tests.podkit.samples import pod

POD = "https://pod.example/v1"
URL = f"{POD}/chat/completions"
POD_KEY = "pk-the-pods-key"
HEAD = (
    "---\nprimary_language: fr\nis_rotation_valid: True\nrotation_correction: 0\nis_table: False\n"
)
HEAD += "is_diagram: False\n---\n"
ACCESS = Access(POD, "", "olmocr", Secret(POD_KEY), "", Secret(""))


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def relay_to(
    where: Access,
    session: requests.Session,
    folder: Path,
    clock: Clock,
    is_gone: Callable[[], bool],
    most: int = 4,
) -> Relay:
    """A relay to one pod."""
    backends = Backends(clock, threading.Condition())
    backends.add(pod(), where, Pace(most, clock), is_gone)
    return Relay(PageReader(session, backends, folder, clock.sleep), where.model)


def stream(*pieces: str, finish: str = "stop") -> str:
    """An answer as vLLM streams it: a role, pieces of text, a reason to finish, the usage."""
    deltas: list[dict[str, str]] = [
        {"role": "assistant", "content": ""},
        *({"content": piece} for piece in pieces),
        {},
    ]
    head = {"id": "chatcmpl-1", "created": 1, "model": "olmocr", "object": "chat.completion.chunk"}
    events: list[dict[str, Any]] = [
        {
            **head,
            "choices": [{"index": 0, "delta": delta, "finish_reason": None if delta else finish}],
        }
        for delta in deltas
    ]
    events.append(
        {
            **head,
            "choices": [],
            "usage": {"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5},
        }
    )
    return "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"
