"""The sandbox's process, begun by control.start: one account on loopback."""

import asyncio
import json
import os
import random
import secrets
import signal
import socket
import sys
import time
from pathlib import Path

import psutil

from podkit_sandbox.account import Account, Scenario
from podkit_sandbox.containers import ContainerRunner
from podkit_sandbox.processes import sweep
from podkit_sandbox.server import Server
from podkit_sandbox.serverless.webhooks import Webhooks
from podkit_sandbox.serverless.workers import ProcessWorkers

LOOK_SECONDS = 0.1  # between two looks at what is due, and at whether to end
PASSED_ON = ("UV_", "PIP_", "SSL_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
"""Variables of this machine that the installation of the real Open WebUI needs."""

OWN_SETTINGS = {"PODKIT_SANDBOX_OWNER", "PODKIT_SANDBOX_IDLE_MINUTES", "PODKIT_SANDBOX_RECORD"}
"""Variables of this process that no pod needs."""


async def run(root: Path, real_webui: bool) -> None:
    """Serves until it is told to stop, is left alone, or idles for long; then ends all pods."""
    loop = asyncio.get_running_loop()
    key = "rpa_sandbox_" + secrets.token_hex(20)
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, told.set)
    door = socket.create_server(("127.0.0.1", 0))
    host = f"127.0.0.1:{door.getsockname()[1]}"
    url = f"http://{host}/v2"
    server = Server(host, key, os.environ.get("PODKIT_SANDBOX_RECORD", ""))
    passed = _environment_for_pods(real_webui)
    runner = ContainerRunner(root, url, passed, server.touch)
    workers = ProcessWorkers(root, url, passed)
    rng = random.SystemRandom()
    account = Account(time.time, rng, Scenario(), runner, key, url, workers)
    webhooks = Webhooks()
    workers.open(account.platform, account.images)
    listener = await server.open(door, account)
    state = {"api_url": url, "api_key": key, "pid": os.getpid(), "real_webui": real_webui}
    file = root / "state.json"
    _write_secret(file, json.dumps(state))
    idle = 60 * float(os.environ.get("PODKIT_SANDBOX_IDLE_MINUTES", "60"))
    while not told.is_set() and loop.time() < server.touched + idle and _owner_lives():
        account.platform.tick()
        webhooks.call(account.platform.take_webhooks())
        await asyncio.sleep(LOOK_SECONDS)
    file.unlink(missing_ok=True)
    listener.close()
    await asyncio.gather(runner.close(), workers.close(), webhooks.close())


def _owner_lives() -> bool:
    """Whether the process is there that PODKIT_SANDBOX_OWNER names, if it names one."""
    owner = os.environ.get("PODKIT_SANDBOX_OWNER", "")
    return not owner.isdecimal() or psutil.pid_exists(int(owner))


def _environment_for_pods(real_webui: bool) -> dict[str, str]:
    """What pods get of this process's environment."""
    passed = {}
    for name, value in os.environ.items():
        if name.startswith("PODKIT_SANDBOX_") and name not in OWN_SETTINGS:
            passed[name] = value
        if real_webui and name.upper().startswith(PASSED_ON):
            passed[name] = value
    if real_webui:
        passed["PODKIT_REAL_WEBUI"] = "1"
        # The hashes are of wheels for Linux and Python 3.12.
        passed["PODKIT_HASHES"] = "UV_NO_VERIFY_HASHES"
        passed["PODKIT_REAL_UV"] = str(Path(sys.executable).with_name("uv"))
    return passed


def _write_secret(file: Path, text: str) -> None:
    file.unlink(missing_ok=True)
    file.touch(0o600)
    file.write_text(text)


_, _, folder, *options = sys.argv
sweep(Path(folder))
asyncio.run(run(Path(folder), bool(options)))
