"""What is wrong with a config, in sentences that name the field. Pure.

The published schema decides, and its `errorMessage`s, which editors show as well, are the sentences
where jsonschema's own would not be understood. No sentence ever holds a value of the file: it may
be a secret.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator, ValidationError

SCHEMA: dict[str, Any] = json.loads(
    Path(__file__).with_name("runpod-config.schema.json").read_text(encoding="utf-8")
)
TYPES = {
    "object": "a block in { }",
    "array": "a list in [ ]",
    "string": "a text, in quotes",
    "integer": "a whole number",
    "number": "a number",
}


def schema_problems(document: Any) -> list[str]:
    """A sentence for each way in which `document` is not what the schema asks for."""
    errors = Draft202012Validator(SCHEMA).iter_errors(document)
    found: list[str] = []
    for error in sorted(errors, key=lambda error: [str(part) for part in error.absolute_path]):
        for sentence in _sentences(error):
            if sentence not in found:
                found.append(sentence)
    return found


def nearest(word: str, known: Iterable[str]) -> str:
    """`; did you mean ...?` with what of `known` is written most like `word`, or an empty text."""
    by_folded = {one.casefold(): one for one in known}
    near = difflib.get_close_matches(word.casefold(), by_folded, n=1)
    if not near:
        return ""
    return f"; did you mean {by_folded[near[0]]}?"


def _sentences(error: ValidationError) -> Iterator[str]:
    place = _place(error)
    # the library's types also allow for an error that belongs to no schema
    schema: Any = error.schema
    wanted: Any = error.validator_value
    given: Any = error.instance
    if error.validator == "additionalProperties":
        known = schema["properties"]
        for name in given:
            if name not in known:
                yield f"{place}{name} is no field{nearest(name, known)}"
    elif error.validator == "required":
        for name in wanted:
            if name not in given:
                yield f"{place}{name} is missing"
    else:
        rule = _rule(str(error.validator), schema, wanted)
        yield f"{place.removesuffix('.') or 'the file'} {rule}"


def _place(error: ValidationError) -> str:
    """The field's path, with a point at its end; empty for the whole file."""
    parts = [str(part) for part in error.absolute_path]
    if "propertyNames" in error.absolute_schema_path:
        parts.append(str(error.instance))
    return "".join(f"{part}." for part in parts)


def _rule(validator: str, schema: Mapping[str, Any], wanted: Any) -> str:
    """What the field must be, without what it is."""
    if "errorMessage" in schema:
        return str(schema["errorMessage"])
    if validator == "type":
        names = wanted if isinstance(wanted, list) else [wanted]
        return "must be " + " or ".join(TYPES[name] for name in names)
    if validator == "enum":
        return "must be one of " + ", ".join(json.dumps(one) for one in wanted)
    if validator == "uniqueItems":
        return "names one thing twice"
    if validator in ("minLength", "minItems"):
        return "must not be empty"
    words = {"minimum": "at least", "maximum": "at most"}
    return f"must be {words[validator]} {wanted}"
