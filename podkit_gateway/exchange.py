"""One request and its answer: what is known of both, and the end that every exchange has, however
it went.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from podkit_gateway.backends import Route
from podkit_gateway.config import ModelConfig
from podkit_gateway.domain import Caller, Tokens
from podkit_gateway.errors import Refusal
from podkit_gateway.incoming import Send
from podkit_gateway.limits import Admission
from podkit_gateway.openai import Asked, envelope, with_fields
from podkit_gateway.streams import KEEP_ALIVE

CLIENT_LEFT = 499
"""The status that logs and usage show for a client that closed its connection; nobody receives it.
"""
LEFT = "the client has left"
"""Why a request is cancelled here; anything else that cancels it is not ours to catch."""


@dataclass(frozen=True)
class Order:
    """What an admitted caller has asked for."""

    caller: Caller
    asked: Asked
    body: bytes
    kind: str
    model: ModelConfig
    most_tokens: int | None
    """The cap on the answer's tokens; None if there is none."""
    route: Route | None
    """Where it goes; None while nothing that could answer is awake."""

    def is_folded_from(self, route: Route) -> bool:
        """Whether an answer that is wanted whole is asked for as a stream."""
        streams = self.kind in {"chat", "completion"}
        return route.backend.config.fold and streams and not self.asked.stream

    def body_for(self, route: Route) -> bytes:
        """The body as this backend gets it."""
        changed: dict[str, Any] = {}
        if route.model.served != self.asked.model:
            changed["model"] = route.model.served
        folded = self.is_folded_from(route)
        if folded:
            changed["stream"] = True
        if (folded or self.asked.stream) and not self.asked.wants_usage:
            options = self.asked.fields.get("stream_options")
            known = options if isinstance(options, dict) else {}
            changed["stream_options"] = {**known, "include_usage": True}
        capped = self.most_tokens is not None and self.asked.max_tokens is None
        if capped and self.kind != "embedding":
            changed["max_tokens"] = self.most_tokens
        return with_fields(self.body, self.asked, changed)


@dataclass
class Exchange:
    """Filled in while the request goes its way; times are seconds of a steady clock."""

    path: str
    send: Send
    id: str
    """Our own, new for every request."""
    request_id: str
    """The client's own if it sent one, otherwise ours."""
    started: float
    kind: str
    address: str = ""
    headers: dict[bytes, bytes] = field(default_factory=dict)
    caller: Caller | None = None
    model_asked: str = ""
    """As gateway.toml has it; empty if it has no such model."""
    bytes_in: int = 0
    admission: Admission | None = None
    route: Route | None = None
    status: int = 0
    reason: str = ""
    """Why it was refused, as a word of ours."""
    tokens: Tokens = field(default_factory=Tokens)
    first_byte: float | None = None
    bytes_out: int = 0
    began: bool = False
    """Whether the head of the answer has gone out."""
    complete: bool = False
    """Whether all of the answer is there, and is being handed to the server."""
    extra: list[tuple[bytes, bytes]] = field(default_factory=list)

    @property
    def may_fall_back(self) -> bool:
        """Whether another model may answer; the client can forbid it."""
        return self.headers.get(b"x-podkit-no-fallback", b"0") in {b"", b"0"}

    async def begin(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """Sends the head of the answer."""
        self.began = True
        self.status = status
        await self.send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [*headers, *self.own_headers()],
            }
        )

    async def write(self, data: bytes) -> None:
        self.bytes_out += len(data)
        await self.send({"type": "http.response.body", "body": data, "more_body": True})

    async def say_nothing(self) -> None:
        """Sends a comment into a stream, which clients skip."""
        await self.send({"type": "http.response.body", "body": KEEP_ALIVE, "more_body": True})

    async def end(self, data: bytes = b"") -> None:
        """Sends the last bytes. Whoever has them may ask again at once: the place is free and the
        tokens are counted before.
        """
        self.complete = True
        await self.settle()
        self.bytes_out += len(data)
        await self.send({"type": "http.response.body", "body": data})

    async def settle(self) -> None:
        """Gives back what the request holds, and counts its tokens; once."""
        if self.admission is not None:
            await self.admission.finish(self.tokens.total)

    async def refuse(self, refusal: Refusal) -> None:
        """Answers with an error: as a whole answer, or as the last event of a stream that has
        begun.
        """
        self.reason = refusal.code or refusal.kind
        if self.complete:
            return
        body = envelope(refusal)
        if self.began:
            self.status = refusal.status
            await self.end(b"data: " + body + b"\n\n")
            return
        headers = [(name.encode(), value.encode()) for name, value in refusal.headers]
        await self.answer(refusal.status, body, headers)

    async def answer(self, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        """Sends a whole JSON answer."""
        length = (b"content-length", str(len(body)).encode())
        await self.begin(status, [(b"content-type", b"application/json"), length, *headers])
        await self.end(body)

    def own_headers(self) -> list[tuple[bytes, bytes]]:
        """Who made the answer, under which id, and what is left of the limits."""
        headers = [(b"x-request-id", self.request_id.encode()), *self.extra]
        if self.admission is not None:
            headers += self.admission.headers()
        if self.route is not None:
            headers.append((b"x-podkit-backend", self.route.backend.config.name.encode()))
            headers.append((b"x-podkit-model", self.route.model.served.encode()))
            if self.route.fallback:
                text = f"{self.route.model.name}; reason={self.route.fallback}"
                headers.append((b"x-podkit-fallback", text.encode()))
        return headers
