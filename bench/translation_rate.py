"""Measures the translation worker beside the usual first handler: transformers, one job at a time.

Both answer the same jobs with the same weights in one run, through the real SDK and a job API on
this machine. Usage:
    python bench/translation_rate.py SNAPSHOT MODEL WORKER_PYTHON TORCH_PYTHON [JOBS]

SNAPSHOT: a checkpoint as transformers reads it. MODEL: its conversion. The two Pythons have the
packages of services/translation/requirements.txt, and torch, transformers and runpod.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.services.workers import SERVICES, Worker, running_process  # noqa: E402

NAIVE = ROOT / "bench/naive_translation_handler.py"
TEXT = "Le marché du village ouvre à huit heures. Les enfants vont à l'école avec leurs livres."
SENTENCES = 2


def measure(worker: Worker, jobs: int) -> dict[str, float]:
    """Jobs per second of wall time, sentences per second of CPU time, once the worker is warm."""
    given = {"text": TEXT, "src_lang": "fra_Latn", "tgt_lang": "mos_Latn", "beam_size": 1}
    worker.api.run(given, timeout=600)
    process = psutil.Process(worker.process.pid)
    cpu = sum(process.cpu_times()[:2])
    started = time.monotonic()
    waiting = [worker.api.submit(given) for _ in range(jobs)]
    for job in waiting:
        assert "output" in worker.api.wait(job, timeout=600)
    seconds = time.monotonic() - started
    cpu = sum(process.cpu_times()[:2]) - cpu
    return {
        "jobs": jobs,
        "jobs_per_second": round(jobs / seconds, 2),
        "sentences_per_cpu_second": round(jobs * SENTENCES / cpu, 2),
    }


def main(snapshot: str, model: str, worker_python: str, torch_python: str, jobs: int) -> None:
    results = {}
    for name, python, handler, folder in (
        ("naive", torch_python, NAIVE, snapshot),
        ("podkit", worker_python, SERVICES / "translation/src/handler.py", model),
    ):
        with tempfile.TemporaryDirectory() as home:
            environment = {"MODEL_DIR": folder, "THREADS": "1", "OMP_NUM_THREADS": "1"}
            command = [python, str(handler)]
            with running_process(command, Path(home), **environment) as worker:
                results[name] = measure(worker, jobs)
    results["load"] = {"one_minute": os.getloadavg()[0]}
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main(*sys.argv[1:5], int(sys.argv[5]) if len(sys.argv) > 5 else 32)
