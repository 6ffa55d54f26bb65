"""Speech for tests. No model and no network."""

from __future__ import annotations

import io
import subprocess
import sys
import wave
from pathlib import Path


def speak(text: str, voice: str = "fr", before: float = 0.0, after: float = 0.0) -> bytes:
    """A wav file of `text`, with `before` and `after` seconds of silence around it."""
    script = Path(__file__).with_name("speak_script.py")
    words = [sys.executable, str(script), voice, str(before), str(after)]
    return subprocess.run(words, input=text.encode(), stdout=subprocess.PIPE, check=True).stdout


def seconds_of(wav: bytes) -> float:
    with wave.open(io.BytesIO(wav)) as reader:
        return float(reader.getnframes() / reader.getframerate())
