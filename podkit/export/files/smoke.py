"""Asks a gateway what a client asks of each model: to be listed, an answer, a stream and a picture.
Exit status 1 names what failed.

OPENAI_BASE_URL and OPENAI_API_KEY are the gateway's, MODELS the names to ask for. A model that is
asleep may take a quarter of an hour for its first answer.
"""

from __future__ import annotations

import base64
import os
import struct
import sys
import zlib
from functools import partial
from typing import Any

import openai

SECONDS = 1200
SIDE = 64


def white_png() -> str:
    """A white square as a data: URL."""
    rows = b"".join(b"\0" + b"\xff" * SIDE for _ in range(SIDE))
    picture = b"\x89PNG\r\n\x1a\n"
    header = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 0, 0, 0, 0)
    for kind, data in ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")):
        checksum = zlib.crc32(kind + data)
        picture += struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)
    return "data:image/png;base64," + base64.b64encode(picture).decode()


def ask(client: openai.OpenAI, model: str, content: Any) -> str:
    messages: Any = [{"role": "user", "content": content}]
    answer = client.chat.completions.create(model=model, messages=messages, max_tokens=16)
    return f"{answer.usage.completion_tokens if answer.usage else 0} tokens"


def check_list(client: openai.OpenAI, model: str) -> str:
    listed = sorted(one.id for one in client.models.list().data)
    if model not in listed:
        raise ValueError(f"it is not among {listed}")
    return "listed"


def check_answer(client: openai.OpenAI, model: str) -> str:
    return ask(client, model, "Say hello.")


def check_stream(client: openai.OpenAI, model: str) -> str:
    messages: Any = [{"role": "user", "content": "Count to three."}]
    pieces = 0
    with client.chat.completions.create(
        model=model,
        messages=messages,
        max_tokens=16,
        stream=True,
    ) as stream:
        for _ in stream:
            pieces += 1
    if pieces < 2:
        raise ValueError("the answer did not come in pieces")
    return f"{pieces} pieces"


def check_picture(client: openai.OpenAI, model: str) -> str:
    picture = {"type": "image_url", "image_url": {"url": white_png()}}
    return ask(client, model, [{"type": "text", "text": "What is on it?"}, picture])


def passes(name: str, check: partial[str]) -> bool:
    try:
        print(f"ok      {name}: {check()}", flush=True)
        return True
    except (openai.OpenAIError, ValueError) as error:
        print(f"FAILED  {name}: {error}", flush=True)
        return False


def main() -> int:
    client = openai.OpenAI(timeout=SECONDS, max_retries=0)
    failed = 0
    for model in os.environ["MODELS"].split():
        for check in (check_list, check_answer, check_stream, check_picture):
            name = f"{model} {check.__name__.removeprefix('check_')}"
            failed += not passes(name, partial(check, client, model))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
