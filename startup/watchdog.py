"""Ends the pod: at PODKIT_ENDS_AT, when it never gets ready, and when nobody used the model for a while.

The platform has no time limit of its own. This is a process apart, started before anything that can fail,
and it shares no code with the rest. It must never end by itself, nor take a page load for work.
`python3 watchdog.py terminate` ends the pod at once.
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
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.client import HTTPException
from pathlib import Path

WARN_SECONDS = 300.0
COUNTER = re.compile(
    r"^vllm:(num_requests_running|num_requests_waiting"
    r"|request_success_total|prompt_tokens_total|generation_tokens_total)(?:\{.*\})? (\S+)"
)


def say(text: str) -> None:
    print(f"podkit: watchdog {text}", flush=True)


@dataclass(frozen=True)
class Limits:
    """Seconds; `ends_at` is a moment since the epoch. None: no such limit."""

    ends_at: float | None
    idle: float | None
    boot: float

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "Limits":
        """Raises ValueError for what cannot be read: a pod must not run without the limits it was given."""
        ends = env.get("PODKIT_ENDS_AT", "")
        moment = datetime.strptime(ends, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC) if ends else None
        idle = float(env.get("PODKIT_IDLE_MINUTES") or 30)
        boot = float(env.get("PODKIT_BOOT_MINUTES") or 30)
        if not (math.isfinite(idle) and math.isfinite(boot) and idle >= 0 and boot > 0):
            raise ValueError("PODKIT_IDLE_MINUTES and PODKIT_BOOT_MINUTES must be positive numbers")
        return cls(moment.timestamp() if moment else None, idle * 60 or None, boot * 60)


@dataclass(frozen=True)
class Activity:
    """vLLM's metrics: requests in flight, and the sum of the counters that only work moves."""

    in_flight: float
    work: float


def parse_metrics(text: str) -> Activity:
    in_flight = work = 0.0
    for line in text.splitlines():
        if match := COUNTER.match(line):
            if match[1].startswith("num_"):
                in_flight += float(match[2])
            else:
                work += float(match[2])
    return Activity(in_flight, work)


@dataclass
class Watch:
    """Decides; knows no clock, no network and no files."""

    limits: Limits
    started: float
    idle_since: float | None = None
    work: float | None = None
    warned: set[str] = field(default_factory=set)

    def observe(self, now: float, ready: bool, activity: Activity | None) -> None:
        """Idle counts from READY. No answer (None) is idle; a counter that went down is a restart of vLLM."""
        if not ready:
            return
        if self.idle_since is None:
            self.idle_since = now
        if activity is None:
            return
        if activity.in_flight > 0 or (self.work is not None and activity.work > self.work):
            self.idle_since = now
        self.work = activity.work

    def deadlines(self) -> dict[str, float]:
        """The moments at which the pod ends, by reason."""
        found = {}
        if self.limits.ends_at is not None:
            found["its end time has come"] = self.limits.ends_at
        if self.idle_since is None:
            found["it was not ready in time"] = self.started + self.limits.boot
        elif self.limits.idle is not None:
            found["no inference"] = self.idle_since + self.limits.idle
        return found

    def verdict(self, now: float) -> str | None:
        """The reason to end the pod now, or None. Warns once, 5 minutes ahead of each reason."""
        for reason, moment in self.deadlines().items():
            left = moment - now
            if left <= 0:
                return reason
            if left > WARN_SECONDS:
                self.warned.discard(reason)
            elif reason not in self.warned:
                self.warned.add(reason)
                say(f"warning: the pod ends in {left / 60:.1f} minutes: {reason}")
        return None


def read_activity(port: str, key: str) -> Activity | None:
    """None if vLLM does not answer. Never through a proxy: the key stays on this machine."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", headers={"Authorization": f"Bearer {key}"})
    try:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=10) as answer:
            return parse_metrics(answer.read().decode(errors="replace"))
    except (OSError, HTTPException, ValueError):
        return None


def act(action: str, env: Mapping[str, str] = os.environ) -> int:
    """Sends `action` for this pod. Returns the HTTP status, 0 if there was no answer."""
    api = env.get("RUNPOD_API_URL") or "https://api.runpod.io/v2"
    request = urllib.request.Request(  # noqa: S310 - the scheme is the deployer's
        f"{api}/pods/{env.get('RUNPOD_POD_ID', 'unknown')}/action",
        data=json.dumps({"action": action}).encode(),
        headers={
            "Authorization": f"Bearer {env.get('RUNPOD_API_KEY', '')}",
            "Content-Type": "application/json",
            "User-Agent": "podkit-pod/1",
        },
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except (OSError, HTTPException, ValueError):
        return 0


def terminate(send: Callable[[str], int] = act, sleep: Callable[[float], None] = time.sleep) -> None:
    """Returns once the API says that the pod is gone: 2xx or 404. After 5 failures asks for a stop too."""
    for attempt in itertools.count(1):
        status = send("terminate")
        say(f"terminate: HTTP {status}")
        if 200 <= status < 300 or status == 404:
            return
        if attempt >= 5:
            say(f"stop: HTTP {send('stop')}")
        sleep(min(60.0, 5.0 * 2 ** min(attempt - 1, 4)))


def watch() -> None:
    local = Path(os.environ.get("PODKIT_LOCAL", "/opt/podkit"))
    limits = Limits.from_env(os.environ)
    port, key = os.environ.get("PODKIT_API_PORT", "8000"), os.environ.get("PODKIT_API_KEY", "")
    idle = f"{limits.idle / 60:g}" if limits.idle else "off"
    say(f"armed idle={idle} ends={os.environ.get('PODKIT_ENDS_AT') or 'off'} boot={limits.boot / 60:g}")
    state = Watch(limits, float((local / "started").read_text()))
    while True:
        ready = (local / "ready").exists()
        activity = read_activity(port, key) if ready and limits.idle else None
        state.observe(time.time(), ready, activity)
        if reason := state.verdict(time.time()):
            say(f"ends the pod: {reason}")
            terminate()
        nearest = min(state.deadlines().values(), default=math.inf) - time.time()
        time.sleep(5.0 if reason else max(0.5, min(5.0, nearest)))


if __name__ == "__main__":
    terminate() if sys.argv[1:] == ["terminate"] else watch()
