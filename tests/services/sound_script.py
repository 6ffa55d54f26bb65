"""Tells of a sound file what tests compare, as JSON: sound_script.py FILE. Runs in the worker's
venv.

Tones: the loudest frequency of each 50 ms that are not silent. Jump: the largest step between two
samples.
"""

from __future__ import annotations

import json
import sys

import numpy
import soundfile

STEP = 800


def jump_after_silence(samples: numpy.ndarray) -> float:
    """The largest step from the third of three silent samples to the next one."""
    quiet = numpy.abs(samples) < 1e-4
    silent = quiet[:-3] & quiet[1:-2] & quiet[2:-1]
    steps = numpy.abs(numpy.diff(samples[2:]))
    return float(steps[silent].max(initial=0.0))


def facts(path: str) -> dict[str, object]:
    samples, rate = soundfile.read(path, dtype="float32")
    tones = []
    for start in range(0, len(samples) - STEP + 1, STEP):
        part = samples[start : start + STEP]
        if numpy.abs(part).max() > 0.05:
            spectrum = numpy.abs(numpy.fft.rfft(part))
            tones.append(int(spectrum.argmax() * rate / STEP))
    ends = max(abs(float(samples[0])), abs(float(samples[-1])))
    jump = max(jump_after_silence(samples), jump_after_silence(samples[::-1]))
    return {
        "rate": rate,
        "seconds": len(samples) / rate,
        "tones": tones,
        "jump_at_silence": jump,
        "ends": ends,
        "loudest": float(numpy.abs(samples).max()),
        "format": soundfile.info(path).format,
    }


if __name__ == "__main__":
    print(json.dumps(facts(sys.argv[1])))
