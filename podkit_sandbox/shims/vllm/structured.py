"""An object of a JSON schema, filled from a page's text as far as it can, and valid always.

It must never answer with what the schema forbids: a schema that it cannot fill is refused before
anything is sent.
"""

import json
import random
import re
from contextlib import suppress
from typing import Any

from jsonschema import Draft202012Validator, SchemaError
from referencing.exceptions import Unresolvable
from referencing.jsonschema import EMPTY_REGISTRY

from podkit_sandbox.shims.vllm.facts import Facts

Json = Any
FULL_DEPTH = 6
"""Below this depth only what must be there is filled: a schema may contain itself."""
MOST_DEPTH = 40
MOST_ITEMS = 50
MOST_MADE = 10_000
FORMATS = {
    "date": "1970-01-01",
    "date-time": "1970-01-01T00:00:00Z",
    "time": "00:00:00Z",
    "duration": "P0D",
    "email": "nobody@example.invalid",
    "hostname": "example.invalid",
    "ipv4": "0.0.0.0",  # noqa: S104 - an address that is nobody's
    "ipv6": "::",
    "uri": "https://example.invalid/",
    "uuid": "00000000-0000-0000-0000-000000000000",
}
"""What stands where the page has nothing of that format."""


class CannotFill(ValueError):
    """A schema that is wrong, or has what the stand-in cannot fill."""


class Form:
    """A JSON schema. Raises CannotFill if it is none, or if nothing can be made of it."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self._schema = schema
        try:
            Draft202012Validator.check_schema(schema)
            self._empty = self._make_of("")
        except SchemaError as error:
            raise CannotFill(f"Invalid JSON schema: {error.message}") from error
        if not self._holds(self._empty):
            raise CannotFill(
                "The JSON schema has features that the sandbox's stand-in cannot fill."
            )

    def fill(self, text: str) -> str:
        """An instance as JSON: with what the text says, or without if that would not be valid."""
        chosen = self._empty
        with suppress(CannotFill):
            filled = self._make_of(text)
            if self._holds(filled):
                chosen = filled
        return json.dumps(chosen, ensure_ascii=False)

    def _make_of(self, text: str) -> Json:
        try:
            return Filler(self._schema, Facts(text)).value(self._schema, "", 0)
        except CannotFill:
            raise
        except (
            ArithmeticError,
            LookupError,
            RecursionError,
            TypeError,
            ValueError,
            re.error,
        ) as error:
            raise CannotFill(f"The JSON schema cannot be filled: {error}") from error

    def _holds(self, instance: Json) -> bool:
        validator = Draft202012Validator(self._schema, registry=EMPTY_REGISTRY)  # fetches nothing
        try:
            return bool(validator.is_valid(instance))
        except (Unresolvable, RecursionError) as error:
            raise CannotFill(f"The JSON schema cannot be followed: {error}") from error


class Filler:
    """Makes values of the parts of one schema, from the facts of a page or of one row of it."""

    def __init__(self, root: dict[str, Any], facts: Facts) -> None:
        self._root = root
        self._facts = facts

    def value(self, schema: Json, label: str, depth: int) -> Json:
        """A value for a part of the schema, which stands under this label."""
        if depth > MOST_DEPTH:
            raise CannotFill("The JSON schema contains itself without an end.")
        if not isinstance(schema, dict):
            return None
        schema = self._whole(schema, depth)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return self._facts.choice(label, schema["enum"])
        for name in ("anyOf", "oneOf"):
            if name in schema:
                return self.value(self._option(schema, name, depth), label, depth + 1)
        return self._of_type(schema, label, depth)

    def _whole(self, schema: dict[str, Any], depth: int) -> dict[str, Any]:
        """The schema with what it refers to and all that it must also be in it."""
        followed = 0
        while "$ref" in schema:
            followed += 1
            if followed > MOST_DEPTH:
                raise CannotFill("The JSON schema refers to itself.")
            schema = _merge(self._resolve(schema["$ref"]), _without(schema, "$ref"))
        for part in schema.get("allOf", []):
            schema = _merge(_without(schema, "allOf"), self._whole(part, depth))
        return schema

    def _resolve(self, reference: str) -> dict[str, Any]:
        found: Any = self._root
        for step in reference.removeprefix("#").strip("/").split("/"):
            name = step.replace("~1", "/").replace("~0", "~")
            if name:
                found = found.get(name) if isinstance(found, dict) else None
        if not reference.startswith("#") or not isinstance(found, dict):
            raise CannotFill(f"The JSON schema refers to {reference}, which is not in it.")
        return found

    def _option(self, schema: dict[str, Any], name: str, depth: int) -> dict[str, Any]:
        """The option to fill: one that is not null, but null when it is already deep."""
        nulls = []
        others = []
        for part in schema[name]:
            option = _merge(_without(schema, name), self._whole(part, depth))
            if option.get("type") == "null":
                nulls.append(option)
            else:
                others.append(option)
        if nulls and (depth > FULL_DEPTH or not others):
            return nulls[0]
        return others[0]

    def _of_type(self, schema: dict[str, Any], label: str, depth: int) -> Json:
        match _type_of(schema):
            case "object":
                return self._object(schema, depth)
            case "array":
                return self._array(schema, label, depth)
            case "integer":
                return self._number(schema, label, whole=True)
            case "number":
                return self._number(schema, label, whole=False)
            case "boolean":
                return self._facts.truth(label)
            case "null":
                return None
            case _:
                return self._string(schema, label)

    def _object(self, schema: dict[str, Any], depth: int) -> dict[str, Json]:
        properties = schema.get("properties", {})
        required = schema.get("required", [])
        filled = {}
        for name, part in properties.items():
            if part is not False and (depth <= FULL_DEPTH or name in required):
                filled[name] = self.value(part, name, depth + 1)
        others = schema.get("additionalProperties", {})
        for name in required:
            if name not in filled:
                filled[name] = self.value(others, name, depth + 1)
        while len(filled) < _check_number(schema.get("minProperties", 0)):
            name = f"field_{len(filled) + 1}"
            filled[name] = self.value(others, name, depth + 1)
        return filled

    def _array(self, schema: dict[str, Any], label: str, depth: int) -> list[Json]:
        least = schema.get("minItems", 0)
        most = schema.get("maxItems", max(MOST_ITEMS, least))
        items = [self.value(part, label, depth + 1) for part in schema.get("prefixItems", [])]
        part = schema.get("items", {})
        if part is False:
            return items[:most]
        if depth <= FULL_DEPTH:
            for facts in self._facts.rows(self._numbers(part, depth)):
                items.append(Filler(self._root, facts).value(part, label, depth + 1))
        if schema.get("uniqueItems"):
            items = _different(items)
        while len(items) < _check_number(least):
            items.append(self.value(part, label, depth + 1))
        return items[:most]

    def _numbers(self, part: Json, depth: int) -> int:
        """How many numbers a row of the page must hold to be an item of an array."""
        if not isinstance(part, dict):
            return 0
        part = self._whole(part, depth)
        count = int(_type_of(part) in ("number", "integer"))
        for each in _parts(part):
            count += _type_of(self._whole(each, depth)) in ("number", "integer")
        return count

    def _number(self, schema: dict[str, Any], label: str, *, whole: bool) -> float:
        number = self._facts.number(label)
        low, high = _bounds(schema, whole=whole)
        step = schema.get("multipleOf", 1 if whole else None)
        number = min(max(number, low), high)
        if step:
            number = round(number / step) * step
            if number < low:
                number += step
        return int(number) if whole else number

    def _string(self, schema: dict[str, Any], label: str) -> str:
        if "pattern" in schema:
            return self._matching(schema["pattern"], label)
        if "format" in schema:
            return self._facts.of_format(schema["format"]) or FORMATS.get(schema["format"], "")
        text = self._facts.text(label)
        least = _check_number(schema.get("minLength", 0))
        return text.ljust(least, "-")[: schema.get("maxLength")]

    def _matching(self, pattern: str, label: str) -> str:
        """What the page has of this pattern, else something of it that means nothing."""
        found = self._facts.matching(pattern, label)
        if found is not None:
            return found
        from rstr import Rstr

        return str(Rstr(random.Random(0)).xeger(pattern))  # noqa: S311 - the same each time


def _without(schema: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: part for key, part in schema.items() if key != name}


def _type_of(schema: dict[str, Any]) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        named = [each for each in kind if each != "null"]
        kind = named[0] if named else "null"
    if kind is None and ("properties" in schema or "required" in schema):
        kind = "object"
    if kind is None and ("items" in schema or "prefixItems" in schema):
        kind = "array"
    return str(kind or "string")


def _parts(schema: dict[str, Any]) -> list[dict[str, Any]]:
    return [part for part in schema.get("properties", {}).values() if isinstance(part, dict)]


def _merge(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """Both schemas in one: properties and what is required are added up, of the rest the second's
    counts.
    """
    merged = {**first, **second}
    properties = {**first.get("properties", {}), **second.get("properties", {})}
    required = [*first.get("required", []), *second.get("required", [])]
    if properties:
        merged["properties"] = properties
    if required:
        merged["required"] = required
    return merged


def _bounds(schema: dict[str, Any], *, whole: bool) -> tuple[float, float]:
    step = 1 if whole else 1e-6
    low = schema.get("minimum", -1e15)
    high = schema.get("maximum", 1e15)
    if "exclusiveMinimum" in schema:
        low = max(low, schema["exclusiveMinimum"] + step)
    if "exclusiveMaximum" in schema:
        high = min(high, schema["exclusiveMaximum"] - step)
    return low, high


def _check_number(number: int) -> int:
    """The number of things to make. Raises CannotFill if they are too many."""
    if number > MOST_MADE:
        raise CannotFill(
            f"The JSON schema wants {number} of something; the sandbox makes {MOST_MADE}."
        )
    return number


def _different(items: list[Json]) -> list[Json]:
    kept: list[Json] = []
    for item in items:
        if item not in kept:
            kept.append(item)
    return kept
