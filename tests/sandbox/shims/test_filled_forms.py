"""JSON of a schema, filled with what a page says."""

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker

from podkit_sandbox.shims.vllm.facts import Facts, as_number
from podkit_sandbox.shims.vllm.structured import Form

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
