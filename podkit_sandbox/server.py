"""The sandbox's API on loopback. Must never act for a web page or another host: it runs the commands it is given."""

import asyncio
import json
import os
import random
import secrets
import shutil
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import psutil
import uvicorn
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from podkit_sandbox.account import Account, Answer, Call, Cut
from podkit_sandbox.faults import Scenario
from podkit_sandbox.processes import ProcessRunner, sweep
from podkit_sandbox.proxy import LIMIT_SECONDS, Proxy
from podkit_sandbox.wire import JSON, Problem, answer_json, blocked

PASSED_ON = ("UV_", "PIP_", "SSL_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")  # of this machine, for a real install
FOLLOW_SECONDS = 0.2  # between two looks at a followed log


class _Protocol(H11Protocol):
    """Hands its transport to the application, which may have to break the connection."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}


class _Server(uvicorn.Server):
    def capture_signals(self) -> Any:
        return nullcontext()  # the sandbox has its own


class Sandbox:
    """One running sandbox: the account, its pods, the API and the proxies."""

    def __init__(self, root: Path, scenario: Scenario, real_webui: bool) -> None:
        self._root, self._touched, self._real_webui = root, time.monotonic(), real_webui
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._host = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self._key = "rpa_sandbox_" + secrets.token_hex(20)
        self._runner = ProcessRunner(root, f"http://{self._host}/v2", self._extra(), self._open_proxy)
        self._account = Account(time.time, random.SystemRandom(), scenario, self._runner, self._key)
        config = uvicorn.Config(
            self, http=_Protocol, ws="none", lifespan="off", log_config=None, access_log=False,
            date_header=False, server_header=False, timeout_keep_alive=75, timeout_graceful_shutdown=1,
        )  # fmt: skip
        self._server = _Server(config)

    def _extra(self) -> dict[str, str]:
        """What a pod needs to install the real Open WebUI."""
        uv = shutil.which("uv", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}") or "uv"
        passed = {name: value for name, value in os.environ.items() if name.upper().startswith(PASSED_ON)}
        return {**passed, "PODKIT_REAL_WEBUI": "1", "PODKIT_REAL_UV": uv} if self._real_webui else {}

    def _open_proxy(self, target: int) -> Proxy:
        return Proxy(target, self._touch, float(os.environ.get("PODKIT_SANDBOX_PROXY_SECONDS", LIMIT_SECONDS)))

    def _touch(self) -> None:
        self._touched = time.monotonic()

    async def run(self) -> None:
        """Serves until it is told to stop or nobody has called for the idle time; then ends every pod."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, self._leave)
        idle = asyncio.create_task(self._watch(60 * float(os.environ.get("PODKIT_SANDBOX_IDLE_MINUTES", "60"))))
        self._write_state()
        try:
            await self._server.serve(sockets=[self._socket])
        finally:
            idle.cancel()
            (self._root / "state.json").unlink(missing_ok=True)
            await asyncio.to_thread(self._runner.close)

    def _leave(self) -> None:
        self._server.should_exit = True

    async def _watch(self, seconds: float) -> None:
        while (left := self._touched + seconds - time.monotonic()) > 0:
            await asyncio.sleep(left)
        self._leave()

    def _write_state(self) -> None:
        own = psutil.Process()
        state = {"api_url": f"http://{self._host}/v2", "api_key": self._key, "pid": own.pid}
        state |= {"created": own.create_time(), "real_webui": self._real_webui}
        file = self._root / "state.json.new"
        file.unlink(missing_ok=True)
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
            json.dump(state, stream)
        file.rename(self._root / "state.json")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application."""
        request, transport = Request(scope, receive), scope["state"]["transport"]
        try:
            answer = await self._answer(request)
        except Cut:
            transport.abort()
            await asyncio.sleep(0)  # for the server to notice
            return
        await asyncio.sleep(answer.delay)
        headers, response = dict(answer.headers), Response(answer.body, answer.status, dict(answer.headers))
        if answer.more:
            response = StreamingResponse(self._follow(answer), answer.status, headers)
        elif "Content-Length" in headers:
            response = StreamingResponse(self._broken(answer, transport), answer.status, headers)
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Answer:
        headers = dict(request.headers)
        body = await request.body()
        if refused := self._refused(headers, body):
            return refused
        self._touch()
        call = Call(request.method, request.scope["raw_path"].decode(), dict(request.query_params), headers, body)
        if call.path != "/sandbox/scenario":
            return self._account.handle(call)
        if not secrets.compare_digest(headers.get("authorization", ""), f"Bearer {self._key}"):
            return Problem(401, "invalid bearer token").answer()
        try:
            self._account.set_scenario(Scenario.parse(json.loads(body)))
        except ValueError as error:
            return Problem(422, str(error)).answer()
        return answer_json({})

    def _refused(self, headers: dict[str, str], body: bytes) -> Answer | None:
        if headers.get("user-agent", "").startswith("Python-urllib"):
            return blocked()
        if headers.get("host") not in (self._host, self._host.replace("127.0.0.1", "localhost")):
            return Problem(403, "the sandbox answers to its own loopback address only").answer()
        if "origin" in headers:
            return Problem(403, "the sandbox does not answer web pages").answer()
        if body and headers.get("content-type", "").split(";")[0].strip() != JSON:
            return Problem(415, f"the request body must be {JSON}").answer()
        return None

    async def _follow(self, answer: Answer) -> AsyncIterator[bytes]:
        """A log's events until its pod or the sandbox ends."""
        yield answer.body or b":\n\n"
        while answer.more and not self._server.should_exit:
            events = answer.more()
            if events is None:
                return
            if events:
                yield events
            await asyncio.sleep(FOLLOW_SECONDS)

    async def _broken(self, answer: Answer, transport: asyncio.Transport) -> AsyncIterator[bytes]:
        yield answer.body
        transport.close()
        await asyncio.sleep(0)  # for the server to notice


def serve(root: Path, scenario: Scenario, real_webui: bool) -> None:
    """Runs a sandbox in this process until it ends."""
    sweep(root)

    async def run() -> None:
        await Sandbox(root, scenario, real_webui).run()

    asyncio.run(run())
