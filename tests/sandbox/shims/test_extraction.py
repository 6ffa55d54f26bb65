"""Extraction, rehearsed: JSON of a schema and the arguments of tools, from a page's text."""

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from jsonschema import Draft202012Validator

from podkit_sandbox.shims.vllm.structured import CannotFill, Form
from tests.sandbox.shims.stand_ins import ASK, post, serving_model

pytestmark = pytest.mark.slow

STATION = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "debit": {"type": "number"},
        "ecart": {"type": "number"},
    },
    "required": ["name", "debit", "ecart"],
    "additionalProperties": False,
}
REPORT = {
    "type": "object",
    "properties": {
        "title": {"type": "string"},
        "total": {"type": "number"},
        "stations": {"type": "array", "items": {"$ref": "#/$defs/Station"}},
        "kind": {"enum": ["invoice", "rapport"]},
        "signed": {"type": ["string", "null"]},
    },
    "required": ["title", "total", "stations", "kind", "signed"],
    "additionalProperties": False,
    "$defs": {"Station": STATION},
}
TOOLS: Any = [
    {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}},
    {"type": "function", "function": {"name": "file_report", "parameters": REPORT}},
]
HELLO: Any = [{"role": "user", "content": "Who are you?"}]


def as_format(schema: Any) -> Any:
    return {"type": "json_schema", "json_schema": {"name": "report", "schema": schema}}


def test_a_report_is_filled_from_its_page(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="olmocr", messages=ASK, response_format=as_format(REPORT)
    )
    report = json.loads(answer.choices[0].message.content or "")
    Draft202012Validator(REPORT).validate(report)
    assert report["title"] == "Rapport de mesures du réseau hydraulique"
    assert report["total"] == 298.6
    assert report["kind"] == "rapport"
    assert {"name": "Besançon", "debit": 128.4, "ecart": 2.5} in report["stations"]


def test_any_object_is_an_object_with_the_text(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="olmocr", messages=ASK, response_format={"type": "json_object"}
    )
    assert "Rapport de mesures" in json.loads(answer.choices[0].message.content or "")["text"]


def test_json_that_meets_its_limit_is_cut_like_any_other_answer(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="olmocr", messages=HELLO, response_format=as_format(REPORT), max_tokens=5
    )
    assert answer.choices[0].finish_reason == "length"
    with pytest.raises(json.JSONDecodeError):
        json.loads(answer.choices[0].message.content or "")


@pytest.mark.parametrize(
    ("choice", "name", "finish"),
    [
        ({"type": "function", "function": {"name": "file_report"}}, "file_report", "stop"),
        ("required", "look", "tool_calls"),
    ],
)
def test_a_tool_that_must_be_called_is_called_whole_and_streamed(
    client: openai.OpenAI, choice: Any, name: str, finish: str
) -> None:
    asked: Any = {"model": "olmocr", "messages": HELLO, "tools": TOOLS, "tool_choice": choice}
    answer = client.chat.completions.create(**asked).choices[0]
    assert answer.finish_reason == finish
    (call,) = answer.message.tool_calls or []
    assert call.function.name == name
    schema = next(tool["function"] for tool in TOOLS if tool["function"]["name"] == name)
    Draft202012Validator(schema["parameters"]).validate(json.loads(call.function.arguments))
    with client.chat.completions.stream(**asked) as stream:
        final = stream.get_final_completion().choices[0]
    (streamed,) = final.message.tool_calls or []
    assert (streamed.function.name, streamed.function.arguments) == (
        name,
        call.function.arguments,
    )


@pytest.fixture(scope="module")
def free_to_choose() -> Iterator[str]:
    """A server that leaves the choice of a tool to the model."""
    flags = ["--served-model-name", "qwen", "--enable-auto-tool-choice", "--tool-call-parser", "x"]
    with serving_model("model", *flags) as (url, _):
        yield url


def test_a_tool_that_need_not_be_called_is_not(free_to_choose: str) -> None:
    body = {"messages": HELLO, "tools": TOOLS}
    choice = post(f"{free_to_choose}/v1/chat/completions", body).json()["choices"][0]
    assert choice["finish_reason"] == "stop"
    assert "stand-in" in choice["message"]["content"]


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "objekt"},
        {"$ref": "#/$defs/missing"},
        {"$ref": "https://example.invalid/schema.json"},
        {"$ref": "#"},
        {"type": "object", "required": ["a"], "properties": {"a": {"$ref": "#"}}},
        {"type": "string", "not": {}},
        {"pattern": "("},
        {"pattern": "a{1000000}"},
        {"enum": []},
        {"multipleOf": 0.1, "minimum": "a"},
        {"prefixItems": [{}], "items": False, "minItems": 3},
        {"type": "array", "minItems": 1000000000},
        {"type": "integer", "minimum": 5, "maximum": 4},
    ],
)
def test_a_schema_that_cannot_be_filled_is_refused_before_anything_is_sent(
    url: str, schema: Any
) -> None:
    with pytest.raises(CannotFill):
        Form(schema)
    body = {"messages": HELLO, "response_format": as_format(schema), "stream": True}
    answer = post(f"{url}/v1/chat/completions", body, "key")
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "BadRequestError"
