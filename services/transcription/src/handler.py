"""The entry of the transcription worker: python src/handler.py."""

from __future__ import annotations

import sys
from pathlib import Path

SERVICE = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(SERVICE.parent))

from transcription_worker import load_transcription  # noqa: E402
from worker_core.serving import Work, serve  # noqa: E402
from worker_core.settings import read_settings  # noqa: E402

JOBS_AT_ONCE = 4
"""One is transcribed while others are fetched and decoded."""


def load() -> Work:
    return load_transcription(read_settings(SERVICE)).answer


if __name__ == "__main__":
    serve(load, JOBS_AT_ONCE)
