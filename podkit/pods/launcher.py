"""Places one pod: takes the one that lives, else creates exactly one, and waits until it serves.

It must never create a pod while an earlier create of its own is unclear, never end a pod whose
name it did not make, and never leave without the ledger naming every pod that may be billing.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime

from podkit.errors import (
    ApiError,
    BadHost,
    Interrupted,
    NoCapacity,
    PodFailed,
    PodkitError,
    PodUnclear,
    UsageError,
)
from podkit.models.spec import Model
from podkit.pods.access import Access, access
from podkit.pods.adopting import check_limits, say_differences
from podkit.pods.creator import Creator
from podkit.pods.known import find_live_pod, listed_pod
from podkit.pods.ledger import Ledger, age_key
from podkit.pods.placement import Candidate, Placement
from podkit.pods.readiness import World, wait_until_ready, while_it_is_there
from podkit.pods.refusals import Refusal, verdict
from podkit.pods.survey import say_placement, survey
from podkit.pods.wishes import Wishes
from podkit.runpod.client import RunpodClient
from podkit.runpod.types import NAME_PREFIX, NetworkVolume, Pod
from podkit.settings import Settings
from podkit.text import stop_command

ADDRESS_SECONDS = 30.0
BAD_HOSTS_PER_CANDIDATE = 2
ENDED = "; this pod was ended, ./deploy_{0}.sh --keep-failed keeps one for a look"
GONE = "it is no longer billed; ./deploy_{0}.sh makes another"
STOCK_STEP_SECONDS = 60.0
"""How often a deploy that waits for stock asks again: far below the API's 60 requests a minute
(RateLimit-Policy of the document of 2026-08-20), with at most a few creates each time.
"""


class Launcher:
    """One pod of a model: `run()` it. Its ledger tells at any moment what may be billing."""

    def __init__(
        self,
        settings: Settings,
        model: Model,
        world: World,
        ledger: Ledger,
        wishes: Wishes,
    ) -> None:
        self._settings = settings
        self._model = model
        self._world = world
        self._client = world.client
        self._ledger = ledger
        self._wishes = wishes
        self._stem = NAME_PREFIX + model.name
        self._queue: deque[Candidate] = deque()
        self._placement = Placement(())
        self._creator: Creator
        self._stock_until = world.client.clock() + wishes.stock_minutes * 60
        self._bad_hosts: Counter[str] = Counter()

    def run(
        self,
        placed: Callable[[], None],
        served: Callable[[Pod, Access], None],
    ) -> tuple[Pod, Access]:
        """The pod and its access.

        `placed` is called once there is a pod that a second deploy would find, `served` with the
        result before a sweep that may take minutes. On the way out of any failure it ends what it
        made and does not keep; what it could not end, or a signal left, the ledger tells.
        """
        try:
            return self._run(placed, served)
        except Interrupted:  # perhaps of the sweep after a failure
            if self._wishes.rm_on_interrupt:
                self._ledger.end_own()
            self._ledger.try_sweep(patient=False)
            raise

    def _run(
        self,
        placed: Callable[[], None],
        served: Callable[[Pod, Access], None],
    ) -> tuple[Pod, Access]:
        try:
            pod = self.place()
            placed()
            if self._wishes.wait:
                pod, where = self.wait(pod)
            else:
                pod, where = wait_for_address(self._client, pod, self._settings.proxy_url)
            served(pod, where)
            self._ledger.try_sweep(patient=True)
            for line in self._ledger.left_running(but=pod.id):
                self._world.say(line)
            return pod, where
        except PodkitError as error:
            if not isinstance(error, Interrupted):
                self._ledger.try_sweep(patient=not isinstance(error, PodUnclear))
            raise

    def place(self) -> Pod:
        """The pod of this deploy: a live one of the same model, or a new one.

        Raises verdict()'s error if there is none.
        """
        there = self._find_live_pod()
        if there:
            return self._adopt(there)
        volume, self._placement = self._survey()
        self._creator = Creator(self._settings, self._model, self._world, self._ledger, volume.id)
        say_placement(self._placement, self._settings, self._world.say)
        self._queue.extend(self._placement.candidates)
        return self._resolve_strays(self._next_pod_in_stock())

    def outlook(self) -> tuple[Pod | None, NetworkVolume, Placement, datetime]:
        """What place() would do: the live pod that it would return, or the volume and candidates
        of a new one; and now. Reads only. Raises what place() would before its first create.
        """
        there = None if self._wishes.new else listed_pod(self._client, self._stem)
        if there:
            self._say_refusal(there)
        volume, placement = self._survey()
        if not (there or placement.candidates):
            raise verdict((), placement, self._model.name)
        return there, volume, placement, self._client.now()

    def wait(self, pod: Pod) -> tuple[Pod, Access]:
        """The pod that serves, and its access. A bad host is replaced on the way, so it may be
        another pod. Raises PodFailed.
        """
        settings = self._settings
        while True:
            try:
                ready, where = wait_until_ready(
                    self._world,
                    pod,
                    settings.proxy_url,
                    settings.boot_minutes,
                    needs_page=self._wishes.needs_page,
                )
            except BadHost as error:
                pod = self._replace_host(pod, error)
                continue
            except PodFailed as error:
                self._end_failed(pod, error)
                raise
            self._ledger.keep(ready)
            pod = self._resolve_strays(ready)
            if pod.id == ready.id:
                return ready, where

    def _end_failed(self, pod: Pod, error: PodFailed) -> None:
        if self._ledger.is_own(pod) and not self._settings.keep_failed:
            self._ledger.end(pod)
            error.hint += ENDED.format(self._model.name)
        elif self._ledger.forget_if_gone(pod):
            error.hint = GONE.format(self._model.name)
        else:
            error.hint += while_it_is_there(pod.id)

    def _find_live_pod(self) -> Pod | None:
        """The live pod of the same model that a deploy returns instead of making one."""
        if self._wishes.new:
            return None
        return find_live_pod(self._client, self._stem, self._world.made, self._world.say)

    def _survey(self) -> tuple[NetworkVolume, Placement]:
        return survey(self._client, self._settings, self._model, self._world.say)

    def _adopt(self, pod: Pod) -> Pod:
        """Take a pod that is there. Raises UsageError if its limits are looser than asked for."""
        self._ledger.keep(pod)
        say_differences(pod, self._settings, self._model, self._world.say)
        self._check_limits(pod)
        return pod

    def _say_refusal(self, pod: Pod) -> None:
        """Say so if a deploy would refuse this pod for its limits."""
        try:
            self._check_limits(pod)
        except UsageError as error:
            self._world.say(f"{error.message}; {error.hint}")

    def _check_limits(self, pod: Pod) -> None:
        check_limits(
            pod,
            self._settings,
            self._wishes,
            self._model.name,
            self._client.now(),
            self._world.say,
        )

    def _next_pod_in_stock(self) -> Pod:
        """_next_pod(); while it says NoCapacity, again as long as was asked for."""
        rounds = 1
        while True:
            try:
                return self._next_pod()
            except NoCapacity as error:
                left = self._stock_until - self._client.clock()
                if left <= 0:
                    if self._wishes.stock_minutes:
                        error.message += f" ({rounds} times asked)"
                    raise
            pause = min(STOCK_STEP_SECONDS, left)
            until = datetime.fromtimestamp(self._stock_until, UTC).astimezone()
            told = f"no free GPU yet, {rounds} times asked; asking again in {pause:.0f} s"
            self._world.say(f"{told}, until {until:%H:%M}")
            self._client.sleep(pause)
            rounds += 1
            self._plan_again()

    def _plan_again(self) -> None:
        """The candidates by the catalogue as it is now, or as it was while it cannot be read."""
        self._creator.refusals.clear()
        try:
            _, self._placement = self._survey()
        except ApiError as error:
            self._world.say(f"the account could not be read, asking again ({error.message})")
        self._queue.extend(self._placement.candidates)

    def _next_pod(self) -> Pod:
        while self._queue:
            pod = self._creator.make(self._queue[0])
            if pod:
                return pod
            self._queue.popleft()
        raise verdict(self._creator.refusals, self._placement, self._model.name)

    def _resolve_strays(self, pod: Pod) -> Pod:
        """`pod`, after strays are ended; or, if another laptop's pod of this model is older,
        that one instead, and this one is ended.
        """
        try:
            pods = self._client.list_pods()
            self._ledger.end_strays(pods)
        except (ApiError, PodUnclear) as error:
            self._world.say(f"could not look for pods made twice ({error.message})")
            return pod
        if self._wishes.new or not self._ledger.is_own(pod):
            return pod
        older = self._older_of_others(pod, pods)
        if not older:
            return pod
        try:
            self._check_limits(older)
        except UsageError as error:
            self._world.say(f"{error.message}; keeping pod {pod.label}")
            return pod
        self._world.say(f"another deploy made {older.label} first; ending {pod.id} again")
        self._ledger.end(pod)
        return self._adopt(older)

    def _older_of_others(self, pod: Pod, pods: Sequence[Pod]) -> Pod | None:
        """The oldest live pod of this model that another laptop made before `pod`."""
        shown = pod
        found = []
        for other in pods:
            if other.id == pod.id:
                shown = other
            is_of_model = other.name.rpartition("-")[0] == self._stem
            if is_of_model and other.live and not self._ledger.is_own(other):
                found.append(other)
        first = min(found, key=age_key, default=None)
        return first if first and age_key(first) <= age_key(shown) else None

    def _replace_host(self, pod: Pod, error: PodkitError) -> Pod:
        """A pod on another host: the same GPU type twice more, then the next."""
        if not self._ledger.is_own(pod):
            raise PodFailed(error.message, f"{stop_command(pod.id)} ends it; then deploy again")
        self._world.say(f"{error.message}; ending it and trying another host")
        self._ledger.end(pod)
        self._ledger.end_strays(self._client.list_pods())
        candidate = self._queue[0]
        self._bad_hosts[candidate.gpu_type] += 1
        if self._bad_hosts[candidate.gpu_type] > BAD_HOSTS_PER_CANDIDATE:
            self._creator.refusals.append(Refusal(candidate, error))
            self._queue.popleft()
        return self._resolve_strays(self._next_pod_in_stock())


def wait_for_address(client: RunpodClient, pod: Pod, proxy_url: str) -> tuple[Pod, Access]:
    """The pod and its access as soon as its URLs are known.

    That is at once on the service, and in the sandbox when the container runs.
    """
    deadline = client.clock() + ADDRESS_SECONDS
    where = access(pod, proxy_url)
    while not where.api_url and client.clock() < deadline:
        client.sleep(1.0)
        with suppress(ApiError):
            pod = client.get_pod(pod.id)
        where = access(pod, proxy_url)
    return pod, where
