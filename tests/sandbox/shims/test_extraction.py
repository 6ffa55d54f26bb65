"""Extraction, rehearsed: JSON of a schema and the arguments of tools, from a page's text."""

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from jsonschema import Draft202012Validator, FormatChecker

from podkit_sandbox.shims.vllm.facts import Facts, as_number
from podkit_sandbox.shims.vllm.structured import CannotFill, Form
from tests.sandbox.shims.stand_ins import ASK, post, serving_model

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


@pytest.mark.slow
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


@pytest.mark.slow
def test_any_object_is_an_object_with_the_text(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="olmocr", messages=ASK, response_format={"type": "json_object"}
    )
    assert "Rapport de mesures" in json.loads(answer.choices[0].message.content or "")["text"]


@pytest.mark.slow
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
@pytest.mark.slow
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


@pytest.mark.slow
def test_a_tool_that_need_not_be_called_is_not(free_to_choose: str) -> None:
    body = {"messages": HELLO, "tools": TOOLS}
    choice = post(f"{free_to_choose}/v1/chat/completions", body).json()["choices"][0]
    assert choice["finish_reason"] == "stop"
    assert "stand-in" in choice["message"]["content"]


SCHEMAS: dict[str, Any] = {
    "no type at all": {},
    "a text": {"type": "string", "minLength": 40, "maxLength": 50},
    "formats": {
        "type": "object",
        "properties": {
            name: {"type": "string", "format": name}
            for name in ("date", "date-time", "email", "ipv4", "uri", "uuid")
        },
        "required": ["date", "date-time", "email", "ipv4", "uri", "uuid"],
    },
    "patterns": {
        "type": "object",
        "properties": {
            "found": {"pattern": "^[A-Z]{2}-\\d{4}$"},
            "made": {"pattern": "^[0-9]{3}-[a-f]{2}$"},
        },
        "required": ["found", "made"],
    },
    "numbers": {
        "type": "array",
        "prefixItems": [
            {"type": "integer", "minimum": 5, "maximum": 7},
            {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
            {"type": "integer", "multipleOf": 7, "minimum": 10},
            {"type": "boolean"},
            {"type": "null"},
            {"const": {"a": [1]}},
        ],
        "minItems": 6,
        "items": False,
    },
    "at least so many": {"type": "array", "items": {"type": "integer"}, "minItems": 60},
    "at most so many": {"type": "array", "items": {"type": "string"}, "maxItems": 2},
    "different ones": {"type": "array", "items": {"type": "integer"}, "uniqueItems": True},
    "any of": {"anyOf": [{"type": "null"}, {"type": "object", "required": ["x"]}]},
    "one of": {"oneOf": [{"type": "integer", "minimum": 3}, {"type": "string"}]},
    "all of": {
        "allOf": [
            {"properties": {"a": {"type": "integer"}}, "required": ["a"]},
            {"properties": {"b": {"type": "string"}}, "required": ["b"]},
        ],
        "type": "object",
    },
    "a map": {
        "type": "object",
        "additionalProperties": {"type": "integer"},
        "minProperties": 2,
    },
    "what contains itself": {
        "$ref": "#/$defs/Node",
        "$defs": {
            "Node": {
                "type": "object",
                "properties": {
                    "name": {"type": "string"},
                    "next": {"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}]},
                    "children": {"type": "array", "items": {"$ref": "#/$defs/Node"}},
                },
                "required": ["name", "next", "children"],
            }
        },
    },
    "a list of types": {"type": ["null", "integer"]},
    "escaped names": {
        "$ref": "#/$defs/a~1b",
        "$defs": {"a/b": {"enum": [3, "three", None]}},
    },
}
TEXT = "Invoice number: AB-2027\nTotal: 1 234,50 EUR\nDate 12/03/2027\nPaid: yes\nRow 1 2 3\n"


@pytest.mark.parametrize("text", ["", TEXT], ids=["blank page", "page"])
@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS)
def test_what_is_made_of_a_schema_is_valid(schema: Any, text: str) -> None:
    made = json.loads(Form(schema).fill(text))
    Draft202012Validator(schema, format_checker=FormatChecker()).validate(made)


def test_the_page_is_used_as_far_as_it_says_something() -> None:
    schema = {
        "type": "object",
        "properties": {
            "invoiceNumber": {"pattern": "^[A-Z]{2}-\\d{4}$"},
            "total": {"type": "number"},
            "date": {"type": "string", "format": "date"},
            "paid": {"type": "boolean"},
            "shipping": {"type": "number"},
        },
    }
    assert json.loads(Form(schema).fill(TEXT)) == {
        "invoiceNumber": "AB-2027",
        "total": 1234.5,
        "date": "2027-03-12",
        "paid": True,
        "shipping": 0,
    }


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


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("298,6", 298.6),
        ("1 234,50", 1234.5),
        ("1,234.50", 1234.5),
        ("1.234.567", 1234567),
        ("-7", -7),
        ("−7,5", -7.5),  # noqa: RUF001 - the minus sign that documents have
        ("0", 0),
    ],
)
def test_a_number_is_read_as_french_and_english_write_it(text: str, number: float) -> None:
    assert as_number(text) == number
    assert Facts(f"Total : {text} EUR").number("total") == number
