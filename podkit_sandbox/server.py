"""HTTP on loopback, spoken by itself: the faults break what a framework keeps whole.

Must never act for a web page or another host, nor read a body before it knows the key.
"""

import asyncio
import json
import re
import socket
from contextlib import closing, suppress
from http import HTTPStatus
from urllib.parse import parse_qsl

from podkit_sandbox.account import Account, is_worker_call
from podkit_sandbox.scenario import Scenario
from podkit_sandbox.serverless.services import read_service
from podkit_sandbox.wire import Answer, Call, Cut, Problem, html_page, reply

POLL_SECONDS = 0.01  # between two looks at an answer that is held back
FOLLOW_SECONDS = 0.2  # between two looks at a followed log
DRAIN_SECONDS = 1.0  # for what a client still sends after an early refusal
HEAD_LIMIT = 65_536  # bytes of a request's line and headers
SCENARIO_LIMIT = 1_000_000  # bytes
CHUNK = 65_536


class Server:
    """Carries calls to the account, and the sandbox's own calls at /sandbox/."""

    def __init__(self, host: str, key: str, record: str) -> None:
        """`host` is the address it answers to; `record` a file for every call, "" for none."""
        self._host = host
        self._key = key
        self._record_file = record
        self.touched = asyncio.get_running_loop().time()

    async def open(self, door: socket.socket, account: Account) -> asyncio.Server:
        """Begins to answer for that account."""
        self._account = account
        return await asyncio.start_server(self._serve, sock=door, limit=HEAD_LIMIT)

    def touch(self) -> None:
        """Notes that the sandbox is in use."""
        self.touched = asyncio.get_running_loop().time()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers the calls of one connection."""
        link = writer.get_extra_info("socket")
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # a short answer waits for none
        with closing(writer), suppress(OSError, EOFError, asyncio.LimitOverrunError):
            while await self._serve_one(reader, writer):
                pass

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Whether the connection may carry another call."""
        try:
            call = await _read_head(reader)
            self._admit(call)
            call = await _read_body(reader, call, self._limit(call))
        except Problem as problem:
            await _refuse(problem.answer, reader, writer)
            return False
        try:
            answer = await self._wait(self._answer(call), reader)
        except Cut:
            writer.transport.abort()
            return False
        await asyncio.sleep(answer.delay)
        whole = answer.more is None and "Content-Length" not in answer.headers
        keep = whole and call.headers.get("connection", "").lower() != "close"
        await _write(answer, keep, reader, writer)
        return keep

    def _admit(self, call: Call) -> None:
        """Raises Problem for who may not call at all, before any body is read."""
        if "origin" in call.headers or call.headers.get("host") != self._host:
            raise Problem(403, "the sandbox answers to its own loopback address, and no web page")
        if call.headers.get("user-agent", "").startswith("Python-urllib"):
            return  # the edge answers, whatever the key
        if call.path.startswith("/sandbox/"):
            if call.key != self._key:
                raise Problem(401, "invalid bearer token")
        elif call.path.startswith("/v2/") and int(call.headers.get("content-length", "0")) > 0:
            self._account.admit(call)

    def _limit(self, call: Call) -> int:
        if call.path.startswith("/sandbox/"):
            return SCENARIO_LIMIT
        return self._account.body_limit(call)

    async def _wait(self, answer: Answer, reader: asyncio.StreamReader) -> Answer:
        """The answer that is held back, once it is there. Raises Cut, also if the client left."""
        while answer.wait:
            if reader.at_eof():  # a job must not be handed to a worker that is gone
                raise Cut
            found = answer.wait()
            if found:
                return found
            await asyncio.sleep(POLL_SECONDS)
        return answer

    def _answer(self, call: Call) -> Answer:
        if call.headers.get("user-agent", "").startswith("Python-urllib"):
            return html_page(403)
        kind = call.headers.get("content-type", "").partition(";")[0]
        if call.path.startswith("/sandbox/"):
            self.touch()
            return self._own(call)
        if not call.path.startswith("/v2/"):
            return html_page(200 if call.path == "/login" else 404)
        if is_worker_call(call):
            return self._account.handle(call)
        if call.body and kind != "application/json":
            return Problem(415, "the request body must be application/json").answer
        self.touch()
        answer = self._account.handle(call)
        self._record(call, answer)
        return answer

    def _own(self, call: Call) -> Answer:
        """The sandbox's own calls, which no fault concerns.

        POST /sandbox/scenario replaces the scenario, GET looks whether the sandbox is there.
        POST /sandbox/images says which folder holds the service of an image.
        """
        try:
            if (call.method, call.path) == ("POST", "/sandbox/scenario"):
                self._account.set_scenario(Scenario.parse(json.loads(call.body)))
            elif (call.method, call.path) == ("POST", "/sandbox/images"):
                image, service = read_service(json.loads(call.body))
                self._account.images[image] = service
            elif call.path != "/sandbox/scenario":
                return Problem(404, "resource not found").answer
        except (ValueError, TypeError, AttributeError) as error:
            return Problem(422, str(error)).answer
        return reply({})

    def _record(self, call: Call, answer: Answer) -> None:
        """Adds the call and its answer to a file, for a look at the whole traffic afterwards."""
        if not self._record_file:
            return
        body = call.body.decode(errors="replace")
        said = answer.body.decode(errors="replace")
        row = [call.method, call.path, dict(call.query), body, answer.status, said]
        with open(self._record_file, "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


async def _read_head(reader: asyncio.StreamReader) -> Call:
    """A call without its body. Raises Problem 400 for what is not HTTP/1.1."""
    head = await reader.readuntil(b"\r\n\r\n")
    line, *rows = head.decode("latin-1").split("\r\n")
    words = line.split(" ")
    if len(words) != 3:
        raise Problem(400, "not an HTTP request")
    headers = {}
    for row in rows:
        name, _, text = row.partition(":")
        if name:
            headers[name.lower()] = text.strip()
    if "transfer-encoding" in headers:
        raise Problem(411, "the request needs a Content-Length")
    if not re.fullmatch(r"\d{1,15}", headers.get("content-length", "0"), re.ASCII):
        raise Problem(400, "Content-Length is no number")
    path, _, query = words[1].partition("?")
    pairs = parse_qsl(query, keep_blank_values=True)
    return Call(words[0], path, dict(pairs), headers)


async def _read_body(reader: asyncio.StreamReader, call: Call, limit: int) -> Call:
    """The call with its body. Raises Problem 413, before it is read, if it is too large."""
    length = int(call.headers.get("content-length", "0"))
    if length > limit:
        raise Problem(413, f"request body is over {limit} bytes")
    body = await reader.readexactly(length)
    return Call(call.method, call.path, call.query, call.headers, body)


async def _refuse(
    answer: Answer,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    """Answers although a body may still come: closing on unread bytes would destroy the answer."""
    await _write(answer, False, reader, writer)
    with suppress(OSError, TimeoutError):
        writer.write_eof()
        async with asyncio.timeout(DRAIN_SECONDS):
            while await reader.read(CHUNK):
                pass


async def _write(
    answer: Answer,
    keep: bool,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    """Sends the answer, and then what its stream gives until the client leaves."""
    headers = {"Connection": "keep-alive" if keep else "close"}
    if answer.more is None and answer.status != 204:
        headers["Content-Length"] = str(len(answer.body))
    headers |= answer.headers
    phrase = HTTPStatus(answer.status).phrase if answer.status in [*HTTPStatus] else ""
    lines = [f"HTTP/1.1 {answer.status} {phrase}"]
    for name, text in headers.items():
        lines.append(f"{name}: {text}")
    head = "\r\n".join([*lines, "", ""]).encode()
    if answer.drip:
        writer.write(head)
        for byte in answer.body:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(answer.drip)
    else:
        writer.write(head + answer.body)
        await writer.drain()
    for events in answer.more or ():
        writer.write(events)
        await writer.drain()
        if reader.at_eof():
            break
        await asyncio.sleep(FOLLOW_SECONDS)
