"""What a request may hold, and what vLLM refuses before it begins."""

import json
from collections.abc import Callable
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from starlette.requests import Request

from podkit_sandbox.shims.vllm.refusals import (
    InvalidValue,
    Refusal,
    bad_request,
    malformed_body,
    out_of_range,
)

MOST_BYTES = 64 * 2**20
"""A larger body is refused, though vLLM would take it: it would be held in memory several times."""
NOT_PLAYED = ("structured_outputs", "logprobs", "prompt_logprobs", "use_beam_search")
"""What vLLM does and the stand-in does not; silence would be a wrong rehearsal."""


class Body(BaseModel):
    """Any request; fields that are not listed are taken and change nothing."""

    model_config = ConfigDict(extra="allow")

    model: str | None = None


class JsonSchema(Body):
    """The schema of `response_format`, by the name that it has in the request."""

    name: str
    json_schema: dict[str, Any] | None = Field(default=None, alias="schema")


class ResponseFormat(Body):
    """The form that an answer must have."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None

    @model_validator(mode="after")
    def _has_its_schema(self) -> Self:
        if self.type == "json_schema" and self.json_schema is None:
            message = (
                "When response_format type is 'json_schema', the 'json_schema' field must be given."
            )
            raise InvalidValue(message, "response_format")
        return self


class StreamOptions(Body):
    """Whether the last event of a stream holds the usage."""

    include_usage: bool | None = False


class Generation(Body):
    """What chat and plain completions have in common."""

    max_tokens: int | None = None
    min_tokens: int = 0
    n: int | None = 1
    stop: str | Annotated[list[str], Field(max_length=64)] | None = None
    include_stop_str_in_output: bool = False
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    response_format: ResponseFormat | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    repetition_penalty: float | None = None
    seed: Annotated[int, Field(ge=-(2**63), le=2**63 - 1)] | None = None

    @model_validator(mode="after")
    def _streams_with_its_options(self) -> Self:
        if self.stream_options and not self.stream:
            message = "Stream options can only be defined when `stream=True`."
            raise InvalidValue(message, "stream_options")
        return self

    @property
    def stops(self) -> list[str]:
        if self.stop is None:
            return []
        return [self.stop] if isinstance(self.stop, str) else self.stop


class ImageUrl(Body):
    """Where an image is: a `data:` URL."""

    url: str


class Part(Body):
    """One part of a message."""

    type: str | None = None
    text: str | None = None
    image_url: ImageUrl | str | None = None


class Message(Body):
    """One turn of a conversation."""

    role: str
    content: str | list[Part | str] | None = None

    @property
    def parts(self) -> list[Part]:
        """The content as parts, a plain text as one of them."""
        content = self.content or []
        if isinstance(content, str):
            content = [content]
        found = []
        for part in content:
            if isinstance(part, str):
                found.append(Part(type="text", text=part))
            else:
                found.append(part)
        return found


class Function(Body):
    """What a tool is called, and the schema of its arguments."""

    name: str
    parameters: dict[str, Any] | None = None


class Tool(Body):
    """A function that the client offers."""

    type: Literal["function"] = "function"
    function: Function


class FunctionName(Body):
    """The function that a client chose."""

    name: Annotated[str, Field(min_length=1)]


class NamedTool(Body):
    """A choice of one tool."""

    type: Literal["function"] = "function"
    function: FunctionName


class ChatRequest(Generation):
    """The body of /v1/chat/completions."""

    messages: list[Message]
    max_completion_tokens: int | None = None
    tools: list[Tool] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None

    @model_validator(mode="after")
    def _offers_the_tool_that_it_chooses(self) -> Self:
        if self.tools == []:
            message = "`tools` must not be an empty array. Provide at least one tool or omit it."
            raise InvalidValue(message, "tools")
        if self.tool_choice not in (None, "none") and self.tools is None:
            raise InvalidValue("When using `tool_choice`, `tools` must be set.", "tool_choice")
        if isinstance(self.tool_choice, NamedTool) and self.chosen_tool is None:
            message = (
                "The tool specified in `tool_choice` does not match any of the specified `tools`"
            )
            raise InvalidValue(message, "tool_choice")
        return self

    @property
    def chosen_tool(self) -> Function | None:
        """The function that must be called: the named one, or the first where one is required."""
        for tool in self.tools or []:
            if self.tool_choice == "required":
                return tool.function
            chosen = self.tool_choice
            if isinstance(chosen, NamedTool) and chosen.function.name == tool.function.name:
                return tool.function
        return None

    @property
    def leaves_the_choice(self) -> bool:
        """Whether the model may call a tool or not."""
        return bool(self.tools) and self.tool_choice in (None, "auto")


class CompletionRequest(Generation):
    """The body of /v1/completions."""

    prompt: str | list[int] | list[str] | list[list[int]]
    max_tokens: int | None = 16
    echo: bool | None = False
    suffix: str | None = None

    @property
    def prompts(self) -> list[str]:
        """Every prompt as text; of token ids only their number can be told."""
        if isinstance(self.prompt, str):
            return [self.prompt]
        if all(isinstance(token, int) for token in self.prompt):
            return [_without_text(self.prompt)]
        return [one if isinstance(one, str) else _without_text(one) for one in self.prompt]


def _without_text(tokens: Any) -> str:
    return " ".join(["[token]"] * len(tokens))


class TokenizeRequest(Body):
    """The body of /tokenize: a prompt, or messages."""

    prompt: str | None = None
    messages: list[Message] | None = None
    return_token_strs: bool | None = False

    @model_validator(mode="after")
    def _has_a_text(self) -> Self:
        if self.prompt is None and self.messages is None:
            raise ValueError("prompt or messages must be given")
        return self


Kind = TypeVar("Kind", bound=Body)


async def parse(request: Request, kind: type[Kind]) -> Kind:
    """The body of a request. Raises Refusal for what is not one of this kind."""
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != "application/json":
        raise bad_request("Unsupported Media Type: Only 'application/json' is allowed")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BYTES:
            raise Refusal(f"the sandbox takes at most {MOST_BYTES} bytes", status=413)
    try:
        return kind.model_validate(json.loads(body))
    except ValidationError as error:
        raise malformed_body(error) from error
    except (ValueError, RecursionError) as error:
        raise bad_request(f"JSON decode error: {error}") from error


RULES: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    ("n", lambda value: value >= 1, "n must be at least 1, got {}."),
    ("n", lambda value: value <= 16_384, "n must be at most 16384, got {}."),
    ("max_tokens", lambda value: value >= 1, "max_tokens must be at least 1, got {}."),
    ("max_completion_tokens", lambda value: value >= 1, "max_tokens must be at least 1, got {}."),
    (
        "min_tokens",
        lambda value: value >= 0,
        "min_tokens must be greater than or equal to 0, got {}.",
    ),
    ("temperature", lambda value: value >= 0, "temperature must be non-negative, got {}."),
    ("top_p", lambda value: 0 < value <= 1, "top_p must be in (0, 1], got {}."),
    ("top_k", lambda value: value >= -1, "top_k must be 0 (disable), or at least 1, got {}."),
    ("min_p", lambda value: 0 <= value <= 1, "min_p must be in [0, 1], got {}."),
    (
        "presence_penalty",
        lambda value: -2 <= value <= 2,
        "presence_penalty must be in [-2, 2], got {}.",
    ),
    (
        "frequency_penalty",
        lambda value: -2 <= value <= 2,
        "frequency_penalty must be in [-2, 2], got {}.",
    ),
    (
        "repetition_penalty",
        lambda value: value > 0,
        "repetition_penalty must be greater than zero, got {}.",
    ),
)
"""What a value must be, and what vLLM's SamplingParams says else."""


def check_sampling(request: Generation) -> None:
    """Raises Refusal for values out of range, in vLLM's words, and for what the stand-in does not
    play.
    """
    for name, holds, message in RULES:
        value = getattr(request, name) if name in type(request).model_fields else None
        if value is not None and not holds(value):
            raise out_of_range(message.format(value), name, value)
    if "" in request.stops:
        raise Refusal("stop cannot contain an empty string.")
    if request.temperature == 0 and (request.n or 1) > 1:
        raise Refusal(f"n must be 1 when using greedy sampling, got {request.n}.")
    for name in NOT_PLAYED:
        if (request.model_extra or {}).get(name):
            raise Refusal(f"the sandbox's stand-in does not play `{name}`", parameter=name)
