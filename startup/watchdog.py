"""Ends the pod: at PODKIT_ENDS_AT, when it never gets ready, and when nobody used the model for a while.

The platform has no time limit. A process apart: it must never end by itself, nor take a page load for work.
"""

import itertools
import json
import math
import os
import re
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from http.client import HTTPException
from pathlib import Path
from typing import Any

NAMES = "num_requests_running|num_requests_waiting|request_success_total|prompt_tokens_total|generation_tokens_total"
COUNTER = re.compile(rf"^vllm:({NAMES})(?:{{.*}})? (\S+)", re.MULTILINE)


def say(text: str) -> None:
    print(f"podkit: {text}\n", end="", flush=True)  # in one piece: several threads write


def request(url: str, body: Any = None, key: str = "", timeout: float = 30) -> tuple[int, str]:
    """Status and text of a GET, or of a POST of `body`; (0, "") without an answer. Never through a proxy."""
    headers = {"Content-Type": "application/json", "User-Agent": "podkit-pod/1"}
    headers |= {"Authorization": f"Bearer {key}"} if key else {}
    data = json.dumps(body).encode() if body else None
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(urllib.request.Request(url, data, headers), timeout=timeout) as answer:  # noqa: S310
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, ""
    except (OSError, HTTPException, ValueError):
        return 0, ""


class Watch:
    """Decides; knows no clock, no network and no files. Raises ValueError for a limit that cannot be read."""

    def __init__(self, env: Mapping[str, str], started: float) -> None:
        ends, idle, boot = (
            env.get(f"PODKIT_{name}", "") for name in ("ENDS_AT", "IDLE_MINUTES", "BOOT_MINUTES")
        )
        if not (0 <= float(idle) < math.inf and 0 < float(boot) < math.inf):
            raise ValueError("PODKIT_IDLE_MINUTES and PODKIT_BOOT_MINUTES must be positive numbers")
        self.ends = (
            datetime.strptime(ends, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp()
            if ends
            else math.inf
        )
        self.idle, self.work = float(idle) * 60 or math.inf, math.inf
        self.limit = (
            "it was not ready in time",
            started + float(boot) * 60,
        )  # no inference, from READY on
        self.left: dict[str, float] = {}
        say(
            f"watchdog armed idle={idle if float(idle) else 'off'} ends={ends or 'off'} boot={boot}"
        )

    def observe(self, now: float, metrics: str) -> None:
        """The pod is ready. Without metrics it is idle; a counter that went down is a restart of vLLM."""
        found = [(name, float(value)) for name, value in COUNTER.findall(metrics)]
        in_flight = sum(value for name, value in found if name.startswith("num_"))
        work = sum(value for _, value in found) - in_flight
        if self.limit[0] != "no inference" or in_flight > 0 or work > self.work:
            self.limit = ("no inference", now + self.idle)
        if found:
            self.work = work

    def verdict(self, now: float) -> str | None:
        """The reason to end the pod now, or None. Warns when less than 5 minutes are left and more were before."""
        for reason, moment in (("its end time has come", self.ends), self.limit):
            left = moment - now
            if left <= 0:
                return reason
            if left <= 300 < self.left.get(reason, 0):
                say(f"watchdog warning: the pod ends in {left / 60:.1f} minutes: {reason}")
            self.left[reason] = left
        return None


def terminate(sleep: Callable[[float], None] = time.sleep) -> None:
    """Returns once the API says that the pod is gone: 2xx or 404. After 5 failures asks for a stop too."""
    url = os.environ.get("RUNPOD_API_URL", "https://api.runpod.io/v2")
    url, key = (
        f"{url}/pods/{os.environ.get('RUNPOD_POD_ID')}/action",
        os.environ.get("RUNPOD_API_KEY", ""),
    )
    for pause in itertools.chain((5, 10, 20, 40), itertools.repeat(60)):
        status, _ = request(url, {"action": "terminate"}, key)
        say(f"terminate: HTTP {status}")
        if 200 <= status < 300 or status == 404:
            return
        if pause == 60:
            say(f"stop: HTTP {request(url, {'action': 'stop'}, key)[0]}")
        sleep(pause)


def main(started: float) -> None:
    env, watch = os.environ, Watch(os.environ, started)
    metrics = f"http://127.0.0.1:{env.get('PODKIT_API_PORT', '8000')}/metrics"
    while True:
        if Path(env.get("PODKIT_LOCAL", "/opt/podkit"), "ready").exists():
            watch.observe(time.time(), request(metrics, key=env["PODKIT_API_KEY"])[1])
        if reason := watch.verdict(time.time()):
            say(f"watchdog ends the pod: {reason}")
            terminate()
        time.sleep(60 if reason else 2)


if __name__ == "__main__":
    terminate() if sys.argv[1] == "terminate" else main(float(sys.argv[1]))
