"""What a pod is, in the sandbox: its request, its life, its log. Must never decide what an API call does."""

import itertools
import json
import shlex
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from podkit_sandbox.catalog import Gpu


def moment(at: float) -> str:
    """Seconds since 1970 in RFC 3339."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True)
class Line:
    """A log line; `n` counts a pod's lines, `at` is the moment, `source` is container or system."""

    n: int
    at: float
    source: str
    text: str


@dataclass(frozen=True)
class Runtime:
    """A running container: seconds since it started, and the loopback port behind each private one."""

    uptime: float
    ports: dict[int, int]


@dataclass
class Pod:
    """A pod, living or ended; moments are seconds of the account's clock, `rate` is USD per hour."""

    id: str
    body: dict[str, Any]
    gpu: Gpu
    place: str
    key: str
    rate: float
    created: float
    status: str = "RUNNING"
    started: float = 0.0
    ended: float | None = None
    hidden_until: float = 0.0
    stuck_until: float = 0.0
    pulling: bool = False  # while stuck, the system log shows an image pull
    pulled: int = 0
    crash_seconds: float | None = None  # the container is killed after so long, every time
    restart_seconds: float | None = None  # the same, once
    restarts: int = 0
    lines: deque[Line] = field(default_factory=lambda: deque(maxlen=5000))
    count: Iterator[int] = field(default_factory=itertools.count)

    @property
    def name(self) -> str:
        return str(self.body["name"])

    @staticmethod
    def volume_of(body: dict[str, Any]) -> str | None:
        """Id of the network volume that a create request mounts."""
        mounts = body.get("mounts", {}).get("network") or [{}]
        volume: str | None = mounts[0].get("volumeId")
        return volume

    @property
    def ports(self) -> list[int]:
        """The private HTTP ports."""
        return [int(port.split("/")[0]) for port in self.body.get("ports", []) if port.endswith("/http")]

    def log(self, source: str, text: str, at: float) -> None:
        """Adds a line; safe from any thread."""
        self.lines.append(Line(next(self.count), at, source, text))

    def command(self) -> list[str]:
        """entrypoint + cmd; `args` is a JSON object with both, or words without any expansion. Raises ValueError."""
        args = self.body.get("args", "")
        given = json.loads(args) if args.startswith("{") else {"cmd": shlex.split(args)}
        return [str(word) for key in ("entrypoint", "cmd") for word in self.body.get(key) or given.get(key) or []]


class Runner(Protocol):
    """Runs pods; `stop` of a pod that never started or already stopped does nothing."""

    def start(self, pod: Pod) -> None: ...
    def stop(self, pod: Pod) -> None: ...
    def runtime(self, pod: Pod) -> Runtime | None: ...


class PaperRunner:
    """Runs pods on paper, for tests in one process: everything follows from the clock."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock

    def start(self, pod: Pod) -> None:
        pod.log("system", "start container", self._clock())

    def stop(self, pod: Pod) -> None:
        pod.log("system", "stop container", self._clock())

    def runtime(self, pod: Pod) -> Runtime:
        up, ports = self._clock() - pod.started, {port: port for port in pod.ports}
        period = pod.crash_seconds or pod.restart_seconds
        if period is None:
            return Runtime(up, ports)
        restarts = int(up // period) if pod.crash_seconds else int(up >= period)
        for n in range(pod.restarts, restarts):
            pod.log("system", "container exited with code 1, start container", pod.started + (n + 1) * period)
        pod.restarts = restarts
        return Runtime(up - restarts * period, ports)


class Events:
    """A pod's log as server-sent events: each call gives what came since the last one, None after the pod's end."""

    def __init__(self, pod: Pod, source: str | None, tail: int, seen: int | None) -> None:
        self._pod, self._source = pod, source
        lines = self._lines()
        start = lines[-tail - 1].n if tail < len(lines) else -1
        self._after = start if seen is None else seen

    def _lines(self) -> list[Line]:
        return [line for line in list(self._pod.lines) if self._source in (None, line.source)]

    def __call__(self) -> bytes | None:
        fresh = [line for line in self._lines() if line.n > self._after]
        if not fresh:
            return None if self._pod.ended is not None else b""
        self._after = fresh[-1].n
        return "".join(map(_event, fresh)).encode()


def _event(line: Line) -> str:
    ts = moment(line.at)
    return f"id: {ts}/{line.n}\ndata: {json.dumps({'ts': ts, 'source': line.source, 'line': line.text})}\n\n"
