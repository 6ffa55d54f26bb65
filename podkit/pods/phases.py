"""What several pods are at right now, looked at side by side and within a bounded time.

A list must not make a pod that boots look ready, nor wait for one that does not answer: what is not
known by then is told as not known. Nobody signs in here, and no completion is asked for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence

from podkit.errors import ApiError
from podkit.pods.access import access
from podkit.pods.pod_http import Session
from podkit.pods.probes import is_up
from podkit.pods.watch import BootWatch
from podkit.runpod.client import RunpodClient
from podkit.runpod.logs import LogLine
from podkit.runpod.types import Pod

LOOK_SECONDS = 1.5
LOG_LINES = 200
READY = "ready"
UNKNOWN = "unknown"


class PodLook:
    """One look at a pod: `answers` tells whether both public URLs do, `read_log` gives its log's
    last lines."""

    def __init__(
        self, pod: Pod, answers: Callable[[], bool], read_log: Callable[[], Iterable[LogLine]]
    ) -> None:
        self.pod = pod
        self.done = threading.Event()
        self._answers = answers
        self._read_log = read_log
        self._lines: list[LogLine] = []
        self._is_up = False
        self._looking = 2
        self._lock = threading.Lock()
        for work in (self._probe, self._read):
            threading.Thread(target=work, daemon=True).start()

    def phase(self) -> str:
        """`ready`, `failed`, the phases that go on, such as `install, fetch`, or what else is known
        so far."""
        if self._is_up:
            return READY
        watch = BootWatch(0.0, boot_minutes=1.0)
        watch.see_pod(self.pod, 0.0)
        watch.see_container_log(list(self._lines), 0.0)
        if watch.failed:
            return "failed"
        running = [step.phase for step in watch.progress(self.pod, 0.0, 0.0).running]
        if running == [READY]:
            return UNKNOWN  # it was ready, and does not answer now
        return ", ".join(running) or UNKNOWN

    def _probe(self) -> None:
        try:
            self._is_up = self._answers()
            if self._is_up:
                self.done.set()
        finally:
            self._leave()

    def _read(self) -> None:
        try:
            for line in self._read_log():
                self._lines.append(line)
        except ApiError:
            pass  # a log that cannot be read tells nothing
        finally:
            self._leave()

    def _leave(self) -> None:
        with self._lock:
            self._looking -= 1
            if not self._looking:
                self.done.set()


def phases_of(
    pods: Sequence[Pod],
    client: RunpodClient,
    session: Session,
    proxy_url: str,
    seconds: float = LOOK_SECONDS,
) -> dict[str, str]:
    """The phase of each of podkit's live pods by its id, after at most so many seconds.

    The phases are those of docs/json.md; `ready` says that the API and the chat page answer; a
    pod that reads a workspace has no page.
    """
    looks = []
    for pod in pods:
        if pod.ours and pod.live:
            looks.append(_look_at(pod, client, session, proxy_url))
    deadline = client.clock() + seconds
    for look in looks:
        look.done.wait(max(deadline - client.clock(), 0.0))
    return {look.pod.id: look.phase() for look in looks}


def _look_at(pod: Pod, client: RunpodClient, session: Session, proxy_url: str) -> PodLook:
    where = access(pod, proxy_url)
    return PodLook(
        pod,
        answers=lambda: is_up(session, where, needs_page="PODKIT_WORKSPACE" not in pod.env),
        read_log=lambda: client.pod_log(pod.id, "container", LOG_LINES, brief=True),
    )
