"""Ends the pod: at PODKIT_ENDS_AT, when it never gets ready, and when nobody used the model for a
while.

The platform has no time limit. A process apart: it must never end by itself, nor take a page load
for work.
"""

import math
import os
import re
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from ending import end_pod
from pod_http import request
from pod_log import say
from resources import watch_resources
from users import become

IN_FLIGHT = ("num_requests_running", "num_requests_waiting")
DONE = ("request_success_total", "prompt_tokens_total", "generation_tokens_total")
COUNTER = re.compile(rf"^vllm:({'|'.join(IN_FLIGHT + DONE)})(?:{{.*}})? (\S+)", re.MULTILINE)
LOOK_SECONDS = 2
WARNING_SECONDS = 300
NOT_READY = "it was not ready in time"
IDLE = "no inference"
END_TIME = "its end time has come"


class Watch:
    """Decides; knows no clock, no network and no files. Raises ValueError for a limit that cannot
    be read.
    """

    def __init__(self, env: Mapping[str, str], started: float) -> None:
        ends = env.get("PODKIT_ENDS_AT", "")
        idle_minutes = float(env.get("PODKIT_IDLE_MINUTES", ""))
        boot_minutes = float(env.get("PODKIT_BOOT_MINUTES", ""))
        if not 0 <= idle_minutes < math.inf:
            raise ValueError("PODKIT_IDLE_MINUTES must be a number, 0 or above")
        if not 0 < boot_minutes < math.inf:
            raise ValueError("PODKIT_BOOT_MINUTES must be a number above 0")
        self.ends = math.inf
        if ends:
            moment = datetime.strptime(ends, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
            self.ends = moment.timestamp()
        self.idle = idle_minutes * 60 or math.inf
        self.work = math.inf
        self.in_flight = 0.0
        self.limit = (NOT_READY, started + boot_minutes * 60)  # IDLE from READY on
        self.left: dict[str, float] = {}
        idle = f"{idle_minutes:g}" if idle_minutes else "off"
        say(f"watchdog armed idle={idle} ends={ends or 'off'} boot={boot_minutes:g}")

    def observe(self, now: float, metrics: str) -> None:
        """The pod is ready; `metrics` is vLLM's text, empty if it did not answer.

        A counter that went down is a restart of vLLM. Without metrics the pod is idle, unless
        requests were in flight: what became of them is unknown, so the end time decides.
        """
        found = COUNTER.findall(metrics)
        active = self._count(found) if found else self._may_be_working()
        if self.limit[0] != IDLE or active:
            self.limit = (IDLE, now + self.idle)

    def _count(self, found: list[tuple[str, str]]) -> bool:
        """Whether there was work since the last metrics, or is some now."""
        self.in_flight = 0.0
        before = self.work
        self.work = 0.0
        for name, value in found:
            if name in IN_FLIGHT:
                self.in_flight += float(value)
            else:
                self.work += float(value)
        return self.in_flight > 0 or self.work > before

    def _may_be_working(self) -> bool:
        """Without an end time nothing else would end the pod: then silence is idle."""
        return self.in_flight > 0 and self.ends < math.inf

    def verdict(self, now: float) -> str | None:
        """The reason to end the pod now, or None. Warns when less than 5 minutes are left and more
        were before.
        """
        for reason, moment in ((END_TIME, self.ends), self.limit):
            left = moment - now
            if left <= 0:
                return reason
            if left <= WARNING_SECONDS < self.left.get(reason, 0):
                say(f"watchdog warning: the pod ends in {left / 60:.1f} minutes: {reason}")
            self.left[reason] = left
        return None


def main(started: float, env: Mapping[str, str]) -> None:
    watch = Watch(env, started)
    local = Path(env.get("PODKIT_LOCAL", "/opt/podkit"))
    become("watchdog", [local])
    watch_resources(local)
    ready = local / "ready"
    metrics = f"http://127.0.0.1:{env.get('PODKIT_API_PORT', '8000')}/metrics"
    while True:
        if ready.exists():
            _, text = request(metrics, key=env["PODKIT_API_KEY"])
            watch.observe(time.time(), text)
        reason = watch.verdict(time.time())
        if reason:
            say(f"watchdog ends the pod: {reason}")
            end_pod(env)
        time.sleep(LOOK_SECONDS)


if __name__ == "__main__":
    main(float(sys.argv[1]), os.environ)
