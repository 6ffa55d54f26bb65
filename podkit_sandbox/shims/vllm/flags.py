"""The command line of `vllm serve`, as far as podkit gives it; an unknown flag ends with 2, as in
the real one.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

IGNORED = (
    "dtype",
    "host",
    "kv-cache-dtype",
    "max-num-batched-tokens",
    "max-num-seqs",
    "mm-processor-cache-gb",
    "safetensors-load-strategy",
    "shutdown-timeout",
    "disable-access-log-for-endpoints",
    "tool-call-parser",
)
"""Flags with a value that changes nothing here. The host is one: a stand-in listens on loopback
only.
"""
DEFAULT_PORT = 8000
MAX_PIXELS = 12_845_056
"""Of an image, where no flag says less: what Qwen2.5-VL's own processor makes of a larger one."""


@dataclass(frozen=True)
class Options:
    """What the command line asks for; lengths in tokens."""

    names: tuple[str, ...]
    port: int
    host: str
    max_model_len: int
    utilization: float
    limits: dict[str, int]
    max_pixels: int
    auto_tools: bool
    keep_alive_seconds: int
    media_domains: tuple[str, ...]
    middleware: tuple[str, ...]


def _not_negative(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError
    return number


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="vllm")
    serve = parser.add_subparsers(required=True).add_parser("serve")
    serve.add_argument("model")
    serve.add_argument("--served-model-name", nargs="+")
    serve.add_argument("--port", type=int, default=DEFAULT_PORT)
    serve.add_argument("--max-model-len", type=int, default=32_768)
    serve.add_argument("--gpu-memory-utilization", type=float, default=0.9)
    serve.add_argument("--middleware", action="append", default=[])
    serve.add_argument("--limit-mm-per-prompt", type=json.loads, default={})
    serve.add_argument("--mm-processor-kwargs", type=json.loads, default={})
    serve.add_argument("--allowed-media-domains", nargs="+", default=[])
    serve.add_argument("--sse-keep-alive-interval", type=_not_negative, default=0)
    for name in ("enable-auto-tool-choice", "disable-fastapi-docs", "enforce-eager"):
        serve.add_argument(f"--{name}", action="store_true")
    for name in IGNORED:
        serve.add_argument(f"--{name}")
    return parser


def parse(arguments: Sequence[str]) -> Options:
    """The options of a command line. Ends the program with 2 if vLLM would not take it."""
    given: Any = _parser().parse_args(arguments)
    return Options(
        names=tuple(given.served_model_name or [given.model]),
        port=given.port,
        host=given.host or "127.0.0.1",
        max_model_len=given.max_model_len,
        utilization=given.gpu_memory_utilization,
        limits=given.limit_mm_per_prompt,
        max_pixels=int(given.mm_processor_kwargs.get("max_pixels", MAX_PIXELS)),
        auto_tools=given.enable_auto_tool_choice,
        keep_alive_seconds=given.sse_keep_alive_interval,
        media_domains=tuple(given.allowed_media_domains),
        middleware=tuple(given.middleware),
    )
