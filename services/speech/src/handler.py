"""The entry of the speech worker: python src/handler.py."""

from __future__ import annotations

import sys
from pathlib import Path

SERVICE = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(SERVICE.parent))

from speech_worker import load_speech  # noqa: E402
from worker_core.serving import Work, serve  # noqa: E402
from worker_core.settings import read_settings  # noqa: E402

JOBS_AT_ONCE = 4
"""One is spoken while others are read and encoded."""


def load() -> Work:
    return load_speech(read_settings(SERVICE)).answer


if __name__ == "__main__":
    serve(load, JOBS_AT_ONCE)
