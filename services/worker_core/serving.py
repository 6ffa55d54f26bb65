"""From a job to its answer, and into the provider's worker SDK.

The model is loaded in a thread while the SDK is imported: that import takes 1.5 to 3.8 s (runpod
1.12.0, measured), which hides the loading. Handlers are async: a handler that blocks can be neither
cancelled nor fetch another job.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
import traceback
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from worker_core.refusals import INTERNAL, Refusal

Job = dict[str, Any]


@dataclass(frozen=True)
class Answer:
    """The output of a job, and what may be said of it in the log: counts and durations, nothing of
    its content.
    """

    output: dict[str, object]
    counts: dict[str, float] = field(default_factory=dict)


Work = Callable[[Job], Awaitable[Answer]]


def log(**facts: object) -> None:
    """One JSON line on stdout."""
    print(json.dumps(facts), flush=True)


def frames_of(error: BaseException) -> list[str]:
    """Where `error` was raised. Its message is left out: it may hold a user's text."""
    frames = []
    for frame in traceback.extract_tb(error.__traceback__)[-5:]:
        frames.append(f"{os.path.basename(frame.filename)}:{frame.lineno} {frame.name}")
    return frames


async def answer_job(job: Job, work: Work) -> dict[str, object]:
    """What the handler returns for `job`: the output of `work`, or an error with a code. Never
    raises but when cancelled.
    """
    started = time.monotonic()
    facts: dict[str, object] = {"job": job.get("id"), "outcome": "done"}
    try:
        answer = await work(job)
        json.dumps(answer.output, allow_nan=False)  # what cannot be posted would hang the job
        output = answer.output
        facts.update(answer.counts)
    except asyncio.CancelledError:
        log(job=job.get("id"), outcome="cancelled")
        raise
    except Refusal as refusal:
        facts["outcome"] = refusal.code
        output = dict(refusal.as_output())
    except Exception as error:
        facts.update(outcome=INTERNAL, error=type(error).__name__, frames=frames_of(error))
        output = dict(Refusal(INTERNAL, f"the worker failed: {type(error).__name__}").as_output())
    facts["ms"] = round((time.monotonic() - started) * 1000)
    log(**facts)
    return output


def serve(load: Callable[[], Work], concurrency: int) -> None:
    """Loads the model, then takes up to `concurrency` jobs at once, forever. Exits with 1 if the
    model cannot be loaded.

    At the SDK's default of 1 a worker takes at most one job a second, however fast it is (runpod
    1.12.0, measured).
    """
    os.environ.setdefault("RUNPOD_LOG_LEVEL", "INFO")  # DEBUG, its default, prints every input
    if "runpod" in sys.modules:
        raise RuntimeError(
            "the SDK was imported before its log level was set: it would print inputs"
        )
    loading = ThreadPoolExecutor(max_workers=1).submit(load)
    import runpod

    try:
        work = loading.result()
    except Exception as error:
        log(outcome="model-not-loaded", error=type(error).__name__, message=str(error))
        sys.exit(1)

    async def handler(job: Job) -> dict[str, object]:
        return await answer_job(job, work)

    runpod.serverless.start(
        {"handler": handler, "concurrency_modifier": lambda _current: concurrency},
    )
