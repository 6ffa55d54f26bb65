"""A translation worker without a model, under the official SDK's loop: quick, slow or failing."""

import asyncio
from typing import Any

import runpod


async def handle(job: dict[str, Any]) -> Any:
    """The text in capitals, in the form of services/translation."""
    asked = job["input"]
    if "slowly" in asked["text"]:
        await asyncio.sleep(5)
    if "badly" in asked["text"]:
        raise ValueError(asked["text"])
    codes = {"src_lang": asked["src_lang"], "tgt_lang": asked["tgt_lang"]}
    return {"translations": [asked["text"].upper()], "sentences": 1, **codes}


if __name__ == "__main__":
    runpod.serverless.start({"handler": handle, "concurrency_modifier": lambda _: 4})
