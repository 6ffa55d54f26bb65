"""When a pod is up: its probes, and its log, followed through cuts.

Nothing here changes anything. The log only tells more: without it the probes alone decide.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

from podkit.errors import ApiError, NotFound
from podkit.interrupts import Interrupts
from podkit.pods.access import Access, access
from podkit.pods.made import MadePods
from podkit.pods.probes import Probes
from podkit.pods.watch import Progress, Watch
from podkit.runpod.client import RunpodClient
from podkit.runpod.logs import LogLine
from podkit.runpod.types import Pod

POLL_SECONDS = 2.0
LOOK = "; ./podkit.sh logs {0} shows its log while it is there, ./stop_pod.sh {0} ends it"
"""What follows the next step of a failed pod that is still there."""


class LogFollower:
    """Follows one log of a pod in a thread of its own, resuming after each cut.

    `open_log` takes the last event id and yields its lines. `lines()` hands over what came since the last call;
    `follows` is false from a failure to open it until the next line.
    """

    def __init__(
        self, open_log: Callable[[str], Iterator[LogLine]], sleep: Callable[[float], None]
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
                for line in self._open_log(last_event_id):
                    last_event_id = line.event_id or last_event_id
                    self._queue.put(line.text)
                    self.follows = True
                    if self._closed:
                        return
            except ApiError:
                self.follows = False  # the log is a comfort; the probes decide
            self._sleep(POLL_SECONDS)


@dataclass(frozen=True)
class World:
    """What surrounds a deploy: the API and its clock, names, narration, logs, probes and signals.

    `here` gives a message with its commands as they work here; `made` is what this checkout made.
    `showing()` is entered for a wait, and gives what shows each Progress of it to a person or a
    program.
    """

    client: RunpodClient
    new_suffix: Callable[[], str]
    say: Callable[[str], None]
    here: Callable[[str], str]
    made: MadePods
    follow: Callable[[str, str], LogFollower]
    new_probes: Callable[[], Probes]
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
    probes = world.new_probes()
    try:
        with world.showing() as show:
            while True:
                pod, now = _look(world, watch, pod), world.client.clock()
                watch.see_container_log(logs["container"].lines(), now)
                watch.see_system_log(logs["system"].lines(), now)
                spent = pod.spent(world.client.now())
                where = access(pod, proxy_url)
                if watch.has_container and where.api_url and where.webui_url and not watch.failed:
                    api, page = probes.look(where)
                    if api.ready and page.ready:
                        watch.see_serving(now)
                        show(watch.progress(pod, now, spent))
                        if page.remark:
                            world.say(page.remark)
                        return pod, where
                    watch.see_fault(api.fault or page.fault, now)
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
