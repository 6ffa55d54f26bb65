"""What is said to a request: the words of its images, or who is here; as text, as JSON, or as a
tool's arguments.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from podkit_sandbox.shims.vllm.flags import Options
from podkit_sandbox.shims.vllm.generation import Generated, generate, tokens_of
from podkit_sandbox.shims.vllm.images import Picture, pictures_of
from podkit_sandbox.shims.vllm.protocol import (
    ChatRequest,
    CompletionRequest,
    Generation,
    Message,
    ResponseFormat,
    check_sampling,
)
from podkit_sandbox.shims.vllm.refusals import Refusal, out_of_range
from podkit_sandbox.shims.vllm.shapes import Answer
from podkit_sandbox.shims.vllm.structured import CannotFill, Form

FRONT_MATTER = (
    "---\n"
    "primary_language: null\n"
    "is_rotation_valid: True\n"
    "rotation_correction: 0\n"
    "is_table: False\n"
    "is_diagram: False\n"
    "---\n"
)
"""What olmOCR writes before each page, and the olmOCR toolkit wants to read there."""
TOKENS_PER_MESSAGE = 5
"""What a chat template adds to each turn: its role and its marks."""
ANY_OBJECT: dict[str, Any] = {
    "type": "object",
    "properties": {"text": {"type": "string"}},
    "required": ["text"],
}
"""What `json_object` is answered with."""


@dataclass(frozen=True)
class Question:
    """A request that has passed every check: images to read, and what to make of their words."""

    pictures: list[Picture]
    answer: Callable[[list[str]], Answer]


def chat_question(body: ChatRequest, options: Options) -> Question:
    """The question of a chat. Raises Refusal for what vLLM refuses before it begins."""
    check_sampling(body)
    if not body.messages:
        raise Refusal("list object has no element 0")
    if body.leaves_the_choice and not options.auto_tools:
        flags = "--enable-auto-tool-choice and --tool-call-parser"
        raise Refusal(f'"auto" tool choice requires {flags} to be set')
    pictures = pictures_of(body.messages, options)
    prompt = _prompt_tokens(body.messages)
    for picture in pictures:
        prompt += picture.tokens(options.max_pixels)
    name = "max_tokens" if body.max_completion_tokens is None else "max_completion_tokens"
    limit = _limit(prompt, name, getattr(body, name), options)
    form = _form(body.response_format)
    if body.chosen_tool:
        form = _of_schema(body.chosen_tool.parameters or {"type": "object"})

    def answer(pages: list[str]) -> Answer:
        text = _answer_text(body.messages, pages, options, form)
        return Answer(
            model=body.model or options.names[0],
            prompt_tokens=prompt,
            choices=_choices(text, limit, body),
            tool=body.chosen_tool.name if body.chosen_tool else "",
            tool_required=body.tool_choice == "required",
        )

    return Question(pictures, answer)


def completion_question(body: CompletionRequest, options: Options) -> Question:
    """The question of plain prompts. Raises Refusal for what vLLM refuses before it begins."""
    check_sampling(body)
    if body.suffix:
        raise Refusal("suffix is not currently supported")
    form = _form(body.response_format)
    total = 0
    limits = []
    for prompt in body.prompts:
        length = len(tokens_of(prompt))
        total += length
        limits.append(_limit(length, "max_tokens", body.max_tokens, options))

    def answer(_: list[str]) -> Answer:
        choices = []
        for prompt, limit in zip(body.prompts, limits, strict=True):
            text = form.fill(prompt) if form else f" {_who_is_here(options)}: {prompt}"
            for choice in _choices(text, limit, body):
                choices.append(replace(choice, echo=prompt if body.echo else ""))
        return Answer(body.model or options.names[0], total, choices)

    return Question([], answer)


def _answer_text(
    messages: list[Message], pages: list[str], options: Options, form: Form | None
) -> str:
    """The answer's text: the pages' words if there are pages, else who is here and what
    was asked.
    """
    if form:
        return form.fill("\n".join(pages) or _text_of(messages[-1:]))
    if pages:
        return (FRONT_MATTER if "olmocr" in options.names else "") + "\n\n".join(pages)
    asked = _text_of(messages[-1:])
    return f"{_who_is_here(options)}; without an image it can only repeat your question: {asked}"


def _who_is_here(options: Options) -> str:
    return f"This is the podkit sandbox's stand-in for {options.names[0]}, not a model"


def _text_of(messages: list[Message]) -> str:
    texts: list[str] = []
    for message in messages:
        texts += [part.text for part in message.parts if part.text]
    return " ".join(texts)


def _prompt_tokens(messages: list[Message]) -> int:
    return len(tokens_of(_text_of(messages))) + TOKENS_PER_MESSAGE * len(messages)


def _choices(text: str, limit: int, body: Generation) -> list[Generated]:
    one = generate(text, limit, body.stops, include_stop=body.include_stop_str_in_output)
    return [one] * (body.n or 1)


def _limit(prompt: int, name: str, asked: int | None, options: Options) -> int:
    """How many tokens the answer may have. Raises Refusal if the prompt leaves no room for them."""
    most = options.max_model_len
    wanted = asked or 0
    if wanted > most:
        message = (
            f"{name}={wanted} cannot be greater than max_model_len={most}. "
            "Please request fewer output tokens."
        )
        raise out_of_range(message, name, wanted)
    if prompt + wanted > most:
        seen = most - wanted + 1  # vLLM counts no further
        message = (
            f"This model's maximum context length is {most} tokens. However, you requested "
            f"{wanted} output tokens and your prompt contains at least {seen} input tokens, for a "
            f"total of at least {wanted + seen} tokens. Please reduce the length of the input "
            "prompt or the number of requested output tokens."
        )
        raise out_of_range(message, "input_tokens", seen)
    return wanted or most - prompt


def _form(response_format: ResponseFormat | None) -> Form | None:
    if response_format is None or response_format.type == "text":
        return None
    if response_format.json_schema is None:
        return _of_schema(ANY_OBJECT)
    return _of_schema(response_format.json_schema.json_schema or {"type": "object"})


def _of_schema(schema: dict[str, Any]) -> Form:
    try:
        return Form(schema)
    except CannotFill as error:
        raise Refusal(str(error)) from error
