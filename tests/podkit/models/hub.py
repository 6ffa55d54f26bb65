"""A Hugging Face Hub on this machine: checkpoints whose weights are told by their headers and never
written down.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import unquote

Shapes = dict[str, tuple[str, tuple[int, ...]]]
LLAMA_ID = "org/llama-3-8b"
LLAMA: dict[str, Any] = {
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "hidden_size": 4096,
    "max_position_embeddings": 8192,
}
"""The architecture of Llama-3-8B, as far as it counts here."""
BYTES = {"BF16": 2, "F8_E4M3": 1, "F32": 4}


class File:
    """A file of `size` bytes that begins with `start` and goes on with zeros."""

    def __init__(self, start: bytes, size: int | None = None) -> None:
        self.start = start
        self.size = size or len(start)

    def read(self, first: int, last: int) -> bytes:
        stop = min(last + 1, self.size)
        return self.start[first:stop].ljust(max(stop - first, 0), b"\0")


def weights(tensors: Shapes) -> File:
    """A safetensors file: the length of its header, the header,
    and as many bytes as that speaks of.
    """
    at = 0
    header = {}
    for name, (dtype, shape) in tensors.items():
        size = BYTES[dtype]
        for length in shape:
            size *= length
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    return File(len(text).to_bytes(8, "little") + text, 8 + len(text) + at)


def checkpoint(config: Any, shards: Iterable[Shapes]) -> dict[str, File]:
    """The files of a checkpoint: one of weights, or several and their index."""
    files = {"config.json": File(json.dumps(config).encode())}
    shards = list(shards)
    if len(shards) == 1:
        return {**files, "model.safetensors": weights(shards[0])}
    names = [
        f"model-{number:05}-of-{len(shards):05}.safetensors" for number, _ in enumerate(shards, 1)
    ]
    places = {}
    for name, shard in zip(names, shards, strict=True):
        places.update(dict.fromkeys(shard, name))
        files[name] = weights(shard)
    files["model.safetensors.index.json"] = File(json.dumps({"weight_map": places}).encode())
    return files


EMPTY = File(b"{}")


class Hub(ThreadingHTTPServer):
    """Serves `repos` by id, to those who bring what `gated` says, and `pages` by path.
    Notes what it is asked.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.repos: dict[str, dict[str, File]] = {}
        self.pages: dict[str, Any] = {}
        self.gated: dict[str, str] = {}
        self.asked: list[tuple[str, str, str]] = []
        self.tokens: set[str | None] = set()
        self.sent = 0
        Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()


class _Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        path, _, _ = unquote(self.path).partition("?")
        self.server.asked.append((self.command, path, self.headers.get("Range", "")))
        if path in self.server.pages:
            self.answer(200, File(json.dumps(self.server.pages[path]).encode()))
            return
        self.server.tokens.add(self.headers.get("Authorization"))
        found = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        repo, revision, name = found.groups() if found else ("", "", "")
        if repo not in self.server.repos:
            self.answer(404, why="RepoNotFound")
        elif self.headers.get("Authorization") != (token := self.server.gated.get(repo)) and token:
            self.answer(403, why="GatedRepo")
        elif revision not in ("main", "v2"):
            self.answer(404, why="RevisionNotFound")
        elif file := self.server.repos[repo].get(name):
            self.answer(200, file)
        else:
            self.answer(404, why="EntryNotFound")

    do_GET = do_HEAD

    def answer(self, status: int, file: File = EMPTY, why: str = "") -> None:
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        body = file.read(int(wanted[1]), int(wanted[2])) if wanted else b""
        size = len(body) if wanted else file.size
        self.send_response(206 if wanted and status == 200 else status)
        for name, value in {
            "X-Error-Code": why,
            "Content-Length": str(size),
            "X-Repo-Commit": "0" * 40,
        }.items():
            if value:
                self.send_header(name, value)
        self.send_header("ETag", f'"{file.size:040}"')
        self.end_headers()
        if self.command == "GET":
            body = body or file.read(0, file.size)
            self.server.sent += len(body)
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


def llama_tensors() -> Iterator[tuple[str, tuple[int, ...]]]:
    """Name and shape of each tensor of Llama-3-8B."""
    yield from (("embed", (128_256, 4096)), ("head", (128_256, 4096)), ("norm", (4096,)))
    for layer in range(32):
        for name, rows in {
            "q": 4096,
            "k": 1024,
            "v": 1024,
            "o": 4096,
            "gate": 14336,
            "up": 14336,
            "down": 14336,
        }.items():
            yield f"{layer}.{name}", (rows, 4096)
        yield from ((f"{layer}.norm{number}", (4096,)) for number in (1, 2))


def shards(count: int, dtype: str = "BF16") -> list[Shapes]:
    """The tensors of Llama-3-8B, in `count` files."""
    tensors = [(name, (dtype, shape)) for name, shape in llama_tensors()]
    return [dict(tensors[at::count]) for at in range(count)]
