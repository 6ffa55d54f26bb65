"""When a pod is up: probes through the same public URLs that people use, and its log, followed through cuts.

Nothing here changes anything. A proxy's error page is "not yet"; a refused key or login is our own fault and said so.
The log only tells more: without it the probes alone decide.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import requests

from podkit.errors import ApiError, NotFound
from podkit.interrupts import Interrupts
from podkit.models.spec import model_of_pod
from podkit.pods.watch import Progress, Watch
from podkit.runpod.client import RunpodClient
from podkit.runpod.types import API_PORT, WEBUI_PORT, Pod
from podkit.secret import Secret

POLL_SECONDS = 2.0
PROBE_TIMEOUT = (5.0, 30.0)
LOOK = "; ./podkit.sh logs {0} shows its log while it is there, ./stop_pod.sh {0} ends it"
"""What follows the next step of a failed pod that is still there."""


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
    body = {
        "model": where.model,
        "max_tokens": 1,
        "messages": [{"role": "user", "content": "Say OK."}],
    }
    status, answer = _probed(session, f"{where.api_url}/chat/completions", body, where.key)
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
    status, answer = _probed(session, f"{where.webui_url}/api/v1/auths/signin", body, Secret(""))
    if status == 200 and answer.get("token"):
        return Probe(True)
    if status in (400, 401, 403) and answer:
        return Probe(False, "the chat page refuses the login that the pod was given")
    return NOT_YET


def post(
    session: requests.Session,
    url: str,
    body: object,
    key: Secret,
    timeout: tuple[float, float],
    *,
    stream: bool = False,
) -> requests.Response:
    """The answer to JSON that is sent to a pod's own URL with its key, if it has one. Raises RequestException."""
    headers = {"Authorization": f"Bearer {key.reveal()}"} if key else {}
    return session.post(  # without `auth`, requests puts a ~/.netrc entry in place of the header
        url,
        json=body,
        headers=headers,
        auth=lambda sent: sent,
        timeout=timeout,
        stream=stream,
        allow_redirects=False,
    )


def _probed(
    session: requests.Session, url: str, body: object, key: Secret
) -> tuple[int, dict[str, Any]]:
    """(status, JSON object); status 0 and {} while nothing sensible answers."""
    try:
        response = post(session, url, body, key, PROBE_TIMEOUT)
        answer = response.json()
    except (requests.RequestException, ValueError):
        return 0, {}
    return response.status_code, answer if isinstance(answer, dict) else {}


class LogFollower:
    """Follows one log of a pod in a thread of its own, resuming after each cut.

    `open_log` takes the last event id and yields (event id, line). `lines()` hands over what came since the last call;
    `follows` is false from a failure to open it until the next line.
    """

    def __init__(
        self, open_log: Callable[[str], Iterator[tuple[str, str]]], sleep: Callable[[float], None]
    ) -> None:
        self._open_log = open_log
        self._sleep = sleep
        self._queue: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._closed = False
        self.follows = True
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
                    self.follows = True
                    if self._closed:
                        return
            except ApiError:
                self.follows = False  # the log is a comfort; the probes decide
            self._sleep(POLL_SECONDS)


@dataclass(frozen=True)
class World:
    """What surrounds a deploy: the API and its clock, names, narration, the pod's logs, probes and signals.

    `showing()` is entered for a wait, and gives what shows each Progress of it to a person or a program.
    """

    client: RunpodClient
    new_suffix: Callable[[], str]
    say: Callable[[str], None]
    follow: Callable[[str, str], LogFollower]
    probe: Callable[[Access], tuple[Probe, Probe]]
    showing: Callable[[], AbstractContextManager[Callable[[Progress], None]]]
    interrupts: Interrupts


def wait_until_ready(
    world: World, pod: Pod, proxy_url: str, boot_minutes: float
) -> tuple[Pod, Access]:
    """The pod and its access once both public URLs work.

    Raises BadHost when no container starts, PodFailed when the pod dies, loops, or is not ready in time.
    """
    logs = {source: world.follow(pod.id, source) for source in ("container", "system")}
    watch = Watch(world.client.clock(), boot_minutes)
    try:
        with world.showing() as show:
            while True:
                pod, now = _look(world, watch, pod), world.client.clock()
                watch.see_container_log(logs["container"].lines(), now)
                watch.see_system_log(logs["system"].lines(), now)
                spent = pod.spent(world.client.now())
                where = access(pod, proxy_url)
                if watch.has_container and where.api_url and where.webui_url and not watch.failed:
                    probes = world.probe(where)
                    if all(probe.ready for probe in probes):
                        watch.see_serving(now)
                        show(watch.progress(pod, now, spent))
                        return pod, where
                    watch.see_fault(next((probe.fault for probe in probes if probe.fault), ""), now)
                show(watch.progress(pod, now, spent))
                watch.check(pod, now, log_follows=logs["container"].follows)
                world.client.sleep(POLL_SECONDS)
    finally:
        for log in logs.values():
            log.close()


def _look(world: World, watch: Watch, pod: Pod) -> Pod:
    """The pod as it is now, or as it was where the API does not say."""
    now = world.client.clock()
    try:
        pod = world.client.get_pod(pod.id)
        watch.see_pod(pod, now)
    except NotFound:
        watch.see_no_pod(now)
    except ApiError as error:
        watch.see_no_answer()
        world.say(f"could not look at the pod, trying again ({error.message})")
    return pod
