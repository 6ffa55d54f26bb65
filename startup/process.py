"""What the steps of a boot share: a log line, a failure with its fix, a child process, a loopback request.

It must never put a secret into the log or a child's arguments, nor into the environment of a child that has no
use for it: a child gets what its .env file here names.
"""

import json
import os
import re
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from string import Template
from typing import Any

DEFAULTS = {"PODKIT_LOCAL": "/opt/podkit", "PODKIT_VOLUME": "/workspace", "HF_TOKEN": ""}
DEFAULTS |= {"PODKIT_API_PORT": "8000", "PODKIT_WEBUI_PORT": "3000", "RUNPOD_POD_ID": "unknown"}
SETTINGS = DEFAULTS | dict(os.environ)
STARTUP = Path(__file__).resolve().parent
LOCAL, VOLUME = Path(SETTINGS["PODKIT_LOCAL"]), Path(SETTINGS["PODKIT_VOLUME"])
POD = SETTINGS["RUNPOD_POD_ID"]
HIDDEN = re.compile(r"WEBUI_|(RUNPOD_API_KEY|PODKIT_API_KEY|HF_TOKEN|HF_HUB_ENABLE_HF_TRANSFER|VIRTUAL_ENV)$")


class Fatal(Exception):
    """A failure that ends the pod: what happened and what to do, each on one line."""

    def __init__(self, reason: str, fix: str, step: str = "") -> None:
        super().__init__(reason)
        self.reason, self.fix, self.step = " ".join(reason.split()), fix, step


def say(text: str) -> None:
    log(f"podkit: {text}")


def log(line: str) -> None:
    print(f"{line}\n", end="", flush=True)  # in one piece: several threads write


def expand(file: str) -> str:
    """A text file of this folder with its $NAMEs replaced by the pod's settings."""
    more = {"PODKIT_STARTUP": str(STARTUP), "MODEL_CLIENT_NAME": SETTINGS["MODEL_SERVED_NAMES"].split()[0]}
    return Template((STARTUP / file).read_text()).substitute(SETTINGS, **more)


def environment(file: str) -> dict[str, str]:
    """The environment for a child: ours without any secret, and the lines of `file`."""
    lines = (line.split("=", 1) for line in expand(file).splitlines() if line and line[0] != "#")
    return {name: value for name, value in os.environ.items() if not HIDDEN.match(name)} | dict(lines)


class Service:
    """A child in a session of its own. Its lines go to the log; the last ones are kept to explain its death."""

    running: "set[Service]" = set()  # noqa: RUF012 - all that a shutdown must end

    def __init__(self, name: str, argv: list[str], env: dict[str, str]) -> None:
        self.name, self.argv, self.env, self.deaths = name, argv, env, 0
        self.start()

    def start(self) -> None:
        try:
            self.process = subprocess.Popen(
                self.argv,
                env=self.env,
                text=True,
                errors="replace",
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
        except OSError as error:
            fix = "use the image that podkit names"
            raise Fatal(f"{self.argv[0]} cannot be started: {error.strerror}", fix) from error
        Service.running.add(self)
        self.tail: deque[str] = deque(maxlen=400)
        self.pump = threading.Thread(target=self._log, args=(self.process.stdout, self.tail), daemon=True)
        self.pump.start()

    def _log(self, lines: Iterable[str], tail: deque[str]) -> None:
        for line in lines:
            tail.append(line)
            log(f"[{self.name}] {line.rstrip()}")

    def failure(self) -> Fatal:
        """What its death means: the first known failure of failures.json in its last lines, else the last line."""
        self.pump.join(2)
        step = "install" if self.name == "uv" else ""
        output, table = "".join(self.tail), json.loads((STARTUP / "failures.json").read_text())
        for known in table.get(self.name, []) + table["any"]:
            if re.search(known["pattern"], output):
                return Fatal(known["reason"], known["fix"], step)
        last = output.strip().rpartition("\n")[2][:300]
        return Fatal(f"{self.name} died with status {self.process.poll()}: {last}", "read the lines above", step)

    def signal(self, number: signal.Signals) -> None:
        with suppress(OSError):
            os.killpg(self.process.pid, number)

    def stop(self, seconds: float) -> None:
        """Ends all of its process group: SIGTERM, `seconds`, SIGKILL."""
        self.signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)
        self.signal(signal.SIGKILL)
        Service.running.discard(self)


def run(name: str, argv: list[str], each: Callable[[], None] = lambda: None) -> None:
    """Runs a program with the environment of `name`.env, calling `each` twice a second. Raises Fatal if it fails."""
    service = Service(name, argv, environment(f"{name}.env"))
    while service.process.poll() is None:
        time.sleep(0.5)
        each()
    Service.running.discard(service)
    if service.process.returncode != 0:
        raise service.failure()


def request(url: str, body: Any = None, key: str = "", timeout: float = 10) -> tuple[int, Any]:
    """Status and JSON of a GET, or of a POST of `body`; (0, None) without an answer. Never through a proxy."""
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
    data = None if body is None else json.dumps(body).encode()
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(urllib.request.Request(url, data, headers), timeout=timeout) as answer:  # noqa: S310
            text = answer.read()
    except urllib.error.HTTPError as error:
        return error.code, None
    except (OSError, HTTPException):
        return 0, None
    with suppress(ValueError):
        return answer.status, json.loads(text)
    return answer.status, None


def wait_healthy(service: Service, base: str) -> None:
    """Returns once /health answers 200, whatever its body. Raises Fatal when the service dies before."""
    while request(f"{base}/health")[0] != 200:
        if service.process.poll() is not None:
            raise service.failure()
        time.sleep(0.5)
