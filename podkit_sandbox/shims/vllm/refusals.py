"""How vLLM says no: its error object, with the words and the status of version 0.32.0."""

import json
from http import HTTPStatus
from typing import Any

from pydantic import ValidationError
from starlette.responses import Response

Json = dict[str, Any]


class Refusal(Exception):
    """A request that is not answered, with vLLM's status, type of error and parameter."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        kind: str = "BadRequestError",
        parameter: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.kind = kind
        self.parameter = parameter


class InvalidValue(ValueError):
    """A value that a request's own checks refuse; vLLM names its parameter in the answer."""

    def __init__(self, message: str, parameter: str) -> None:
        super().__init__(message)
        self.parameter = parameter


def out_of_range(message: str, parameter: str, value: object) -> Refusal:
    """A refusal as vLLM words it: with the parameter and its value at the end."""
    text = f"{message} (parameter={parameter}, value={value})"
    return Refusal(text, parameter=parameter)


def malformed_body(error: ValidationError) -> Refusal:
    """The refusal of a body that is not what the route takes: its type is the phrase of
    the status.
    """
    problems = error.errors(include_url=False, include_input=False)
    parameter = None
    for problem in problems:
        cause = problem.get("ctx", {}).get("error")
        if isinstance(cause, InvalidValue):
            parameter = cause.parameter
    for problem in problems:
        problem["loc"] = ("body", *problem["loc"])
        problem.pop("ctx", None)
    count = f"{len(problems)} validation error{'s' if len(problems) > 1 else ''}"
    lines = "".join(f"\n  {problem}" for problem in problems)
    return bad_request(f"{count}:{lines}", parameter)


def bad_request(message: str, parameter: str | None = None) -> Refusal:
    """The refusal of what is no request at all, by FastAPI and not by vLLM itself."""
    return Refusal(message, kind=HTTPStatus.BAD_REQUEST.phrase, parameter=parameter)


def error_object(refusal: Refusal) -> Json:
    error = {
        "message": refusal.message,
        "type": refusal.kind,
        "param": refusal.parameter,
        "code": refusal.status,
    }
    return {"error": error}


def json_response(body: Json, status: int = 200) -> Response:
    """The body in ASCII: a request may hold half a character, which UTF-8 has no bytes for."""
    return Response(json.dumps(body), status, media_type="application/json")
