"""Refusals: what a client did wrong, as a code that programs can act on.

A message may name fields, limits and codes. It must never repeat what the client sent to be worked
on.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping

BAD_INPUT = "bad-input"
TOO_LONG = "too-long"
INTERNAL = "internal"


class Refusal(Exception):
    """A job that cannot be done as it was asked for."""

    def __init__(self, code: str, message: str, **details: object) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details

    def as_output(self) -> dict[str, str]:
        """What the handler returns. The platform wants a string: it holds JSON with code and
        message.
        """
        told = {"code": self.code, "message": self.message, **self.details}
        return {"error": json.dumps(told, ensure_ascii=False)}


def check_fields(given: object, known: Collection[str]) -> Mapping[str, object]:
    """The job's input as a mapping. Raises Refusal for anything else and for unknown fields."""
    if not isinstance(given, dict) or not given:
        raise Refusal(BAD_INPUT, "input must be a JSON object that is not empty")
    unknown = sorted(str(name)[:40] for name in given if name not in known)
    if unknown:
        raise Refusal(
            BAD_INPUT,
            f"unknown fields: {', '.join(unknown)}; known are: {', '.join(sorted(known))}",
        )
    return given


def whole_number(given: Mapping[str, object], name: str, default: int, low: int, high: int) -> int:
    """Field `name` as an integer from `low` to `high`; `default` where it is absent."""
    value = given.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise Refusal(BAD_INPUT, f"{name} must be a whole number from {low} to {high}")
    return value


def yes_or_no(given: Mapping[str, object], name: str, default: bool) -> bool:
    """Field `name` as true or false; `default` where it is absent."""
    value = given.get(name, default)
    if not isinstance(value, bool):
        raise Refusal(BAD_INPUT, f"{name} must be true or false")
    return value


def one_of(given: Mapping[str, object], name: str, default: str, allowed: Collection[str]) -> str:
    """Field `name` as one of `allowed`; `default` where it is absent."""
    value = given.get(name, default)
    if not isinstance(value, str) or value not in allowed:
        raise Refusal(BAD_INPUT, f"{name} must be one of: {', '.join(sorted(allowed))}")
    return value
