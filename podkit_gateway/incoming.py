"""What comes in over ASGI, read with care: one of each header, a bounded body, and the news that
the client has left.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

from podkit_gateway.errors import ClientGone, Refusal
from podkit_gateway.openai import invalid

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


def read_headers(scope: Scope) -> dict[bytes, bytes]:
    """The headers by name. Raises Refusal if one that decides about trust is there twice."""
    headers: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        if name in headers and name in {b"authorization", b"x-api-key", b"content-type", b"host"}:
            raise invalid(f"The header {name.decode('ascii')} is there twice.")
        headers.setdefault(name, value)
    return headers


def read_text(headers: dict[bytes, bytes], name: bytes) -> str:
    return headers.get(name, b"").decode("latin-1").strip()


def choose_request_id(headers: dict[bytes, bytes], new_id: str) -> str:
    """The client's own id if it is a plain word, otherwise a new one."""
    given = read_text(headers, b"x-request-id")
    return given if REQUEST_ID.fullmatch(given) else new_id


def client_address(scope: Scope, trusted: Sequence[str]) -> str:
    """Who has connected: the peer, or whom a trusted proxy says it speaks for.

    The list in X-Forwarded-For is read from its end, past trusted proxies only: whatever a client
    wrote stands before that. A proxy may have added a header of its own to the client's.
    """
    peer = scope.get("client")
    address = peer[0] if peer else ""
    if not trusted:
        return address
    lists = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
    forwarded = [word.strip() for word in b",".join(lists).decode("latin-1").split(",")]
    while forwarded and is_within(address, trusted):
        nearer = forwarded.pop()
        if not is_address(nearer):
            break
        address = nearer
    return address


def is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def is_within(address: str, networks: Sequence[str]) -> bool:
    if not networks or not is_address(address):
        return False
    parsed = ipaddress.ip_address(address)
    return any(parsed in ipaddress.ip_network(network) for network in networks)


async def read_body(
    receive: Receive, headers: dict[bytes, bytes], limit: int, seconds: float
) -> bytes:
    """The whole body. Raises Refusal over `limit` bytes (413) or `seconds` (408), ClientGone if the
    client leaves.
    """
    declared = read_text(headers, b"content-length")
    if declared.isdecimal() and int(declared) > limit:
        raise too_large(limit)
    pieces: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(seconds):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientGone
                piece = message.get("body", b"")
                size += len(piece)
                if size > limit:
                    raise too_large(limit)
                pieces.append(piece)
                if not message.get("more_body"):
                    return b"".join(pieces)
    except TimeoutError:
        raise Refusal(
            408,
            "timeout",
            f"The body did not arrive within {seconds:g} s.",
            headers=(("connection", "close"),),
        ) from None


def too_large(limit: int) -> Refusal:
    return Refusal(
        413,
        "invalid_request_error",
        f"The body is larger than {limit} bytes.",
        code="request_too_large",
        headers=(("connection", "close"),),
    )


async def wait_for_leaving(receive: Receive) -> None:
    """Returns when the client closes its connection."""
    while (await receive())["type"] != "http.disconnect":
        pass
