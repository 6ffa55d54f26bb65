"""The account: pods, volumes and catalog behind the REST v2 API, in official shapes and with observed behaviour.

Must never know sockets or processes: a Runner runs the pods, the server carries calls. A seed repeats a run.
"""

import hmac
import json
import random
from collections.abc import Callable
from dataclasses import replace
from email.utils import formatdate
from typing import Any
from urllib.parse import unquote

from podkit_sandbox import catalog, checks, faults
from podkit_sandbox.faults import Faults, Rule, Scenario
from podkit_sandbox.pods import Events, PaperRunner, Pod, Runner, Runtime, moment
from podkit_sandbox.wire import Answer, Call, Cut, Problem, answer_json

__all__ = ["Account", "Answer", "Call", "Cut", "PaperRunner", "Pod", "Runner", "Runtime", "Scenario"]
BODY_LIMIT = 102_400  # bytes
BOOT_SECONDS = 1.0  # how long a new container has no runtime
PULL_SECONDS = 20.0  # between two lines of an image pull
ACTIONS = {"RUNNING": ["stop", "restart", "terminate"], "EXITED": ["start", "terminate"]}
DEFAULTS: dict[str, Any] = {"args": "", "disk": 20, "ports": [], "env": {}, "registry": None, "mounts": {}}
DEFAULTS |= {"cloud": "SECURE", "template": None, "locked": False}
DEFAULTS |= {"globalNetworking": {"enabled": False}, "ssh": {"proxy": None, "direct": None}}
SHOWN = {"name", "image", "entrypoint", "cmd", "args", "disk", "ports", "env", "registry", "mounts", "cloud"}
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"


class Account:
    """One account of the provider; `pods` holds every pod that ever was, in order of creation."""

    def __init__(
        self, clock: Callable[[], float], rng: random.Random, scenario: Scenario, runner: Runner, key: str
    ) -> None:
        self._clock, self._rng, self._runner, self._key = clock, rng, runner, key
        self._faults, self._skew = Faults(scenario), 0.0
        self._live: dict[str, Pod] = {}
        self._keys: dict[str, Pod] = {}
        self.pods: dict[str, Pod] = {}
        self.volumes: dict[str, dict[str, Any]] = {}
        self._add_volume("podkit0vol", {"name": "podkit", "size": 100, "dataCenter": "EU-RO-1"})

    def set_scenario(self, scenario: Scenario) -> None:
        """Replaces the scenario; its counts begin anew, pods stay as they are."""
        self._faults = Faults(scenario)

    def handle(self, call: Call) -> Answer:
        """The answer to one call. Raises Cut where the connection is to be reset."""
        call = replace(call, headers={name.lower(): value for name, value in call.headers.items()})
        rules = self._faults.draw(call.method, call.path, lambda: self._gpu_of(call))
        self._skew = sum(rule.seconds or 0.0 for rule in rules if rule.fault == "clock-skew")
        faults.fire_signals(rules, "before")
        answer = faults.refusal(rules)
        if answer is None:
            try:
                answer = self._serve(call, {rule.fault: rule for rule in rules})
            except Problem as problem:
                answer = problem.answer()
            faults.fire_signals(rules, "after")
            answer = faults.spoil(rules, answer)
        date = formatdate(self._clock() + self._skew, usegmt=True)
        return replace(answer, headers={**answer.headers, "Date": date})

    def _serve(self, call: Call, rules: dict[str, Rule]) -> Answer:
        given = call.headers.get("authorization", "").removeprefix("Bearer ")
        parts = [unquote(part) for part in call.path.strip("/").split("/")]
        owner = self._keys.get(given)
        if owner is None and not hmac.compare_digest(given.encode(), self._key.encode()):
            raise Problem(401, "invalid bearer token" if given else "missing bearer token")
        if owner and (call.method, parts) != ("POST", ["v2", "pods", owner.id, "action"]):
            raise Problem(403, "access denied")
        if len(call.body) > BODY_LIMIT:
            raise Problem(413, f"request body is over {BODY_LIMIT} bytes")
        for path, methods in ROUTES.items():
            wanted = path.split("/")
            if len(wanted) == len(parts) and all(w in ("*", p) for w, p in zip(wanted, parts, strict=True)):
                if call.method not in methods:
                    raise Problem(405, f"{call.method} is not supported here", Allow=", ".join(methods))
                id = next((p for w, p in zip(wanted, parts, strict=True) if w == "*"), "")
                return methods[call.method](self, call, id, rules)
        raise Problem(404, "resource not found")

    def _gpu_of(self, call: Call) -> str | None:
        """The GPU type that a call is about."""
        parts = call.path.strip("/").split("/")
        if len(parts) > 2:
            return self.pods[parts[2]].gpu.id if parts[2] in self.pods else None
        try:
            return str(json.loads(call.body)["gpu"]["id"])
        except (ValueError, KeyError, TypeError):
            return None

    def _list_pods(self, call: Call, _id: str, _rules: dict[str, Rule]) -> Answer:
        now = self._clock()
        return _page(call, "pods", [self._pod_json(p) for p in self._live.values() if p.hidden_until <= now])

    def _get_pod(self, _call: Call, id: str, _rules: dict[str, Rule]) -> Answer:
        return answer_json(self._pod_json(self._pod(id, shown=True)))

    def _create_pod(self, call: Call, _id: str, rules: dict[str, Rule]) -> Answer:
        body = _body(call, checks.POD)
        gpu, place = self._placed(body)
        pod = self._add_pod(body, gpu, place, rules)
        if "twin" in rules:
            twin = self._add_pod(body, gpu, place, rules)
            twin.hidden_until = max(twin.hidden_until, self._clock() + (rules["twin"].seconds or 0.0))
        return answer_json(self._pod_json(pod), 201)

    def _placed(self, body: dict[str, Any]) -> tuple[catalog.Gpu, str]:
        """GPU type and data center of a new pod. Raises Problem."""
        wish, id = body.get("gpu", {}), Pod.volume_of(body)
        if "templateId" in body or (id and id not in self.volumes):
            raise Problem(404, "template not found" if "templateId" in body else "network volume not found")
        home = self.volumes[id]["dataCenter"] if id else None
        places = body.get("dataCenterIds") or list(catalog.PLACES)
        if detail := checks.broken_rule(body, places, home):
            raise Problem(400, detail)
        gpu, cuda = catalog.GPUS[wish["id"]], wish.get("allowedCudaVersions") or catalog.CUDA
        fits = [v for v in catalog.at_least(wish.get("minCudaVersion", "0")) if v in cuda and "count" in wish]
        for place in [home] if home else places:
            if fits and catalog.stock(self._faults.scenario.stock, place, gpu.id) != "NONE":
                return gpu, place
        raise Problem(400, faults.NO_CAPACITY)

    def _add_pod(self, body: dict[str, Any], gpu: catalog.Gpu, place: str, rules: dict[str, Rule]) -> Pod:
        def seconds(fault: str, default: float) -> float | None:
            return (rules[fault].seconds or default) if fault in rules else None

        now = self._clock()
        factor = rules["price"].factor if "price" in rules else 1.0
        rate = round(gpu.price * body["gpu"]["count"] * factor, 4)
        pod = Pod(self._word(14), body, gpu, place, "rpa_" + self._word(40), rate, now)
        pod.hidden_until = now + (seconds("list-lag", 0.0) or 0.0)
        pod.stuck_until = now + (seconds("stuck", float("inf")) or 0.0)
        pod.pulling = "stuck" in rules and rules["stuck"].pulling
        pod.crash_seconds, pod.restart_seconds = seconds("crash-loop", 2.0), seconds("restart", 1.0)
        self.pods[pod.id] = self._live[pod.id] = self._keys[pod.key] = pod
        pod.log("system", f"create container {body['image']}", now)
        self._start(pod)
        return pod

    def _start(self, pod: Pod) -> None:
        pod.started, pod.status, pod.restarts = self._clock(), "RUNNING", 0
        if pod.started >= pod.stuck_until:
            self._runner.start(pod)

    def _stop(self, pod: Pod, status: str) -> None:
        pod.status = status
        self._runner.stop(pod)

    def _end(self, pod: Pod) -> Answer:
        pod.ended = self._clock()
        self._stop(pod, "TERMINATED")
        del self._live[pod.id]
        return Answer(204)

    def _delete_pod(self, _call: Call, id: str, _rules: dict[str, Rule]) -> Answer:
        return self._end(self._pod(id))

    def _act(self, call: Call, id: str, _rules: dict[str, Rule]) -> Answer:
        pod = self._pod(id)
        action = _body(call, checks.ACTION)["action"]
        if action not in ACTIONS[pod.status]:
            raise Problem(409, f"cannot {action} a pod that is {pod.status}")
        if action == "terminate":
            return self._end(pod)
        if action != "start":
            self._stop(pod, "EXITED")
        if action != "stop":
            self._start(pod)
        return answer_json(self._pod_json(pod))

    def _logs(self, call: Call, id: str, _rules: dict[str, Rule]) -> Answer:
        pod, tail = self._pod(id, shown=True), call.query.get("tail", "100")
        source, seen = call.query.get("source"), call.headers.get("last-event-id", "").rpartition("/")[2]
        if source not in (None, "container", "system") or not tail.isdecimal() or int(tail) > 5000:
            raise Problem(422, "Request validation failed.", ("source or tail: not valid",))
        self._runtime(pod)
        events = Events(pod, source, int(tail), int(seen) if seen.isdecimal() else None)
        headers = {"Content-Type": "text/event-stream", "Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        return Answer(200, headers, events() or b"", more=events)

    def _pod(self, id: str, shown: bool = False) -> Pod:
        pod = self._live.get(id)
        if pod is None or (shown and pod.hidden_until > self._clock()):
            raise Problem(404, "pod not found")
        return pod

    def _runtime(self, pod: Pod) -> Runtime | None:
        now = self._clock()
        if pod.status != "RUNNING" or now < pod.stuck_until:
            while pod.pulling and pod.started + (pod.pulled + 1) * PULL_SECONDS <= now:
                pod.pulled += 1
                pod.log("system", f"pulling image: {pod.pulled * 200} MB", pod.started + pod.pulled * PULL_SECONDS)
            return None
        if pod.started < pod.stuck_until:  # it was stuck and has just come free
            pod.started = pod.stuck_until
            self._runner.start(pod)
        return self._runner.runtime(pod) if now >= pod.started + BOOT_SECONDS else None

    def _pod_json(self, pod: Pod) -> dict[str, Any]:
        runtime, body = self._runtime(pod), pod.body
        ports = [
            {"private": private, "public": public, "type": "http", "ip": "127.0.0.1"}
            for private, public in (runtime.ports if runtime else {}).items()
        ]
        return {
            **DEFAULTS,
            **{key: value for key, value in body.items() if key in SHOWN},
            "id": pod.id,
            "status": pod.status,
            "actions": ACTIONS[pod.status],
            "gpu": {"id": pod.gpu.id, "count": body["gpu"]["count"], "vcpuCount": 8, "memory": 64},
            "dataCenterId": pod.place,
            "cudaVersion": catalog.CUDA[-1],
            "cost": pod.rate if pod.status == "RUNNING" else 0.0,
            "runtime": {"uptime": int(runtime.uptime), "ports": ports} if runtime else None,
            "createdAt": moment(pod.created + self._skew),
            "startedAt": moment(pod.started + self._skew),
        }

    def _list_volumes(self, call: Call, _id: str, _rules: dict[str, Rule]) -> Answer:
        return _page(call, "networkVolumes", list(self.volumes.values()))

    def _get_volume(self, _call: Call, id: str, _rules: dict[str, Rule]) -> Answer:
        if id not in self.volumes:
            raise Problem(404, "network volume not found")
        return answer_json(self.volumes[id])

    def _create_volume(self, call: Call, _id: str, _rules: dict[str, Rule]) -> Answer:
        body = _body(call, checks.VOLUME)
        if body["dataCenter"] not in catalog.PLACES:
            raise Problem(400, f"unknown data center {body['dataCenter']}")
        return answer_json(self._add_volume(self._word(10), body), 201)

    def _add_volume(self, id: str, body: dict[str, Any]) -> dict[str, Any]:
        self.volumes[id] = {"type": "STANDARD", **body, "id": id}
        return self.volumes[id]

    def _gpus(self, call: Call, id: str, _rules: dict[str, Rule]) -> Answer:
        query, stock = call.query, self._faults.scenario.stock
        asked = "AVAILABILITY" in query.get("include", "").split(",")
        if asked != ("product" in query):
            raise Problem(400, "product is required with include=AVAILABILITY, and valid only with it")
        changed, floor = stock if asked else None, query.get("minCudaVersion", "0")
        if id and id not in catalog.GPUS:
            raise Problem(404, "GPU type not found")
        gpus = {key: catalog.gpu_json(gpu, changed, floor) for key, gpu in catalog.GPUS.items() if id in ("", key)}
        return answer_json(gpus[id] if id else {"gpus": list(gpus.values())})

    def _places(self, call: Call, id: str, _rules: dict[str, Rule]) -> Answer:
        asked = "GPU_AVAILABILITY" in call.query.get("include", "").split(",")
        if id and id not in catalog.PLACES:
            raise Problem(404, "data center not found")
        changed = self._faults.scenario.stock if asked else None
        places = {key: catalog.place_json(key, changed) for key in catalog.PLACES if id in ("", key)}
        return answer_json(places[id] if id else {"dataCenters": list(places.values())})

    def _word(self, length: int) -> str:
        return "".join(self._rng.choices(LETTERS, k=length))


ROUTES: dict[str, dict[str, Callable[[Account, Call, str, dict[str, Rule]], Answer]]] = {
    "v2/pods": {"GET": Account._list_pods, "POST": Account._create_pod},
    "v2/pods/*": {"GET": Account._get_pod, "DELETE": Account._delete_pod},
    "v2/pods/*/action": {"POST": Account._act},
    "v2/pods/*/logs": {"GET": Account._logs},
    "v2/network-volumes": {"GET": Account._list_volumes, "POST": Account._create_volume},
    "v2/network-volumes/*": {"GET": Account._get_volume},
    "v2/catalog/gpus": {"GET": Account._gpus},
    "v2/catalog/gpus/*": {"GET": Account._gpus},
    "v2/catalog/datacenters": {"GET": Account._places},
    "v2/catalog/datacenters/*": {"GET": Account._places},
}


def _body(call: Call, spec: dict[str, Any]) -> dict[str, Any]:
    """The call's JSON object, of the documented shape. Raises Problem."""
    try:
        body = json.loads(call.body)
    except ValueError as error:
        raise Problem(400, f"request body is not JSON: {error}") from error
    if wrong := tuple(checks.errors(body, spec)):
        raise Problem(422, "Request validation failed.", wrong)
    checked: dict[str, Any] = body
    return checked


def _page(call: Call, name: str, rows: list[dict[str, Any]]) -> Answer:
    """One page of a list, in order of the ids so that a cursor stays good when rows come and go."""
    limit, cursor = call.query.get("limit", "1000"), call.query.get("cursor", "")
    if not limit.isdecimal() or not 1 <= int(limit) <= 1000:
        raise Problem(422, "Request validation failed.", ("limit: must be from 1 to 1000",))
    left = sorted((row for row in rows if row["id"] > cursor), key=lambda row: str(row["id"]))
    page, more = left[: int(limit)], len(left) > int(limit)
    pagination = {"nextCursor": page[-1]["id"] if more else None, "hasNextPage": more}
    return answer_json({name: page, "pagination": pagination})
