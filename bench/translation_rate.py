"""Measures the translation worker beside the usual first handler: transformers, one job at a time.

Both answer the same jobs with the same weights in one run, through the real SDK and a job API on
this machine, with one thread each: once with a tiny model that was trained, once with random
weights of full size. Usage:
    python bench/translation_rate.py WORKER_PYTHON TORCH_PYTHON [tiny|full]

The two Pythons have the packages of services/translation/requirements.txt; and those of its
requirements-convert.in and runpod. The full size takes 4 GB of disk and memory, and ten minutes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.services.workers import SERVICES, Worker, running_process  # noqa: E402

NAIVE = ROOT / "bench/naive_translation_handler.py"
CAPPED = ROOT / "bench/capped_translation_handler.py"
WORKER = SERVICES / "translation/src/handler.py"
TEXT = "Le marché du village ouvre à huit heures. Les enfants vont à l'école avec leurs livres."
SENTENCES = 2
MOST_TOKENS = 32
"""Of a sentence's output, about what the sentences of TEXT have: random weights never end one."""
START_TOKENS = 2
"""What transformers counts beside them: the start of the decoder, and the language."""


@dataclass(frozen=True)
class Size:
    """A model to measure with: how its checkpoint is written, how many jobs, which worker."""

    name: str
    write: list[str]
    jobs: int
    worker: Path


SIZES = (
    Size("tiny", [str(ROOT / "tests/services/checkpoint_script.py"), "write"], 32, WORKER),
    Size("full", [str(ROOT / "bench/full_size_checkpoint.py")], 16, CAPPED),
)


def measure(worker: Worker, jobs: int) -> dict[str, float]:
    """Jobs per second of wall time, sentences per second of CPU time, once the worker is warm."""
    given = {"text": TEXT, "src_lang": "fra_Latn", "tgt_lang": "mos_Latn", "beam_size": 1}
    worker.api.run(given, timeout=600)
    process = psutil.Process(worker.process.pid)
    cpu = sum(process.cpu_times()[:2])
    started = time.monotonic()
    waiting = [worker.api.submit(given) for _ in range(jobs)]
    for job in waiting:
        assert "output" in worker.api.wait(job, timeout=1800)
    seconds = time.monotonic() - started
    cpu = sum(process.cpu_times()[:2]) - cpu
    return {
        "jobs": jobs,
        "jobs_per_second": round(jobs / seconds, 3),
        "sentences_per_cpu_second": round(jobs * SENTENCES / cpu, 2),
    }


def compare(size: Size, worker_python: str, torch_python: str, folder: Path) -> dict[str, object]:
    snapshot = str(folder / "snapshot")
    model = str(folder / "model")
    convert = str(SERVICES / "translation/convert.py")
    subprocess.run([torch_python, *size.write, snapshot], check=True, stdout=sys.stderr)
    subprocess.run([torch_python, convert, model, snapshot], check=True, stdout=sys.stderr)
    limits = {
        "MAX_LENGTH": str(START_TOKENS + SENTENCES * MOST_TOKENS),
        "MOST_TOKENS": str(MOST_TOKENS),
        "OMP_NUM_THREADS": "1",
        "THREADS": "1",
    }
    found: dict[str, object] = {}
    for name, python, handler, weights in (
        ("naive", torch_python, NAIVE, snapshot),
        ("podkit", worker_python, size.worker, model),
    ):
        with tempfile.TemporaryDirectory() as home:
            command = [python, str(handler)]
            with running_process(command, Path(home), MODEL_DIR=weights, **limits) as worker:
                found[name] = measure(worker, size.jobs)
    found["load_average"] = os.getloadavg()[0]
    return found


def main(worker_python: str, torch_python: str, only: str) -> None:
    for size in SIZES:
        if only in ("", size.name):
            with tempfile.TemporaryDirectory() as folder:
                found = compare(size, worker_python, torch_python, Path(folder))
            print(json.dumps({size.name: found}, indent=2), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else "")
