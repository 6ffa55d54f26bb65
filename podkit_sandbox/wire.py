"""What travels between a client and the sandbox: calls, answers, the provider's errors."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from http import HTTPStatus

EDGE_TEXTS = {
    200: "Just a moment...",
    403: "Access denied. error code: 1010",
    404: "Not found",
    502: "Bad gateway",
    524: "A timeout occurred",
}
"""What the pages of the edge (Cloudflare) say."""


@dataclass(frozen=True)
class Call:
    """One request; `path` starts with /v2, names of headers are in lower case."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def key(self) -> str:
        """The key it was sent with, "" without one."""
        return self.headers.get("authorization", "").removeprefix("Bearer ")


@dataclass(frozen=True)
class Answer:
    """One response.

    It is held back for `delay` seconds, and its body comes one byte in `drip` seconds (0: at once).
    `more` is what a stream gives after it, b"" for nothing new. With `wait` this is not it yet: the
    answer is what `wait` returns, asked again while that is None.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    delay: float = 0.0
    drip: float = 0.0
    more: Iterator[bytes] | None = None
    wait: Callable[[], "Answer | None"] | None = None

    def with_headers(self, **headers: str) -> "Answer":
        """The same with these headers added or replaced; `_` in a name stands for `-`."""
        added = {name.replace("_", "-"): text for name, text in headers.items()}
        return replace(self, headers={**self.headers, **added})


class Cut(Exception):
    """The connection is reset."""


class Problem(Exception):
    """Ends a call with `answer`, an error as the provider words it (RFC 9457)."""

    def __init__(
        self,
        status: int,
        detail: str = "",
        errors: Iterable[str] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        title = HTTPStatus(status).phrase
        body = {"title": title, "status": status, "detail": detail or title, "errors": [*errors]}
        self.answer = Answer(
            status,
            {"Content-Type": "application/problem+json", **(headers or {})},
            json.dumps(body).encode(),
        )


def reply(content: object, status: int = 200) -> Answer:
    """A JSON answer."""
    return Answer(status, {"Content-Type": "application/json"}, json.dumps(content).encode())


def html_page(status: int) -> Answer:
    """A page of the edge, never the API's own word; 403 is for a client it does not like."""
    title = f"<html><head><title>{status}</title></head>"
    html = f"{title}<body>{EDGE_TEXTS[status]}</body></html>"
    headers = {"Content-Type": "text/html; charset=UTF-8", "Server": "cloudflare"}
    return Answer(status, headers, html.encode())


def timestamp(at: float) -> str:
    """Seconds since 1970 in RFC 3339, in milliseconds."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
