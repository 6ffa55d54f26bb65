"""A stream of chunks folded into the one answer that the client asked for. Pure.

The provider's proxy cuts a connection that is silent for 100 seconds, so an answer that is not
streamed is asked for as a stream where a backend is behind that proxy.
"""

from __future__ import annotations

import json
from typing import Any

from podkit_gateway.domain import Tokens
from podkit_gateway.errors import GatewayError
from podkit_gateway.streams import end_of_events, split_events


class BrokenStream(GatewayError):
    """The stream ended before its end mark, or held an error; `error` is the backend's own object,
    if it sent one.
    """

    def __init__(self, error: Any = None) -> None:
        super().__init__("the backend's answer broke off")
        self.error = error


class Folder:
    """Collects the chunks of a chat or text completion."""

    def __init__(self) -> None:
        self._held = b""
        self._answer: dict[str, Any] = {}
        self._choices: dict[int, dict[str, Any]] = {}
        self._done = False
        self._chunks = 0

    def feed(self, piece: bytes) -> None:
        """Takes the next bytes. Raises BrokenStream if they hold an error."""
        data = self._held + piece
        end = end_of_events(data)
        self._held = data[end:]
        for event in split_events(data[:end]):
            self._take(event)

    def finish(self) -> dict[str, Any]:
        """The whole answer. Raises BrokenStream if the stream did not reach its end mark."""
        if not self._done or not self._answer:
            raise BrokenStream()
        answer = dict(self._answer)
        answer["object"] = str(answer.get("object", "")).removesuffix(".chunk")
        answer["choices"] = [self._choices[index] for index in sorted(self._choices)]
        answer.setdefault("usage", None)
        return answer

    def estimate(self) -> Tokens:
        """What an answer that was cut has cost: the number of its chunks."""
        return Tokens(completion=self._chunks, counted="estimated")

    def _take(self, event: bytes) -> None:
        lines = []
        for line in event.splitlines():
            if line.startswith(b"data:"):
                lines.append(line[5:].strip())
        text = b"\n".join(lines)
        if not text:
            return
        if text == b"[DONE]":
            self._done = True
            return
        try:
            chunk = json.loads(text)
        except ValueError:
            raise BrokenStream() from None
        if "error" in chunk:
            raise BrokenStream(chunk["error"])
        self._chunks += 1
        for choice in chunk.pop("choices", None) or []:
            fold_choice(self._choices, choice)
        for name, value in chunk.items():
            if value is not None or name not in self._answer:
                self._answer[name] = value


def fold_choice(choices: dict[int, dict[str, Any]], chunk: dict[str, Any]) -> None:
    """Adds one chunk's choice to what is known of the choice of its index."""
    index = chunk.get("index", 0)
    choice = choices.setdefault(index, {"index": index})
    for name, value in chunk.items():
        if name == "delta":
            fold_message(
                choice.setdefault("message", {"role": "assistant", "content": None}), value
            )
        elif name == "text":
            choice["text"] = choice.get("text", "") + value
        elif name == "logprobs" and isinstance(value, dict):
            fold_logprobs(choice, value)
        elif value is not None or name not in choice:
            choice[name] = value


def fold_logprobs(choice: dict[str, Any], logprobs: dict[str, Any]) -> None:
    known = choice.get("logprobs")
    if not isinstance(known, dict):
        known = {}
        choice["logprobs"] = known
    for name, values in logprobs.items():
        if isinstance(values, list):
            known[name] = (known.get(name) or []) + values
        else:
            known.setdefault(name, values)


def fold_message(message: dict[str, Any], delta: dict[str, Any]) -> None:
    for name, value in delta.items():
        if name == "tool_calls":
            for call in value or []:
                fold_call(message.setdefault("tool_calls", []), call)
        elif isinstance(value, str) and name != "role":
            message[name] = (message.get(name) or "") + value
        elif value is not None:
            message[name] = value


def fold_call(calls: list[dict[str, Any]], chunk: dict[str, Any]) -> None:
    """Adds a piece of a tool call; pieces of one call share their index."""
    index = chunk.get("index", len(calls))
    while len(calls) <= index:
        calls.append({"id": None, "type": "function", "function": {"name": "", "arguments": ""}})
    call = calls[index]
    for name in ("id", "type"):
        if chunk.get(name):
            call[name] = chunk[name]
    for name, value in (chunk.get("function") or {}).items():
        if isinstance(value, str):
            call["function"][name] += value
