"""A backend that costs next to nothing: a plain answer, or 64 chunks at once, each an HTTP chunk
of its own, as an engine sends them.

    python bench/gateway_backend.py PORT
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import uvloop

ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "x" * 480}}],
    "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
}
CHUNK = b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n'
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: "
LENGTH = b"content-length: "


def make_plain() -> bytes:
    body = json.dumps(ANSWER).encode()
    return HEAD + b"application/json\r\n" + LENGTH + str(len(body)).encode() + b"\r\n\r\n" + body


def make_stream() -> bytes:
    pieces = [HEAD, b"text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"]
    for event in [CHUNK] * 64 + [b"data: [DONE]\n\n"]:
        pieces.append(f"{len(event):x}\r\n".encode() + event + b"\r\n")
    return b"".join([*pieces, b"0\r\n\r\n"])


PLAIN = make_plain()
STREAM = make_stream()


class Backend(asyncio.Protocol):
    """One connection; a body that says `"stream": true` is answered with a stream."""

    def __init__(self) -> None:
        self._held = b""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._held += data
        while b"\r\n\r\n" in self._held:
            head, _, rest = self._held.partition(b"\r\n\r\n")
            _, found, after = head.lower().partition(LENGTH)
            length = int(after.split(b"\r\n", 1)[0]) if found else 0
            if len(rest) < length:
                return
            self._held = rest[length:]
            streamed = b'"stream": true' in rest[:length]
            self._transport.write(STREAM if streamed else PLAIN)


async def serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Backend, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
