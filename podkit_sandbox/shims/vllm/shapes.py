"""The shapes of answers: chat and plain completions, whole and as the events of a stream."""

import json
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from podkit_sandbox.shims.vllm.generation import Generated

Json = dict[str, Any]
FINGERPRINT = "podkit-sandbox"
DONE = "data: [DONE]\n\n"


@dataclass(frozen=True)
class Answer:
    """What is sent back: the choices, the name of the tool that they call, and what was
    asked with.
    """

    model: str
    prompt_tokens: int
    choices: list[Generated]
    tool: str = ""
    tool_required: bool = False
    id: str = field(default_factory=lambda: secrets.token_hex(16))
    created: int = field(default_factory=lambda: int(time.time()))

    @property
    def usage(self) -> Json:
        completion = sum(len(choice.tokens) for choice in self.choices)
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": completion,
            "total_tokens": self.prompt_tokens + completion,
        }

    def finish(self, choice: Generated) -> Json:
        """Why a choice ended; vLLM says `tool_calls` for a required tool, and not for a
        named one.
        """
        reason = choice.finish_reason
        if self.tool_required and reason == "stop":
            reason = "tool_calls"
        return {"finish_reason": reason, "stop_reason": choice.stop_reason}


def sse(body: Json) -> str:
    return f"data: {json.dumps(body)}\n\n"


def _head(answer: Answer, prefix: str, kind: str) -> Json:
    return {
        "id": f"{prefix}-{answer.id}",
        "object": kind,
        "created": answer.created,
        "model": answer.model,
        "system_fingerprint": FINGERPRINT,
    }


def _call(answer: Answer, index: int, arguments: str) -> Json:
    return {
        "id": f"chatcmpl-tool-{answer.id[:12]}{index:04d}",
        "type": "function",
        "function": {"name": answer.tool, "arguments": arguments},
    }


def chat_answer(answer: Answer) -> Json:
    """The whole answer to a chat."""
    choices = []
    for index, choice in enumerate(answer.choices):
        message: Json = {"role": "assistant", "content": choice.text}
        if answer.tool:
            message = {
                "role": "assistant",
                "content": "",
                "tool_calls": [_call(answer, index, choice.text)],
            }
        choices.append({"index": index, "message": message, **answer.finish(choice)})
    head = _head(answer, "chatcmpl", "chat.completion")
    return {**head, "choices": choices, "usage": answer.usage}


def chat_events(answer: Answer, *, with_usage: bool) -> Iterator[str]:
    """The events of a chat, a token each."""
    head = _head(answer, "chatcmpl", "chat.completion.chunk")
    for index, choice in enumerate(answer.choices):
        deltas: list[Json] = [{"role": "assistant", "content": ""}]
        deltas += _tool_deltas(answer, index, choice) if answer.tool else _text_deltas(choice)
        for delta in deltas:
            part = {"index": index, "delta": delta, "finish_reason": None}
            yield sse({**head, "choices": [part]})
        yield sse({**head, "choices": [{"index": index, "delta": {}, **answer.finish(choice)}]})
    if with_usage:
        yield sse({**head, "choices": [], "usage": answer.usage})
    yield DONE


def _text_deltas(choice: Generated) -> list[Json]:
    return [{"content": token} for token in choice.tokens]


def _tool_deltas(answer: Answer, index: int, choice: Generated) -> list[Json]:
    deltas: list[Json] = [{"tool_calls": [{"index": 0, **_call(answer, index, "")}]}]
    for token in choice.tokens:
        deltas.append({"tool_calls": [{"index": 0, "function": {"arguments": token}}]})
    return deltas


def completion_answer(answer: Answer) -> Json:
    """The whole answer to a prompt."""
    choices = []
    for index, choice in enumerate(answer.choices):
        part = {"index": index, "text": choice.text, "logprobs": None, **answer.finish(choice)}
        choices.append(part)
    head = _head(answer, "cmpl", "text_completion")
    return {**head, "choices": choices, "usage": answer.usage}


def completion_events(answer: Answer, *, with_usage: bool) -> Iterator[str]:
    """The events of a prompt, a token each."""
    head = _head(answer, "cmpl", "text_completion")
    for index, choice in enumerate(answer.choices):
        for token in [choice.echo, *choice.tokens] if choice.echo else choice.tokens:
            part = {"index": index, "text": token, "logprobs": None, "finish_reason": None}
            yield sse({**head, "choices": [part]})
        last = {"index": index, "text": "", "logprobs": None, **answer.finish(choice)}
        yield sse({**head, "choices": [last]})
    if with_usage:
        yield sse({**head, "choices": [], "usage": answer.usage})
    yield DONE
