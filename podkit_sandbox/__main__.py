"""The sandbox's process, begun by control.start: its API on loopback. Must never act for a web page or another host."""

import asyncio
import json
import os
import random
import secrets
import signal
import sys
import time
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import parse_qsl

from podkit_sandbox.account import Account, Answer, Call, Cut, Scenario
from podkit_sandbox.processes import ProcessRunner, sweep
from podkit_sandbox.wire import CATALOG, Problem, page, reply

FOLLOW_SECONDS = 0.2  # between two looks at a followed log, or at the time


class Sandbox:
    """One running sandbox. It speaks HTTP itself, as faults break what a framework would keep whole."""

    async def run(self, root: Path, real_webui: bool) -> None:
        """Serves until it is told to stop or nobody has called for the idle time; then ends every pod."""
        self._touch()
        self._key = "rpa_sandbox_" + secrets.token_hex(20)
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self._host = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        url = f"http://{self._host}/v2"
        passed = tuple(
            CATALOG["passedOn"]
        )  # of this machine, for the installation of the real Open WebUI
        real = {
            name: value for name, value in os.environ.items() if name.upper().startswith(passed)
        }
        real |= {
            "PODKIT_REAL_WEBUI": "1",
            "PODKIT_REAL_UV": str(Path(sys.executable).with_name("uv")),
        }
        extra = {
            name: value for name, value in os.environ.items() if name.startswith("PODKIT_SANDBOX_")
        }
        runner = ProcessRunner(root, url, extra | real if real_webui else extra, self._touch)
        self._account = Account(time.time, random.SystemRandom(), Scenario(), runner, self._key)
        told = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, told.set)
        file = root / "state.json"
        file.unlink(missing_ok=True)
        file.touch(0o600)
        state = {"api_url": url, "api_key": self._key, "pid": os.getpid(), "real_webui": real_webui}
        file.write_text(json.dumps(state))
        idle = 60 * float(os.environ.get("PODKIT_SANDBOX_IDLE_MINUTES", "60"))
        while not told.is_set() and time.monotonic() < self._touched + idle:
            await asyncio.sleep(FOLLOW_SECONDS)
        file.unlink(missing_ok=True)
        server.close()
        await runner.close()

    def _touch(self) -> None:
        self._touched = time.monotonic()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer), suppress(OSError, EOFError):
            try:
                answer = self._answer(await _call(reader))
            except Cut:
                writer.transport.abort()
                return
            await asyncio.sleep(answer.delay)
            writer.write(answer.http())
            for events in answer.more or ():
                writer.write(events)
                await writer.drain()
                if reader.at_eof():
                    break
                await asyncio.sleep(FOLLOW_SECONDS)

    def _answer(self, call: Call) -> Answer:
        """Calls of its own at /sandbox/scenario: POST replaces the scenario, GET looks whether the sandbox is there."""
        if call.headers.get("user-agent", "").startswith("Python-urllib"):
            return page(403)
        if call.headers.get("host") != self._host or "origin" in call.headers:
            return Problem(
                403, "the sandbox answers to its own loopback address only, and no web page"
            ).answer
        if (
            call.body
            and call.headers.get("content-type", "").partition(";")[0] != "application/json"
        ):
            return Problem(415, "the request body must be application/json").answer
        self._touch()
        if call.path != "/sandbox/scenario":
            answer = self._account.handle(call)
            if record := os.environ.get(
                "PODKIT_SANDBOX_RECORD"
            ):  # for a look at the whole traffic afterwards
                row = [
                    call.method,
                    call.path,
                    call.query,
                    call.body.decode(),
                    answer.status,
                    answer.body.decode(),
                ]
                with open(record, "a") as file:
                    file.write(json.dumps(row) + "\n")
            return answer
        if call.headers.get("authorization") != f"Bearer {self._key}":
            return Problem(401, "invalid bearer token").answer
        try:
            if call.method == "POST":
                self._account.set_scenario(Scenario.parse(json.loads(call.body)))
        except (ValueError, TypeError) as error:
            return Problem(422, str(error)).answer
        return reply({})


async def _call(reader: asyncio.StreamReader) -> Call:
    line, *rows = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, target, _ = line.split(" ")
    path, _, query = target.partition("?")
    headers = {
        name.lower(): value.strip()
        for name, _, value in (row.partition(":") for row in rows if row)
    }
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Call(method, path, dict(parse_qsl(query)), headers, body)


_, _, folder, *options = sys.argv
sweep(Path(folder))
asyncio.run(Sandbox().run(Path(folder), bool(options)))
