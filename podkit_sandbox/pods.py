"""The account's pods: how one is placed, lives and ends. Must never know sockets or processes."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from podkit_sandbox.billing import Span
from podkit_sandbox.catalog import DATA_CENTERS, GPUS, Stock, cuda_versions_from
from podkit_sandbox.logs import Line, Log, stream_log
from podkit_sandbox.routing import Request, page_of
from podkit_sandbox.scenario import NO_CAPACITY, Drawn
from podkit_sandbox.volumes import Volumes
from podkit_sandbox.wire import Answer, Problem, reply, timestamp

Clock = Callable[[], float]
BOOT_SECONDS = 1.0  # how long a new container has no runtime
PULL_SECONDS = 20.0  # between two lines of an image pull
PULL_MEGABYTES = 200  # more in each of these lines
MAX_VARIABLES = 50  # in a pod's environment
ACTIONS = {"RUNNING": ["stop", "terminate"], "EXITED": ["terminate"]}
"""What may be done with a pod here. The provider's can also be restarted, and started again."""
FOREIGN_POD: dict[str, Any] = {"id": "", "name": "", "status": None, "env": None, "runtime": {}}
"""What somebody else's pod looked like in a list, if a rule gives no `items`."""
DEFAULTS: dict[str, Any] = {
    "args": "",
    "disk": 20,
    "ports": [],
    "env": {},
    "registry": None,
    "mounts": {},
    "cloud": "SECURE",
    "template": None,
    "locked": False,
    "cudaVersion": "13.0",
    "globalNetworking": {"enabled": False},
    "ssh": {"proxy": None, "direct": None},
}
WRITE_ONLY = {"dataCenterIds", "globalNetworking", "startJupyter", "startSsh", "templateId"}
"""Fields of a create that no answer repeats in that form."""


@dataclass(frozen=True)
class Runtime:
    """Of a container: seconds since its start, its loopback ports by their private numbers."""

    uptime: float
    ports: dict[int, int]


@dataclass
class Pod:
    """A pod, living or ended; moments are of the account's clock, `rate` is USD per hour."""

    id: str
    key: str
    body: dict[str, Any]
    place: str
    rate: float
    created: float
    faults: Drawn
    status: str = "RUNNING"
    stopped: float | None = None
    ended: float | None = None
    begun: bool = False
    restarts: int = 0
    lines: list[Line] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.name: str = self.body["name"]
        self.gpu: str = self.body["gpu"]["id"]
        self.volume = ""
        for mount in self.body.get("mounts", {}).get("network", []):
            self.volume = mount["volumeId"]
        self.ports: list[int] = []
        for port in self.body.get("ports", []):
            number, _, kind = port.partition("/")
            if kind == "http" and number.isdecimal():
                self.ports.append(int(number))
        self.hidden_until = self.created + self.faults.seconds("list-lag")
        self.started = self.created + self.faults.seconds("stuck")
        self.started += self.faults.seconds("pull-failed")
        self.crash_seconds = 1e9  # it is killed after so long,
        self.crashes = 0.0  # so many times
        if "restart" in self.faults:
            self.crash_seconds = self.faults.seconds("restart")
            self.crashes = 1.0
        if "crash-loop" in self.faults:
            self.crash_seconds = self.faults.seconds("crash-loop")
            self.crashes = float("inf")
        self.told = 0  # how many lines of a pull, or of a host that never starts it, it has


class PaperRunner:
    """Runs the containers of pods, each while its pod's `status` is RUNNING; this one on paper."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def start(self, pod: Pod) -> None:
        """Begins the pod's container."""
        pod.lines.append((self._clock(), "system", "start container"))

    def runtime(self, pod: Pod) -> Runtime:
        """How long the container runs, and where it answers."""
        up = self._clock() - pod.started
        while pod.restarts < pod.crashes and (pod.restarts + 1) * pod.crash_seconds <= up:
            pod.restarts += 1
            at = pod.started + pod.restarts * pod.crash_seconds
            pod.lines.append((at, "system", "container exited with code 1"))
        ports = {port: port for port in pod.ports}
        return Runtime(up - pod.restarts * pod.crash_seconds, ports)


class Pods:
    """Every pod that ever was, in order of creation, and what the API does with them."""

    def __init__(
        self,
        clock: Clock,
        rng: random.Random,
        runner: PaperRunner,
        volumes: Volumes,
    ) -> None:
        self.all: dict[str, Pod] = {}
        self.owners: dict[str, Pod] = {}  # by the pod's own key
        self.stock = Stock({})
        self._clock = clock
        self._rng = rng
        self._runner = runner
        self._volumes = volumes

    def list_all(self, request: Request) -> Answer:
        """GET /pods."""
        shown = []
        for pod in self.all.values():
            if pod.ended is None and pod.hidden_until <= self._clock():
                shown.append(self._json(pod, request.drawn))
        foreign = request.drawn.get("foreign")
        if foreign:
            shown = [*(foreign.items or [FOREIGN_POD]), *shown]
        return page_of("pods", shown, request.query())

    def create(self, request: Request) -> Answer:
        """POST /pods."""
        body = request.body()
        drawn = request.drawn
        place = self._place(body)
        price: float = GPUS[body["gpu"]["id"]]["price"]["secure"] * body["gpu"]["count"]
        factor = drawn.get("price")
        if factor:
            price *= factor.factor
        pod = self._make(body, place, round(price, 4), drawn)
        if "twin" in drawn:
            twin = self._make(body, place, round(price, 4), drawn)
            twin.hidden_until += drawn.seconds("twin")
        return reply(self._json(pod, drawn), 201)

    def get(self, request: Request) -> Answer:
        """GET /pods/{id}."""
        return reply(self._json(self._show(request), request.drawn))

    def delete(self, request: Request) -> Answer:
        """DELETE /pods/{id}."""
        return self._act(self._living(request), "terminate", request.drawn)

    def act(self, request: Request) -> Answer:
        """POST /pods/{id}/action."""
        pod = self._living(request)
        return self._act(pod, request.body()["action"], request.drawn)

    def logs(self, request: Request) -> Answer:
        """GET /pods/{id}/logs."""
        pod = self._show(request)
        self._runtime(pod)  # writes the lines that are due
        log = Log(pod.lines, lambda: pod.ended is not None, self._clock)
        return stream_log(log, request)

    def spans(self) -> list[Span]:
        """Pods as they are billed: at their rate while they run."""
        spans = []
        for pod in self.all.values():
            spans.append(Span(pod.id, pod.created, pod.stopped or pod.ended, pod.rate))
        return spans

    def _make(self, body: dict[str, Any], place: str, rate: float, drawn: Drawn) -> Pod:
        id = f"{self._rng.getrandbits(56):014x}"
        key = f"rpa_{self._rng.getrandbits(160):040x}"
        pod = Pod(id, key, body, place, rate, self._clock(), drawn)
        self.all[id] = pod
        self.owners[key] = pod
        pod.lines.append((pod.created, "system", f"create container {body['image']}"))
        self._runtime(pod)
        return pod

    def _living(self, request: Request) -> Pod:
        pod = self.all.get(request.ids[0])
        if pod is None or pod.ended is not None:
            raise Problem(404, "pod not found")
        return pod

    def _show(self, request: Request) -> Pod:
        pod = self._living(request)
        if pod.hidden_until > self._clock():
            raise Problem(404, "pod not found")
        return pod

    def _place(self, body: dict[str, Any]) -> str:
        """The data center of a new pod. Raises Problem."""
        home = self._volumes.data_center(body.get("mounts", {}).get("network", []))
        wished = body.get("dataCenterIds") or []
        _check_create(body, home, wished)
        gpu = body["gpu"]
        allowed = cuda_versions_from(gpu.get("minCudaVersion", "0"))
        if "count" not in gpu or not allowed:  # no count is no capacity, as the live service says
            raise Problem(400, NO_CAPACITY)
        if gpu["count"] > GPUS[gpu["id"]]["maxCount"]["secure"]:
            raise Problem(400, NO_CAPACITY)
        for place in [home] if home else wished or [*DATA_CENTERS]:
            if self.stock.level(place, gpu["id"]) != "NONE":
                return str(place)
        raise Problem(400, NO_CAPACITY)

    def _act(self, pod: Pod, action: str, drawn: Drawn) -> Answer:
        if action not in ACTIONS[pod.status]:
            raise Problem(409, f"cannot {action} a pod that is {pod.status}")
        pod.lines.append((self._clock(), "system", "stop container"))
        if action == "stop":
            pod.status = "EXITED"
            pod.stopped = self._clock()
            return reply(self._json(pod, drawn))
        pod.status = "TERMINATED"
        pod.ended = self._clock()
        return Answer(204)

    def _runtime(self, pod: Pod) -> dict[str, Any] | None:
        """What shows of a pod's container. Starts it when it is due."""
        now = self._clock()
        self._tell_pull(pod, now)
        if "zero-uptime" in pod.faults:
            self._tell_failing_host(pod, now)
            return {"uptime": 0, "ports": []} if pod.status == "RUNNING" else None
        if pod.status == "RUNNING" and not pod.begun and now >= pod.started:
            pod.begun = True
            self._runner.start(pod)
        if pod.status != "RUNNING" or now < pod.started + BOOT_SECONDS:
            return None
        found = self._runner.runtime(pod)
        rows = []
        for private, public in found.ports.items():
            rows.append({"private": private, "public": public, "type": "http", "ip": "127.0.0.1"})
        return {"uptime": int(found.uptime), "ports": rows}

    def _tell_pull(self, pod: Pod, now: float) -> None:
        """Writes the lines of an image pull that are due, while the container is not started."""
        stuck = pod.faults.get("stuck")
        failing = "pull-failed" in pod.faults
        if not failing and not (stuck and stuck.pulling):
            return
        while pod.created + (pod.told + 1) * PULL_SECONDS <= min(now, pod.started):
            pod.told += 1
            text = f"pulling image: {pod.told * PULL_MEGABYTES} MB"
            if failing:
                text = f"error pulling image: Error response from daemon: {pod.body['image']}"
            pod.lines.append((pod.created + pod.told * PULL_SECONDS, "system", text))

    def _tell_failing_host(self, pod: Pod, now: float) -> None:
        """Writes the lines of a host on which the container ends at once, again and again."""
        seconds = pod.faults.seconds("zero-uptime")
        while pod.created + pod.told * seconds <= now:
            at = pod.created + pod.told * seconds
            pod.told += 1
            pod.lines.append((at, "system", "start container"))
            pod.lines.append((at, "system", "container exited with code 1"))

    def _json(self, pod: Pod, drawn: Drawn) -> dict[str, Any]:
        made = timestamp(pod.created + drawn.seconds("clock-skew"))
        answer = dict(DEFAULTS)
        for name, value in pod.body.items():
            if name not in WRITE_ONLY:
                answer[name] = value
        count = pod.body["gpu"]["count"]
        answer |= {
            "id": pod.id,
            "status": pod.status,
            "actions": ACTIONS.get(pod.status, []),
            "gpu": {"id": pod.gpu, "count": count, "vcpuCount": 8, "memory": 64},
            "dataCenterId": pod.place,
            "cost": pod.rate if pod.status == "RUNNING" else 0.0,
            "createdAt": made,
            "startedAt": made,
            "runtime": self._runtime(pod),
        }
        return answer


def _check_create(body: dict[str, Any], home: str | None, wished: list[str]) -> None:
    """Raises Problem 400 for a rule that the shape of a create does not express.

    `home` is the data center of its volume, `wished` are those it names.
    """
    if ("gpu" in body) == ("cpu" in body):
        raise Problem(400, "exactly one of gpu and cpu is needed")
    if "templateId" in body:
        raise Problem(404, "template not found")
    if "cpu" in body:
        raise Problem(400, "the sandbox has no CPU pods")
    if body["gpu"]["id"] not in GPUS:
        raise Problem(400, f"gpu.id {body['gpu']['id']!r} is not a known GPU type")
    if not {*wished} <= {*DATA_CENTERS}:
        raise Problem(400, "dataCenterIds holds an unknown data center")
    if home and wished and home not in wished:
        raise Problem(400, f"the network volume is in {home}")
    if len(body.get("env", {})) > MAX_VARIABLES:
        raise Problem(400, f"env may have at most {MAX_VARIABLES} variables")
