"""When a pod is up: its phases from the log, and probes through the same public URLs that people use.

Nothing here changes anything. A proxy's error page is "not yet"; a refused key or login is our own fault and said so.
The log only tells more: without it the probes alone decide.
"""

from __future__ import annotations

import queue
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import requests

from podkit.errors import ApiError, BadHost, NotFound, PodFailed
from podkit.interrupts import Interrupts
from podkit.models import API_PORT, WEBUI_PORT, Pod
from podkit.runpod import RunpodClient
from podkit.settings import Secret
from podkit.startup import model_of_pod

POLL_SECONDS = 2.0
CONTAINER_SECONDS = 360.0
"""A host that shows no container for this long is bad (seen live, 2026-09)."""
PULL_SECONDS, PULL_LULL_SECONDS = 900.0, 120.0
RESTARTS_OF_A_LOOP, REPEATS_OF_A_LOOP = 2, 4
APPEAR_SECONDS = 60.0
"""An early 404 for a new pod is no proof of absence (read in a maintained client's source)."""
GONE_AFTER_LOOKS = 3
FAULT_SECONDS = 60.0
"""A refused key or login that lasts this long is a fault; before that a changed password may be on its way in."""
BOOT_MARGIN_SECONDS = 120.0
SAY_EVERY_SECONDS = 30.0
PROBE_TIMEOUT = (5.0, 30.0)
PULLING = re.compile(r"pull|download|extract", re.IGNORECASE)
PHASE = re.compile(r"podkit: phase=(\S+) event=(\S+)(.*)")
FATAL = re.compile(r"podkit: fatal (.*)")


@dataclass(frozen=True)
class Access:
    """What a client needs: URLs (empty until known), the served model name, and that pod's own key and login."""

    api_url: str
    webui_url: str
    model: str
    key: Secret
    email: str
    password: Secret


def access(pod: Pod, proxy_url: str) -> Access:
    """How to reach `pod`, from its own environment, so that a teammate's pod is reached with what works there."""
    model = model_of_pod(pod.env)
    base = _public_url(pod, API_PORT, proxy_url)
    return Access(
        api_url=f"{base}/v1" if base else "",
        webui_url=_public_url(pod, WEBUI_PORT, proxy_url),
        model=model.served_name if model else pod.env.get("PODKIT_MODEL", ""),
        key=Secret(pod.env.get("PODKIT_API_KEY", "")),
        email=pod.env.get("WEBUI_ADMIN_EMAIL", ""),
        password=Secret(pod.env.get("WEBUI_ADMIN_PASSWORD", "")),
    )


def _public_url(pod: Pod, port: int, template: str) -> str:
    if "{public_port}" in template and port not in pod.public_ports:
        return ""
    return template.format(pod_id=pod.id, port=port, public_port=pod.public_ports.get(port))


@dataclass(frozen=True)
class Probe:
    """One look at an endpoint. `fault` is set when waiting longer cannot help."""

    ready: bool
    fault: str = ""


NOT_YET = Probe(False)


def probe_api(session: requests.Session, where: Access) -> Probe:
    """Ready once the API gives a real completion for the key."""
    body = {"model": where.model, "max_tokens": 1, "messages": [{"role": "user", "content": "Say OK."}]}
    status, answer = _post(session, f"{where.api_url}/chat/completions", body, where.key.reveal())
    if status == 200 and answer.get("choices"):
        return Probe(True)
    if status == 401:
        return Probe(False, "the API refuses the key that the pod was given")
    if status == 404 and answer:
        return Probe(False, f"the API does not know the model {where.model!r}")
    return NOT_YET


def probe_webui(session: requests.Session, where: Access) -> Probe:
    """Ready once the chat page takes the login."""
    body = {"email": where.email, "password": where.password.reveal()}
    status, answer = _post(session, f"{where.webui_url}/api/v1/auths/signin", body)
    if status == 200 and answer.get("token"):
        return Probe(True)
    if status in (400, 401, 403) and answer:
        return Probe(False, "the chat page refuses the login that the pod was given")
    return NOT_YET


def _post(session: requests.Session, url: str, body: object, key: str = "") -> tuple[int, dict[str, Any]]:
    """(status, JSON object); status 0 and {} while nothing sensible answers."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        response = session.post(  # without `auth`, requests puts a ~/.netrc entry in place of the header
            url, json=body, headers=headers, auth=lambda sent: sent, timeout=PROBE_TIMEOUT, allow_redirects=False
        )
        answer = response.json()
    except (requests.RequestException, ValueError):
        return 0, {}
    return response.status_code, answer if isinstance(answer, dict) else {}


class LogFollower:
    """Follows one log of a pod in a thread of its own, resuming after each cut.

    `open_log` takes the last event id and yields (event id, line). `lines()` hands over what came since the last call.
    """

    def __init__(self, open_log: Callable[[str], Iterator[tuple[str, str]]], sleep: Callable[[float], None]) -> None:
        self._open_log = open_log
        self._sleep = sleep
        self._queue: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._closed = False
        threading.Thread(target=self._follow, daemon=True).start()

    def lines(self) -> list[str]:
        return [self._queue.get_nowait() for _ in range(self._queue.qsize())]

    def close(self) -> None:
        self._closed = True

    def _follow(self) -> None:
        last_event_id = ""
        while not self._closed:
            try:
                for event_id, line in self._open_log(last_event_id):
                    last_event_id = event_id or last_event_id
                    self._queue.put(line)
                    if self._closed:
                        return
            except ApiError:
                pass  # the log is a comfort; the probes decide
            self._sleep(POLL_SECONDS)


class Watch:
    """What a pod's appearances, log lines and probes add up to. Feed it, then check(); it asks nobody anything."""

    def __init__(self, started: float, boot_seconds: float) -> None:
        self.phase, self.failure, self.started = "placed", "", started
        self._detail = ""
        self._boot_seconds = boot_seconds
        self.has_container, self._since = False, started
        self._fault_since: float | None = None
        self._last_pull = float("-inf")
        self._absences = self._restarts = self._uptime = 0
        self._system: Counter[str] = Counter()

    def line(self, now: float, cost_per_hour: float) -> str:
        """The narration: minutes and seconds, phase, USD so far."""
        seconds = int(now - self.started)
        detail = f" ({self._detail})" if self._detail else ""
        spent = seconds / 3600 * cost_per_hour
        return f"{seconds // 60}:{seconds % 60:02d}  {self.phase}{detail}  about ${spent:.2f} so far"

    def see_pod(self, pod: Pod, now: float) -> None:
        self._absences = 0
        if not pod.live:
            self.failure = f"it is {pod.status}"
        if pod.uptime is None:
            return
        if not self.has_container:
            self.has_container, self._since, self.phase = True, now, "container"
        self._restarts += pod.uptime < self._uptime
        self._uptime = pod.uptime
        if self._restarts >= RESTARTS_OF_A_LOOP:
            self.failure = f"its container was restarted {self._restarts} times"

    def see_no_pod(self, now: float) -> None:
        self._absences += 1
        if self._absences >= GONE_AFTER_LOOKS and now - self.started > APPEAR_SECONDS:
            self.failure = "it is gone: it ended itself, or someone ended it"

    def see_container_log(self, lines: Iterable[str]) -> None:
        for line in lines:
            if match := PHASE.search(line):
                self.phase, self._detail = match[1], f"{match[2]}{match[3]}"
            elif match := FATAL.search(line):
                self.failure = match[1]

    def see_system_log(self, lines: Iterable[str], now: float) -> None:
        for line in lines:
            if PULLING.search(line):
                self._last_pull = now
                continue
            self._system[line] += 1
            if self._system[line] >= REPEATS_OF_A_LOOP:
                self.failure = f"the host repeats: {line}"

    def see_probes(self, probes: Iterable[Probe], now: float) -> None:
        fault = next((probe.fault for probe in probes if probe.fault), "")
        self._fault_since = (self._fault_since or now) if fault else None
        if self._fault_since and now - self._fault_since > FAULT_SECONDS:
            self.failure = fault

    def check(self, pod: Pod, now: float) -> None:
        """Raises PodFailed for a pod that will not serve, BadHost where the container should have started by now."""
        waited = now - self._since
        pulling = now - self._last_pull < PULL_LULL_SECONDS
        if not self.failure and self.has_container and waited > self._boot_seconds:
            self.failure = f"it was not ready {waited / 60:.0f} minutes after its container started"
        if self.failure:
            raise PodFailed(f"pod {pod.id}: {self.failure}")
        if not self.has_container and waited > (PULL_SECONDS if pulling else CONTAINER_SECONDS):
            raise BadHost(f"pod {pod.id}: no container after {waited / 60:.0f} minutes")


@dataclass(frozen=True)
class World:
    """What surrounds a deploy: the API and its clock, names, narration, the pod's logs, probes and signals."""

    client: RunpodClient
    new_suffix: Callable[[], str]
    say: Callable[[str], None]
    follow: Callable[[str, str], LogFollower]
    probe: Callable[[Access], tuple[Probe, Probe]]
    interrupts: Interrupts


def wait_until_ready(world: World, pod: Pod, proxy_url: str, boot_minutes: float) -> tuple[Pod, Access]:
    """The pod and its access once both public URLs work.

    Raises BadHost when no container starts, PodFailed when the pod dies, loops, or is not ready `boot_minutes` after
    its container started.
    """
    logs = {source: world.follow(pod.id, source) for source in ("container", "system")}
    watch = Watch(world.client.clock(), boot_minutes * 60 + BOOT_MARGIN_SECONDS)
    said, said_at = "", watch.started
    try:
        while True:
            now = world.client.clock()
            try:
                pod = world.client.get_pod(pod.id)
                watch.see_pod(pod, now)
            except NotFound:
                watch.see_no_pod(now)
            except ApiError as error:
                world.say(f"could not look at the pod, trying again ({error.message})")
            watch.see_container_log(logs["container"].lines())
            watch.see_system_log(logs["system"].lines(), now)
            if watch.phase != said or now - said_at >= SAY_EVERY_SECONDS:
                said, said_at = watch.phase, now
                world.say(watch.line(now, pod.cost_per_hour))
            where = access(pod, proxy_url)
            if watch.has_container and where.api_url and where.webui_url and not watch.failure:
                probes = world.probe(where)
                if all(probe.ready for probe in probes):
                    return pod, where
                watch.see_probes(probes, now)
            watch.check(pod, now)
            world.client.sleep(POLL_SECONDS)
    finally:
        for log in logs.values():
            log.close()
