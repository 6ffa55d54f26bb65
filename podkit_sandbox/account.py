"""The account behind the REST v2 API, in official shapes. Must never know sockets or processes, nor unseeded chance."""

import copy
import hmac
import json
import random
from collections import namedtuple
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from typing import Any
from urllib.parse import unquote

from podkit_sandbox.billing import Span, bill, moment
from podkit_sandbox.wire import (
    CATALOG,
    FAULTS,
    GPUS,
    PLACES,
    RULE,
    Answer,
    Call,
    Cut,
    Problem,
    Scenario,
    befall,
    reply,
)

__all__ = ["Account", "Answer", "Call", "Cut", "PaperRunner", "Pod", "Scenario"]
Clock = Callable[[], float]
Runtime = namedtuple(
    "Runtime", "uptime ports"
)  # of a container: seconds since its start, loopback by private port
BODY_LIMIT = 102_400  # bytes
BOOT_SECONDS = 1.0  # how long a new container has no runtime
PULL_SECONDS = 20.0  # between two lines of an image pull


@dataclass
class Pod:
    """A pod, living or ended; moments are seconds of the account's clock, `rate` is USD per hour."""

    id: str
    key: str
    body: dict[str, Any]
    place: str
    rate: float
    created: float
    faults: dict[str, Any]
    status: str = "RUNNING"
    stopped: float | None = None
    ended: float | None = None
    begun: bool = False
    pulls: int = 0  # lines of an image pull, which the system log shows while it is stuck
    restarts: int = 0
    lines: list[tuple[float, str, str]] = field(
        default_factory=list
    )  # moment, container or system, text

    def __post_init__(self) -> None:
        mount = (self.body.get("mounts", {}).get("network") or [{"volumeId": ""}])[0]
        self.name, self.gpu, self.volume = (
            self.body["name"],
            self.body["gpu"]["id"],
            mount["volumeId"],
        )
        self.ports = [
            int(port[:-5]) for port in self.body.get("ports", []) if port.endswith("/http")
        ]
        self.hidden_until, self.started = (
            self.created + self.faults[key]["seconds"] for key in ("list-lag", "stuck")
        )
        loop, once = self.faults["crash-loop"], self.faults["restart"]
        self.crash_seconds = (
            loop["seconds"] or once["seconds"] or 1e9
        )  # it is killed after so long,
        self.crashes = float("inf") if loop["fault"] else 1.0  # so many times

    def events(self, source: str | None, tail: int, seen: int | None) -> Iterator[bytes]:
        """The log as server-sent events: first what there is, then what has come since, until the pod has ended."""
        rows = [n for n, line in enumerate(self.lines) if source in (None, line[1])]
        start = (
            seen + 1 if seen is not None else [len(self.lines), *rows[::-1]][min(tail, len(rows))]
        )
        while True:
            ended, text = self.ended is not None, ""
            for at, kind, line in self.lines[start:]:
                data = json.dumps({"ts": moment(at), "source": kind, "line": line})
                text += (
                    f"id: {moment(at)}/{start}\ndata: {data}\n\n" if source in (None, kind) else ""
                )
                start += 1
            yield text.encode()
            if ended:
                return


class PaperRunner:
    """Runs the containers of pods, each while its pod's `status` is RUNNING; this one on paper, as the clock says."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def start(self, pod: Pod) -> None:
        pod.lines.append((self._clock(), "system", "start container"))

    def runtime(self, pod: Pod) -> Runtime:
        up = self._clock() - pod.started
        while pod.restarts < pod.crashes and (pod.restarts + 1) * pod.crash_seconds <= up:
            pod.restarts += 1
            pod.lines.append(
                (
                    pod.started + pod.restarts * pod.crash_seconds,
                    "system",
                    "container exited with code 1",
                )
            )
        return Runtime(up - pod.restarts * pod.crash_seconds, {port: port for port in pod.ports})


class Account:
    """One account of the provider; `pods` holds every pod that ever was, in order of creation."""

    def __init__(
        self, clock: Clock, rng: random.Random, scenario: Scenario, runner: PaperRunner, key: str
    ) -> None:
        self._clock, self._rng, self._runner, self._key = clock, rng, runner, key
        self._drawn: dict[
            str, dict[str, Any]
        ] = {}  # the faults of the call at hand, RULE for one that does not happen
        self._owners: dict[str, Pod] = {}  # by the pod's own key
        self.pods: dict[str, Pod] = {}
        self.volumes: dict[str, dict[str, Any]] = {
            volume["id"]: volume for volume in CATALOG["networkVolumes"]
        }
        self._since = dict.fromkeys(self.volumes, clock())  # when each came to be
        self.set_scenario(scenario)

    def set_scenario(self, scenario: Scenario) -> None:
        """Replaces the scenario; its counts begin anew, pods stay as they are."""
        self._scenario = copy.deepcopy(scenario)
        levels = {
            place: {**CATALOG["stock"][place], **scenario.stock.get(place, {})}.items()
            for place in PLACES
        }
        self._stock = {
            place: {gpu: level for gpu, level in levels[place] if level != "NONE"}
            for place in PLACES
        }

    def handle(self, call: Call) -> Answer:
        """The answer to one call. Raises Cut where the connection is to be reset."""
        rules = self._scenario.draw(call)
        self._drawn = {**dict.fromkeys(FAULTS, RULE), **{rule["fault"]: rule for rule in rules}}
        answer = befall(rules, None)
        if answer is None:
            try:
                answer = self._serve(call)
            except Problem as problem:
                answer = problem.answer
            except (ValueError, KeyError, TypeError) as error:
                answer = Problem(422, "Request validation failed.", [repr(error)]).answer
            answer = befall(rules, answer) or answer
        date = formatdate(self._clock() + self._drawn["clock-skew"]["seconds"], usegmt=True)
        return replace(answer, headers={**answer.headers, "Date": date})

    def _serve(self, call: Call) -> Answer:
        parts = [unquote(part) for part in call.path.removeprefix("/v2/").split("/")]
        self._admit(call, parts)
        match call.method, *parts:
            case "GET", "pods":
                shown = [
                    pod
                    for pod in self.pods.values()
                    if pod.ended is None and pod.hidden_until <= self._clock()
                ]
                return reply({"pods": [*map(self._pod_json, shown)], **CATALOG["onePage"]})
            case "POST", "pods":
                return self._create_pod(_body(call, "name", "image", "gpu"))
            case "GET", "pods", id:
                return reply(self._pod_json(self._pod(id, shown=True)))
            case "DELETE", "pods", id:
                return self._act(self._pod(id), "terminate")
            case "POST", "pods", id, "action":
                return self._act(self._pod(id), _body(call, "action")["action"])
            case "GET", "pods", id, "logs":
                return self._logs(call, self._pod(id, shown=True))
            case "GET", "network-volumes":
                return reply({"networkVolumes": [*self.volumes.values()], **CATALOG["onePage"]})
            case "POST", "network-volumes":
                volume = {
                    "type": "STANDARD",
                    **_body(call, "name", "size", "dataCenter"),
                    "id": f"{self._rng.getrandbits(40):010x}",
                }
                self.volumes[volume["id"]], self._since[volume["id"]] = volume, self._clock()
                return reply(volume, 201)
            case "GET", "catalog", "gpus":
                return self._gpus(call.query.get("minCudaVersion", "0"))
            case "GET", "catalog", "datacenters":
                return reply({"dataCenters": CATALOG["dataCenters"]})
            case "GET", "billing", ("pods" | "network-volumes") as kind:
                return reply(bill(call.query, kind, self._spans(kind), self._clock()))
        raise Problem(404, "resource not found")

    def _admit(self, call: Call, parts: list[str]) -> None:
        """Raises Problem. The account's key opens everything, a pod's own key one call."""
        given = call.headers.get("authorization", "").removeprefix("Bearer ")
        owner = self._owners.get(given)
        if owner is None and not hmac.compare_digest(given.encode(), self._key.encode()):
            raise Problem(401, "invalid bearer token" if given else "missing bearer token")
        if owner and (call.method, parts) != ("POST", ["pods", owner.id, "action"]):
            raise Problem(403, "access denied")
        if len(call.body) > BODY_LIMIT:
            raise Problem(413, f"request body is over {BODY_LIMIT} bytes")

    def _pod(self, id: str, shown: bool = False) -> Pod:
        pod = self.pods.get(id)
        if pod is None or pod.ended is not None or (shown and pod.hidden_until > self._clock()):
            raise Problem(404, "pod not found")
        return pod

    def _create_pod(self, body: dict[str, Any]) -> Answer:
        place, now, drawn, gpu = self._placed(body), self._clock(), self._drawn, body["gpu"]
        rate = round(
            GPUS[gpu["id"]]["price"]["secure"] * gpu["count"] * drawn["price"]["factor"], 4
        )
        ids = [
            f"{self._rng.getrandbits(56):014x}" for _ in range(2 if drawn["twin"]["fault"] else 1)
        ]
        for id in ids:
            key = f"rpa_{self._rng.getrandbits(160):040x}"
            pod = self.pods[id] = self._owners[key] = Pod(id, key, body, place, rate, now, drawn)
            pod.hidden_until += 0.0 if id == ids[0] else drawn["twin"]["seconds"]
            pod.lines.append((now, "system", f"create container {body['image']}"))
            self._runtime(pod)
        return reply(self._pod_json(self.pods[ids[0]]), 201)

    def _placed(self, body: dict[str, Any]) -> str:
        """The data center of a new pod. Raises Problem."""
        gpu, env, home = body["gpu"], body.get("env", {}), None
        for mount in body.get("mounts", {}).get("network", []):
            if mount["volumeId"] not in self.volumes:
                raise Problem(404, "network volume not found")
            home = self.volumes[mount["volumeId"]]["dataCenter"]
        places = body.get("dataCenterIds") or ([home] if home else [*PLACES])
        rules = {
            f"gpu.id {gpu['id']!r} is not a known GPU type": gpu["id"] in GPUS,
            "dataCenterIds holds an unknown data center": {*places} <= {*PLACES},
            f"the network volume is in {home}": home is None or home in places,
            "env may have at most 50 variables, of strings": len(env) <= 50
            and {*map(type, env.values())} <= {str},
        }
        if broken := [text for text, kept in rules.items() if not kept]:
            raise Problem(400, broken[0])
        fits = gpu.get("count") and _cuda_from(gpu.get("minCudaVersion", "0"))
        for place in [home] if home else places:
            if fits and gpu["id"] in self._stock[place]:
                return str(place)
        raise Problem(400, CATALOG["noCapacity"])

    def _act(self, pod: Pod, action: str) -> Answer:
        if action not in CATALOG["actions"][pod.status]:
            raise Problem(409, f"cannot {action} a pod that is {pod.status}")
        pod.lines.append((self._clock(), "system", "stop container"))
        if action == "stop":
            pod.status, pod.stopped = "EXITED", self._clock()
            return reply(self._pod_json(pod))
        pod.status, pod.ended = "TERMINATED", self._clock()
        return Answer(204)

    def _spans(self, kind: str) -> list[Span]:
        """What of that kind was there: pods at their rate while they run, volumes by their size."""
        if kind == "pods":
            return [
                Span(pod.id, pod.created, pod.stopped or pod.ended, pod.rate)
                for pod in self.pods.values()
            ]
        price = CATALOG["billing"]["gbMonth"] / 730  # hours
        return [
            Span(id, self._since[id], None, volume["size"] * price)
            for id, volume in self.volumes.items()
        ]

    def _logs(self, call: Call, pod: Pod) -> Answer:
        self._runtime(pod)  # writes the lines that are due
        seen = call.headers.get("last-event-id", "").rpartition("/")[2]
        events = pod.events(
            call.query.get("source"),
            int(call.query.get("tail", "100")),
            int(seen) if seen else None,
        )
        headers = {
            "Content-Type": "text/event-stream",
            "Cache-Control": "no-cache",
            "X-Accel-Buffering": "no",
        }
        return Answer(200, headers, next(events), more=events)

    def _runtime(self, pod: Pod) -> dict[str, Any] | None:
        """What shows of a pod's container. Starts it when it is due, and until then may show an image pull."""
        now = self._clock()
        while (at := pod.created + (pod.pulls + 1) * PULL_SECONDS) <= min(now, pod.started):
            pod.pulls += 1
            if pod.faults["stuck"]["pulling"]:
                pod.lines.append((at, "system", f"pulling image: {pod.pulls * 200} MB"))
        if pod.status == "RUNNING" and not pod.begun and now >= pod.started:
            pod.begun = True
            self._runner.start(pod)
        if pod.status != "RUNNING" or now < pod.started + BOOT_SECONDS:
            return None
        uptime, ports = self._runner.runtime(pod)
        rows = [
            {"private": port, "public": ports[port], "type": "http", "ip": "127.0.0.1"}
            for port in ports
        ]
        return {"uptime": int(uptime), "ports": rows}

    def _pod_json(self, pod: Pod) -> dict[str, Any]:
        made = moment(pod.created + self._drawn["clock-skew"]["seconds"])
        gpu = {"id": pod.gpu, "count": pod.body["gpu"]["count"], "vcpuCount": 8, "memory": 64}
        answer = {key: value for key, value in pod.body.items() if key != "dataCenterIds"}
        answer |= {
            "id": pod.id,
            "status": pod.status,
            "actions": CATALOG["actions"][pod.status],
            "gpu": gpu,
        }
        answer |= {"dataCenterId": pod.place, "cost": pod.rate if pod.status == "RUNNING" else 0.0}
        answer |= {"createdAt": made, "startedAt": made, "runtime": self._runtime(pod)}
        return {**CATALOG["podDefaults"], **answer}

    def _gpus(self, floor: str) -> Answer:
        """The catalog, with the stock on hosts that have at least that CUDA version."""
        cuda, rows = _cuda_from(floor), []
        for id, gpu in GPUS.items():
            stock = {
                place: self._stock[place][id]
                for place in PLACES
                if cuda and id in self._stock[place]
            }
            there = [
                {"id": place, "name": PLACES[place]["name"], "availability": stock[place]}
                for place in stock
            ]
            row = {
                **gpu,
                "availability": max(stock.values(), key=CATALOG["levels"].index, default="NONE"),
            }
            row["cudaVersions"] = [{"version": version, "available": True} for version in cuda]
            rows.append({**row, "dataCenters": there} if there else row)
        return reply({"gpus": rows})


def _cuda_from(floor: str) -> list[str]:
    """The CUDA versions on offer from that floor up, compared as numbers: 12.11 is above 12.2."""
    lowest = [int(part) for part in floor.split(".")]
    return [
        version
        for version in CATALOG["cuda"]
        if [int(part) for part in version.split(".")] >= lowest
    ]


def _body(call: Call, *required: str) -> dict[str, Any]:
    """The call's JSON object, whose fields are of the catalog's types. Raises Problem."""
    body: dict[str, Any] = json.loads(call.body)
    errors = [f"$: missing property '{key}'" for key in required if key not in body]
    wrong = [
        key for key, value in body.items() if CATALOG["fields"].get(key) != type(value).__name__
    ]
    if errors := errors + [f"$.{key}: of a wrong type, or not allowed" for key in wrong]:
        raise Problem(422, "Request validation failed.", errors)
    return body
