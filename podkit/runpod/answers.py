"""What an answer of the API means: which error it is, and whether asking again may help.

A message never holds more than the provider's own words for it, in one line.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

import requests
import urllib3

from podkit.errors import (
    ApiError,
    BadAnswer,
    BadRequest,
    Conflict,
    EdgeRefused,
    Forbidden,
    Invalid,
    NotFound,
    PaymentRequired,
    RateLimited,
    ServerFault,
    Unauthorized,
    Unreachable,
)

BY_STATUS: dict[int, type[ApiError]] = {
    400: BadRequest,
    401: Unauthorized,
    402: PaymentRequired,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    413: Invalid,
    422: Invalid,
    429: RateLimited,
}
Shown = TypeVar("Shown")


def refusal(method: str, path: str, response: requests.Response) -> ApiError:
    """The error for an answer that is no success; an HTML page is the edge's, not the API's."""
    status = response.status_code
    detail = ""
    kind: type[ApiError]
    if is_html(response):
        kind = RateLimited if status == 429 else EdgeRefused
        message = f"{method} {path}: an HTML page with status {status} instead of the API"
    else:
        kind = BY_STATUS.get(status, BadAnswer)
        if status >= 500:
            kind = ServerFault
        detail, errors = _own_words(response)
        said = [text for text in (detail, *errors) if text]
        reason = "; ".join(said) or response.reason or "no reason given"
        message = f"{method} {path}: {status}: {reason}"
    carried_out = status < 400 or status == 408 or status >= 500 or kind is BadAnswer
    return kind(
        message,
        status=status,
        detail=detail,
        unclear=method != "GET" and carried_out,
        retry_after=_retry_after(response),
    )


def is_html(response: requests.Response) -> bool:
    """Whether this is a page for browsers, which the API itself never sends."""
    return "html" in response.headers.get("Content-Type", "").lower()


def decode_json(method: str, path: str, response: requests.Response) -> Any:
    """The JSON of a success, None without a body. Raises EdgeRefused or BadAnswer for another."""
    status = response.status_code
    if status == 204 or not response.content:
        return None
    if is_html(response):
        raise refusal(method, path, response)
    try:
        return response.json()
    except ValueError:
        what = f"{method} {path}: the answer ({status}) is not JSON"
        raise BadAnswer(what, status=status, unclear=method != "GET") from None


def decode_shape(decode: Callable[[Any], Shown], data: Any) -> Shown:
    """What `decode` makes of `data`. Raises BadAnswer where it has another shape."""
    try:
        return decode(data)
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        why = f"{type(error).__name__}: {error}"
        raise BadAnswer(f"the API's answer has an unexpected shape ({why})") from None


def may_pass(error: ApiError) -> bool:
    """Whether the same request may succeed if it is sent again.

    Answers that nobody can read are the network's more often than the API's: they may pass. A
    status that the API gives for good, such as 410, does not.
    """
    status = error.status or 0
    if isinstance(error, RateLimited | Unreachable | EdgeRefused):
        return True
    unreadable = isinstance(error, BadAnswer) and (status < 400 or status == 408)
    return unreadable or status >= 500


def connection_error(
    method: str, path: str, error: requests.RequestException, seconds: float
) -> ApiError:
    """The error for a request without an answer that was given `seconds`.

    It is unclear only if the request may have reached anyone: not if no trusted connection was
    ever made.
    """
    why = _reason_not_sent(error)
    arrived = not why
    if arrived and isinstance(error, requests.Timeout):
        why = f"no answer within {seconds:.0f} s"
    elif arrived and isinstance(error, requests.exceptions.ProxyError):
        why = "the HTTP proxy of this network refused"
    elif arrived:
        why = "the connection broke"
    return Unreachable(f"{method} {path}: {why}", unclear=arrived and method != "GET")


def _reason_not_sent(error: requests.RequestException) -> str:
    """Why the request never left this machine, empty if it may have."""
    if isinstance(error, requests.ConnectTimeout):
        return "no connection in time"
    reason = getattr(error.args[0], "reason", None) if error.args else None
    if isinstance(reason, urllib3.exceptions.NewConnectionError):
        return "no connection"
    is_tls = isinstance(error, requests.exceptions.SSLError)
    if is_tls and "CERTIFICATE_VERIFY_FAILED" in str(error):
        return "the TLS certificate was not accepted"
    return ""


def _own_words(response: requests.Response) -> tuple[str, list[str]]:
    """The provider's words in a problem+json answer, one line each: its detail, and its errors."""
    problem: Any = None
    with suppress(ValueError, requests.RequestException):
        problem = response.json()
    if not isinstance(problem, dict):
        return "", []
    detail = _one_line(problem.get("detail") or problem.get("title") or "")
    errors = problem.get("errors")
    if not isinstance(errors, list):
        return detail, []
    return detail, [_one_line(error) for error in errors]


def _one_line(text: Any) -> str:
    return " ".join(str(text).split())


def _retry_after(response: requests.Response) -> float | None:
    """The seconds of a Retry-After header; None for a date, or for anything else."""
    asked = response.headers.get("Retry-After", "")
    if not asked.isdecimal():
        return None
    return float(asked)
