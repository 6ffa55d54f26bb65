"""When a pod is up: its probes, and its log, followed through cuts.

Nothing here changes anything. The log only tells more: without it the probes alone decide.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass

from podkit.errors import ApiError, NotFound, PodFailed
from podkit.interrupts import Interrupts
from podkit.pods.access import Access, access
from podkit.pods.boot_log import parse_line
from podkit.pods.limits import minutes_of
from podkit.pods.logs import LogFollower
from podkit.pods.made import MadePods
from podkit.pods.probes import Probes
from podkit.pods.watch import BootWatch, Progress
from podkit.runpod.client import RunpodClient
from podkit.runpod.logs import LogLine
from podkit.runpod.types import Pod
from podkit.text import clip, stop_command

POLL_SECONDS = 2.0
LAST_LINES = 8
"""So many lines of the log of a pod that failed are shown, beside what podkit's own have told."""
LONGEST_LINE = 200


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
    world: World,
    pod: Pod,
    proxy_url: str,
    boot_minutes: float,
    *,
    needs_page: bool = True,
) -> tuple[Pod, Access]:
    """The pod and its access once both public URLs work; without `needs_page`, once the API does.

    How long its boot may take is the pod's own limit, and `boot_minutes` where it does not say.

    Raises BadHost when no container starts, PodFailed when the pod dies, loops, or is not ready in
    time; the last lines of its log are said before."""
    with closing(Boot(world, pod, proxy_url, boot_minutes, needs_page=needs_page)) as boot:
        try:
            with world.showing() as show:
                while True:
                    serving = boot.look(show)
                    if serving:
                        return serving
                    world.client.sleep(POLL_SECONDS)
        except PodFailed:
            boot.say_last_lines()
            raise


class Boot:
    """One pod on its way up: `look()` again and again, and `close()` in the end."""

    def __init__(
        self,
        world: World,
        pod: Pod,
        proxy_url: str,
        boot_minutes: float,
        *,
        needs_page: bool,
    ) -> None:
        self._world = world
        self._pod = pod
        self._proxy_url = proxy_url
        self._needs_page = needs_page
        self._logs = {source: world.follow(pod.id, source) for source in ("container", "system")}
        minutes = minutes_of(pod, "PODKIT_BOOT_MINUTES") or boot_minutes
        self._watch = BootWatch(world.client.clock(), minutes)
        self._probes = world.new_probes()
        self._last_lines: deque[LogLine] = deque(maxlen=LAST_LINES)

    def look(self, show: Callable[[Progress], None]) -> tuple[Pod, Access] | None:
        """The pod and its access once it serves, else None. Raises what wait_until_ready() does."""
        world = self._world
        watch = self._watch
        self._pod = _look(world, watch, self._pod)
        now = world.client.clock()
        lines = self._logs["container"].lines()
        watch.see_container_log(lines, now)
        self._last_lines += [one for one in lines if parse_line(one.text) is None]
        watch.see_system_log(self._logs["system"].lines(), now)
        spent = self._pod.spent(world.client.now())
        where = access(self._pod, self._proxy_url)
        is_serving = _is_serving(world, watch, self._probes, where, needs_page=self._needs_page)
        show(watch.progress(self._pod, now, spent))
        if is_serving:
            return self._pod, where
        watch.check(self._pod, now)
        return None

    def say_last_lines(self) -> None:
        """Say what a pod that failed wrote last."""
        for last in self._last_lines:
            self._world.say(f"    its log: {clip(last.text, LONGEST_LINE)}")

    def close(self) -> None:
        """Read its log no more."""
        for log in self._logs.values():
            log.close()


def _is_serving(
    world: World,
    watch: BootWatch,
    probes: Probes,
    where: Access,
    *,
    needs_page: bool,
) -> bool:
    """Whether the public URLs work that are needed; they are asked even where nothing shows a
    container yet.
    """
    if watch.failed or not (where.api_url and where.webui_url):
        return False
    now = world.client.clock()
    api, page = probes.look(where)
    if api.answered or page.answered:
        watch.see_container(now)
    if api.ready and (page.ready or not needs_page):
        watch.see_serving(now)
        if page.remark:
            world.say(page.remark)
        return True
    watch.see_fault(api.fault or (page.fault if needs_page else ""), now)
    return False


def _look(world: World, watch: BootWatch, pod: Pod) -> Pod:
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


def while_it_is_there(pod_id: str) -> str:
    """What follows the next step of a failed pod that is still there."""
    logs = f"./podkit.sh logs {pod_id} shows its log while it is there"
    return f"; {logs}, {stop_command(pod_id)} ends it"
