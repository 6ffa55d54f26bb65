"""Whether a call has the shape that the provider's REST v2 document (2026-08-20) asks for.

The shapes are JSON Schema, in schemas.json. Rules that need the account's state are not here.
"""

import json
import re
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker

from podkit_sandbox.wire import Call, Problem

SCHEMAS: dict[str, Any] = json.loads(Path(__file__).with_name("schemas.json").read_text())
MOMENT = re.compile(
    r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)",
    re.ASCII,
)
"""A date and time of RFC 3339."""


def parse_moment(text: str) -> float:
    """Seconds since 1970 of a date and time in RFC 3339. Raises ValueError or OverflowError."""
    if not MOMENT.fullmatch(text):
        raise ValueError(f"{text!r} is no date and time of RFC 3339")
    return datetime.fromisoformat(text.upper()).timestamp()


def read_body(call: Call, route: str) -> dict[str, Any]:
    """The call's JSON object, of the shape of that route. Raises Problem 422."""
    try:
        body = json.loads(call.body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise Problem(422, "Request validation failed.", [f"$: not JSON: {error}"]) from None
    _check("bodies", route, body)
    return dict(body)


def read_query(call: Call, route: str) -> dict[str, Any]:
    """The call's known query parameters, of their types; unknown ones are ignored.

    Raises Problem 422.
    """
    schema = SCHEMAS["queries"][route]
    known = SCHEMAS["$defs"][schema["$ref"].rpartition("/")[2]]["properties"]
    query = {}
    for name, text in call.query.items():
        if name in known:
            query[name] = _convert(known[name], text)
    _check("queries", route, query)
    return query


def _convert(schema: Mapping[str, Any], text: str) -> Any:
    """A parameter's text as its schema's type, if it can be read as one."""
    if "$ref" in schema:
        return _convert(SCHEMAS["$defs"][schema["$ref"].rpartition("/")[2]], text)
    if schema.get("type") == "integer" and re.fullmatch(r"[+-]?\d{1,18}", text, re.ASCII):
        return int(text)
    if schema.get("type") == "array":
        return text.split(",")
    return text


def _check(kind: str, route: str, value: Any) -> None:
    found = []
    for error in _validator(kind, route).iter_errors(value):
        path = "".join(f".{part}" for part in error.absolute_path)
        found.append(f"${path}: {error.message}"[:500])
    if found:
        raise Problem(422, "Request validation failed.", found)


def _is_moment(value: object) -> bool:
    if isinstance(value, str):
        parse_moment(value)
    return True


FORMATS = FormatChecker(formats=())
FORMATS.checks("date-time", raises=(ValueError, OverflowError))(_is_moment)


@cache
def _validator(kind: str, route: str) -> Draft202012Validator:
    schema = {**SCHEMAS[kind][route], "$defs": SCHEMAS["$defs"]}
    return Draft202012Validator(schema, format_checker=FORMATS)


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is no JSON")
