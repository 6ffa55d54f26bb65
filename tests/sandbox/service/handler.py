"""A service for the sandbox's workers: does what its input says, under the official SDK's loop."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import runpod


async def handle(job: dict[str, Any]) -> Any:
    """The output of one job."""
    wish = job["input"]
    if "sleep" in wish:
        await asyncio.sleep(wish["sleep"])
    if wish.get("block"):
        time.sleep(wish["block"])
    if wish.get("die"):
        os._exit(3)
    if wish.get("raise"):
        raise ValueError(wish["raise"])
    if wish.get("error"):
        return {"error": wish["error"]}
    if wish.get("progress"):
        runpod.serverless.progress_update(job, wish["progress"])
    while "until" in wish and not Path(wish["until"]).exists():
        await asyncio.sleep(0.05)
    return {"echo": wish, "pid": os.getpid(), "home": os.environ["HOME"]}


async def parts(job: dict[str, Any]) -> AsyncIterator[Any]:
    """Three parts, one after another."""
    for number in range(3):
        await asyncio.sleep(0.1)
        yield {"part": number, "of": job["id"]}


if __name__ == "__main__":
    streams = os.environ.get("STREAMS") == "1"
    runpod.serverless.start(
        {
            "handler": parts if streams else handle,
            "concurrency_modifier": lambda _: int(os.environ.get("AT_ONCE", "16")),
            "return_aggregate_stream": True,
        },
    )
