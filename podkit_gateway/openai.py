"""The OpenAI API's own forms: the error envelope, and the few fields of a request that are looked
at.

A request is parsed once, and `messages` are never walked into: a page image is megabytes of text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from podkit_gateway.domain import Subject
from podkit_gateway.errors import Refusal

SEEN = ("model", "stream", "stream_options", "max_tokens", "max_completion_tokens")
QUOTED = tuple(f'"{name}"'.encode("ascii") for name in SEEN)
ESCAPED_LETTER = re.compile(rb"\\u00[4-7]")
"""No JSON library escapes letters of ASCII."""


@dataclass(frozen=True)
class Asked:
    """What is known of a request's body."""

    model: str
    stream: bool
    wants_usage: bool
    """Whether the client itself asked for the usage at the end of a stream."""
    max_tokens: int | None
    fields: Mapping[str, Any]


def envelope(refusal: Refusal) -> bytes:
    """The refusal as OpenAI's error object."""
    error = {
        "message": refusal.message,
        "type": refusal.kind,
        "param": refusal.param,
        "code": refusal.code,
    }
    return json.dumps({"error": error}).encode("ascii")


def invalid(
    message: str, *, status: int = 400, code: str | None = None, param: str | None = None
) -> Refusal:
    return Refusal(status, "invalid_request_error", message, code=code, param=param)


def unauthorized(message: str) -> Refusal:
    return Refusal(
        401,
        "authentication_error",
        message,
        code="invalid_api_key",
        headers=(("www-authenticate", "Bearer"),),
    )


def no_such_model(model: str) -> Refusal:
    """The same for a model that does not exist and one that the caller may not use."""
    return Refusal(
        404,
        "invalid_request_error",
        f"The model {model[:100]!r} does not exist, or this key may not use it; "
        "GET /v1/models lists yours.",
        code="model_not_found",
        param="model",
    )


def unavailable(model: str, seconds: int) -> Refusal:
    return Refusal(
        503,
        "service_unavailable",
        f"Nothing serves the model {model} at the moment; try again in {seconds} s.",
        headers=(("retry-after", str(seconds)),),
    )


def parse_request(body: bytes) -> Asked:
    """The fields that the gateway needs. Raises Refusal (400) for anything that is no JSON object
    with a model.
    """
    try:
        fields = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError):
        raise invalid("The body is not valid JSON.") from None
    if not isinstance(fields, dict):
        raise invalid("The body must be a JSON object.")
    if may_have_twins(body):
        refuse_twins(body)
    model = fields.get("model")
    if not isinstance(model, str) or not model:
        raise invalid("`model` must be the name of a model.", param="model")
    stream = fields.get("stream") or False
    if not isinstance(stream, bool):
        raise invalid("`stream` must be true or false.", param="stream")
    options = fields.get("stream_options")
    wants_usage = isinstance(options, dict) and options.get("include_usage") is True
    return Asked(model, stream, wants_usage, parse_max_tokens(fields), fields)


def find_cap(asked: Asked, subjects: Iterable[Subject]) -> int | None:
    """The tightest cap on an answer's tokens. Raises Refusal (400) if the request asks for more."""
    caps = []
    for subject in subjects:
        if subject.limits.max_tokens is not None:
            caps.append(subject.limits.max_tokens)
    if not caps:
        return None
    cap = min(caps)
    if asked.max_tokens is not None and asked.max_tokens > cap:
        raise invalid(f"`max_tokens` may be at most {cap} with this key.", param="max_tokens")
    return cap


def parse_max_tokens(fields: Mapping[str, Any]) -> int | None:
    most: int | None = None
    for name in ("max_tokens", "max_completion_tokens"):
        value = fields.get(name)
        if value is None:
            continue
        if not isinstance(value, int) or isinstance(value, bool):
            raise invalid(f"`{name}` must be a whole number.", param=name)
        most = value if most is None else max(most, value)
    return most


def may_have_twins(body: bytes) -> bool:
    """Whether a name that matters may be there twice, also with a letter written as an escape."""
    for quoted in QUOTED:
        if body.count(quoted) > 1:
            return True
    return b"\\u00" in body and ESCAPED_LETTER.search(body) is not None


def refuse_twins(body: bytes) -> None:
    """Raises Refusal if a field that the gateway looks at is there twice: a backend might read the
    other one.
    """

    def check(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            found[TWINS] = sorted({name for name, _ in pairs})
        return found

    fields = json.loads(body, object_pairs_hook=check)
    if TWINS in fields and set(fields[TWINS]) & set(SEEN):
        raise invalid("A field is in the body twice.")


TWINS = "\0twins"
"""A name under which `refuse_twins` notes that an object has a field twice."""


def with_fields(body: bytes, asked: Asked, changed: Mapping[str, Any]) -> bytes:
    """The body with some fields set.

    Fields that were not there are written in front, so that a body of megabytes is not made again.
    """
    if not changed:
        return body
    if not set(changed) & set(asked.fields):
        added = json.dumps(changed)[1:-1].encode("ascii")
        start = body.index(b"{") + 1
        return b"".join((body[:start], added, b",", body[start:]))
    return json.dumps({**asked.fields, **changed}).encode("ascii")
