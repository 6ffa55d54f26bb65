"""Which part of the account answers a call; an unknown path is answered here."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from podkit_sandbox.scenario import Drawn
from podkit_sandbox.shapes import read_body, read_query
from podkit_sandbox.wire import Answer, Call, Problem, reply


@dataclass(frozen=True)
class Request:
    """A call on its way to what answers it: its route, the ids in its path, its faults."""

    call: Call
    route: str
    ids: tuple[str, ...]
    drawn: Drawn

    def body(self) -> dict[str, Any]:
        """The JSON object that was sent. Raises Problem 422 if it is not of the route's shape."""
        return read_body(self.call, self.route)

    def query(self) -> dict[str, Any]:
        """The query parameters that the route knows. Raises Problem 422."""
        return read_query(self.call, self.route)


Respond = Callable[[Request], Answer]


def find_route(
    routes: Mapping[str, Respond],
    call: Call,
    drawn: Drawn,
) -> tuple[Respond, Request]:
    """What answers the call, and the request to hand it.

    Raises Problem 404, or 405 with the methods that the path allows.
    """
    path = call.path.removeprefix("/v2")
    allowed = []
    for route, respond in routes.items():
        method, _, pattern = route.partition(" ")
        found = re.fullmatch(re.sub(r"\{\w+\}", "([^/]+)", pattern), path)
        if not found:
            continue
        if method == call.method:
            ids = tuple(unquote(part) for part in found.groups())
            return respond, Request(call, route, ids, drawn)
        allowed.append(method)
    if allowed:
        raise Problem(405, headers={"Allow": ", ".join(sorted(allowed))})
    raise Problem(404, "resource not found")


def page_of(name: str, items: list[Any], query: Mapping[str, Any]) -> Answer:
    """One page of a list, as `limit` and `cursor` ask. Raises Problem 422 for a foreign cursor."""
    cursor = query.get("cursor", "0")
    if not re.fullmatch(r"\d{1,9}", cursor, re.ASCII):
        raise Problem(422, "Request validation failed.", ["$.cursor: not from a list of this API"])
    start = int(cursor)
    end = start + query.get("limit", 1000)
    more = end < len(items)
    following = str(end) if more else None
    pagination = {"nextCursor": following, "hasNextPage": more}
    return reply({name: items[start:end], "pagination": pagination})
