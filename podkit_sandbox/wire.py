"""What travels between a client and the account: calls, answers, problems. Must never know sockets or pods."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

JSON = "application/json"


@dataclass(frozen=True)
class Call:
    """One request; `path` starts with /v2, percent-encoded or not."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True)
class Answer:
    """One response. `delay`: seconds the server holds it back. `more`: the events since the last time, None at the end.

    A Content-Length header is there only where the body is shorter: the connection breaks in the middle.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    delay: float = 0.0
    more: Callable[[], bytes | None] | None = None


class Cut(Exception):
    """The connection is reset; `after` says whether the call had its effect."""

    def __init__(self, after: bool) -> None:
        super().__init__("reset " + ("after" if after else "before") + " the effect")
        self.after = after


class Problem(Exception):
    """Ends a call with an application/problem+json answer."""

    def __init__(self, status: int, detail: str, errors: tuple[str, ...] = (), **headers: str) -> None:
        super().__init__(detail)
        self.status, self.detail, self.errors = status, detail, errors
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}

    def answer(self) -> Answer:
        """The problem as the provider words it."""
        body = {"title": HTTPStatus(self.status).phrase, "status": self.status, "detail": self.detail}
        if self.errors:
            body["errors"] = list(self.errors)
        headers = {"Content-Type": "application/problem+json", **self.headers}
        return Answer(self.status, headers, json.dumps(body).encode())


def answer_json(content: object, status: int = 200) -> Answer:
    """A JSON answer."""
    return Answer(status, {"Content-Type": JSON}, json.dumps(content).encode())


def answer_html(status: int, title: str, text: str) -> Answer:
    """A page of the edge (Cloudflare), which is never the API's own word."""
    page = (
        f"<!DOCTYPE html><html><head><title>{title}</title></head><body><h1>{title}</h1><p>{text}</p></body></html>\n"
    )
    return Answer(status, {"Content-Type": "text/html; charset=UTF-8", "Server": "cloudflare"}, page.encode())


def blocked() -> Answer:
    """Cloudflare's refusal of a client's signature (error 1010), for Python's urllib among others."""
    return answer_html(403, "Access denied | api.runpod.io", "error code: 1010")
