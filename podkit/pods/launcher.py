"""Places one pod: takes the one that lives, else creates exactly one, and waits until it serves.

It must never create a pod while an earlier create of its own is unclear, never end a pod whose
name it did not make, and never leave without the ledger naming every pod that may be billing.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from podkit.errors import (
    ApiError,
    BadHost,
    Interrupted,
    NoCapacity,
    PodFailed,
    PodkitError,
    PodUncertain,
    RateLimited,
    UsageError,
)
from podkit.models.spec import Model, served_by_pod
from podkit.pods.access import Access, access
from podkit.pods.known import find_live_pod
from podkit.pods.ledger import Ledger, age_key
from podkit.pods.limits import compare_limits
from podkit.pods.placement import (
    Candidate,
    Placement,
    choose_volume,
    plan_placement,
    suggestion,
)
from podkit.pods.readiness import LOOK, World, wait_until_ready
from podkit.pods.refusals import REFUSING, Refusal, verdict
from podkit.pods.request import pod_spec
from podkit.runpod.types import MIN_CUDA, NAME_PREFIX, NetworkVolume, Pod, create_body
from podkit.settings import Settings

RATE_LIMIT_SECONDS = 180.0
RATE_LIMIT_STEP = 5.0
ADDRESS_SECONDS = 30.0
NAMES_PER_CANDIDATE = 3
BAD_HOSTS_PER_CANDIDATE = 2
STOCK_STEP_SECONDS = 60.0
"""How often a deploy that waits for stock asks again: far below the API's 60 requests a minute
(RateLimit-Policy of the document of 2026-08-20), with at most a few creates each time.
"""


@dataclass(frozen=True)
class Wishes:
    """What a deploy is asked to do beside its settings.

    `new` makes another pod even if one is there; `adopt` takes one whose limits are looser than
    asked; `wait` waits until it serves; `stock_minutes` is how long to wait for a free GPU;
    `given` are the names of the settings that were given and are no defaults.
    """

    new: bool = False
    adopt: bool = False
    wait: bool = True
    rm_on_interrupt: bool = False
    stock_minutes: float = 0.0
    given: frozenset[str] = frozenset()


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
        self._refusals: list[Refusal] = []
        self._bad_hosts: Counter[str] = Counter()
        self._rate_waited = 0.0
        self._volume_id = ""

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
            pod, where = self.wait(pod) if self._wishes.wait else self._addressed(pod)
            served(pod, where)
            self._ledger.try_sweep(patient=True)
            for line in self._ledger.left_running(but=pod.id):
                self._world.say(line)
            return pod, where
        except PodkitError as error:
            if not isinstance(error, Interrupted):
                self._ledger.try_sweep(patient=not isinstance(error, PodUncertain))
            raise

    def place(self) -> Pod:
        """The pod of this deploy: a live one of the same model, or a new one.

        Raises verdict()'s error if there is none.
        """
        there = self._find_live_pod()
        if there:
            return self._adopt(there)
        volume, self._placement = self.plan()
        self._volume_id = volume.id
        self._say_placement()
        self._queue.extend(self._placement.candidates)
        return self._resolve_twins(self._next_pod_in_stock())

    def plan(self) -> tuple[NetworkVolume, Placement]:
        """The volume to mount, and what to try of the catalogue as it is now."""
        volume = self._choose_volume()
        catalog = None
        try:
            catalog = self._client.list_gpu_types(MIN_CUDA)
        except ApiError as error:
            self._world.say(f"prices and stock are unknown ({error.message})")
        return volume, plan_placement(self._settings, self._model.needs, catalog)

    def outlook(self) -> tuple[Pod | None, NetworkVolume, Placement, datetime]:
        """What place() would do: the live pod that it would return, or the volume and candidates
        of a new one; and now. Reads only. Raises what place() would before its first create.
        """
        there = self._find_live_pod()
        volume, placement = self.plan()
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
                    self._world, pod, settings.proxy_url, settings.boot_minutes
                )
            except BadHost as error:
                pod = self._replace_host(pod, error)
                continue
            except PodFailed as error:
                self._end_failed(pod, error)
                raise
            self._ledger.keep(ready)
            pod = self._resolve_twins(ready)
            if pod.id == ready.id:
                return ready, where

    def _end_failed(self, pod: Pod, error: PodFailed) -> None:
        if self._ledger.is_own(pod) and not self._settings.keep_failed:
            self._ledger.end(pod)
            error.hint += " (the pod was terminated; --keep-failed keeps it for a look)"
        else:
            error.hint += LOOK.format(pod.id)

    def _find_live_pod(self) -> Pod | None:
        """The live pod of the same model that a deploy returns instead of making one."""
        if self._wishes.new:
            return None
        return find_live_pod(self._client, self._stem, self._world.made, self._world.say)

    def _adopt(self, pod: Pod) -> Pod:
        """Take a pod that is there, and say how it differs from what was asked for.

        Raises UsageError if a limit that was given is stricter than the pod's own.
        """
        self._ledger.keep(pod)
        what = f"pod {pod.id} ({pod.name}) is already there, ${pod.cost_per_hour:.2f}/h"
        self._world.say(f"{what}; --new makes another")
        settings = self._settings
        model = served_by_pod(pod.env)
        checkpoint = model.checkpoint if model else "unknown"
        for what, has, wanted in (
            ("GPU", pod.gpu_type, settings.gpus),
            ("data center", pod.data_center, (settings.data_center,)),
            ("volume", pod.volume_id, (settings.volume_id or pod.volume_id,)),
            ("checkpoint", checkpoint, (self._model.checkpoint,)),
        ):
            if has not in wanted:
                asked = " or ".join(wanted)
                self._world.say(f"it differs from what was asked for: {what} is {has}, not {asked}")
        self._compare_limits(pod)
        return pod

    def _compare_limits(self, pod: Pod) -> None:
        differences = compare_limits(pod, self._settings, self._wishes.given, self._client.now())
        looser = [one.text for one in differences if one.is_looser]
        for one in differences:
            if not one.is_looser or self._wishes.adopt:
                self._world.say(f"it differs from what was asked for: {one.text}")
        if looser and not self._wishes.adopt:
            name = self._model.name
            hint = (
                f"./deploy_{name}.sh --adopt takes it as it is; "
                f"./deploy_{name}.sh --new, with the same limits, makes another"
            )
            what = f"pod {pod.id} ({pod.name}) does not keep the limits asked for"
            raise UsageError(f"{what}: {'; '.join(looser)}", hint)

    def _say_placement(self) -> None:
        for gpu_type, why in self._placement.skipped:
            self._world.say(f"skipped {gpu_type}: {why}")
        is_reordered = self._settings.in_stock or self._settings.cheapest or self._settings.any_gpu
        for place, candidate in enumerate(self._placement.candidates, 1):
            if is_reordered:
                self._world.say(f"{place}. {candidate.gpu_type}: {candidate.reason}")
            if candidate.fit and candidate.fit.verdict != "fits":
                self._world.say(f"{candidate.gpu_type}: the model's fit is {candidate.fit}")

    def _choose_volume(self) -> NetworkVolume:
        wanted = self._settings.data_center
        volumes = self._client.list_volumes()
        try:
            return choose_volume(volumes, wanted, self._settings.volume_id)
        except UsageError:
            known = self._client.list_data_centers()
            if wanted in known:
                raise
            hint = suggestion(wanted, known) or f"there are: {', '.join(sorted(known))}"
            raise UsageError(f"unknown data center {wanted!r}", hint) from None

    def _next_pod_in_stock(self) -> Pod:
        """_next_pod(); while it says NoCapacity, again as long as was asked for."""
        deadline = self._client.clock() + self._wishes.stock_minutes * 60
        rounds = 1
        while True:
            try:
                return self._next_pod()
            except NoCapacity as error:
                left = deadline - self._client.clock()
                if left <= 0:
                    if self._wishes.stock_minutes:
                        error.message += f" ({rounds} times asked)"
                    raise
            pause = min(STOCK_STEP_SECONDS, left)
            until = datetime.fromtimestamp(deadline, UTC).astimezone()
            told = f"no free GPU yet, {rounds} times asked; asking again in {pause:.0f} s"
            self._world.say(f"{told}, until {until:%H:%M}")
            self._client.sleep(pause)
            rounds += 1
            self._refusals.clear()
            _, self._placement = self.plan()
            self._queue.extend(self._placement.candidates)

    def _next_pod(self) -> Pod:
        while self._queue:
            pod = self._try(self._queue[0])
            if pod:
                return pod
            self._queue.popleft()
        raise verdict(self._refusals, self._placement, self._model.name)

    def _try(self, candidate: Candidate) -> Pod | None:
        """A pod on this candidate, or None after a refusal, which is noted."""
        names_left = NAMES_PER_CANDIDATE
        while names_left:
            try:
                pod = self._create(candidate)
            except RateLimited as error:
                self._wait_for_rate(candidate, error)
                continue
            except REFUSING as error:
                self._refuse(candidate, error)
                return None
            except ApiError as error:
                self._world.say(f"{candidate}: {error.message}")
                raise
            if pod and pod.cost_per_hour > candidate.ceiling:
                self._give_up_expensive(candidate, pod)
                return None
            if pod:
                return pod
            names_left -= 1
        given_up = PodkitError(f"no pod after {NAMES_PER_CANDIDATE} unclear creates")
        self._refusals.append(Refusal(candidate, given_up))
        return None

    def _refuse(self, candidate: Candidate, error: ApiError) -> None:
        offer = f"; CUDA {candidate.cuda}" if candidate.cuda else ""
        self._world.say(f"{candidate}: refused ({error.detail or error.message}{offer})")
        self._refusals.append(Refusal(candidate, error))

    def _wait_for_rate(self, candidate: Candidate, error: RateLimited) -> None:
        """Wait as long as a 429 asks for. Raises it if that would be too long in all."""
        seconds = RATE_LIMIT_STEP
        if error.retry_after is not None:
            seconds = max(error.retry_after, 1.0)
        if self._rate_waited + seconds > RATE_LIMIT_SECONDS:
            raise error
        self._world.say(f"{candidate}: rate limited, waiting {seconds:.0f} s")
        self._rate_waited += seconds
        self._client.sleep(seconds)

    def _give_up_expensive(self, candidate: Candidate, pod: Pod) -> None:
        """End a pod that costs more than quoted, and note that.

        Raises unless it and any twin of it are surely gone.
        """
        what = f"its pod costs ${pod.cost_per_hour:.2f}/h, {candidate.quote} was quoted"
        self._world.say(f"{candidate.gpu_type}: {what}; ending it")
        self._ledger.end(pod)
        self._ledger.sweep(patient=True)
        self._refusals.append(Refusal(candidate, PodkitError(what)))

    def _create(self, candidate: Candidate) -> Pod | None:
        """Send one create. None: it failed and its pod is proven absent.

        Raises the refusal, or PodUncertain.
        """
        name = f"{self._stem}-{self._world.new_suffix()}"
        settings = replace(self._settings, max_hours=candidate.hours)
        spec = pod_spec(
            settings,
            self._model,
            candidate.gpu_type,
            name,
            self._volume_id,
            self._client.earliest_now(),
        )
        body = create_body(spec)
        with self._world.interrupts.held():
            self._ledger.begin_create(name)
            try:
                pod = self._client.create_pod(body)
            except ApiError as error:
                if not error.unclear:
                    self._ledger.close_refused(name)
                    raise
                found = self._look_up(candidate, name, error)
                if found is None:
                    return None
                self._ledger.close_found(found)
                pod = found
            else:
                self._ledger.close_made(pod)
            price = f"${pod.cost_per_hour:.2f}/h"
            self._world.say(f"{candidate}: created pod {pod.id} ({name}) at {price}")
            return pod

    def _look_up(self, candidate: Candidate, name: str, error: ApiError) -> Pod | None:
        """The pod of an unclear create, None if it is proven absent. Raises PodUncertain."""
        self._ledger.mark_unclear()
        told = f"unclear ({error.message}); looking for a pod named {name}"
        self._world.say(f"{candidate}: {told}")
        pod = self._ledger.look_up(name)
        if pod is None:
            told = f"no pod named {name} appeared; trying again under a new name"
            self._world.say(f"{candidate}: {told}")
        return pod

    def _resolve_twins(self, pod: Pod) -> Pod:
        """`pod`, after its twins are ended; or, if another laptop's pod of this model is older,
        that one instead, and this one is ended.
        """
        try:
            pods = self._client.list_pods()
            self._ledger.end_strays(pods)
        except (ApiError, PodUncertain) as error:
            self._world.say(f"could not check for twins ({error.message})")
            return pod
        if self._wishes.new or not self._ledger.is_own(pod):
            return pod
        older = self._older_of_others(pod, pods)
        if not older:
            return pod
        told = f"another deploy made {older.id} ({older.name}) first; ending {pod.id} again"
        self._world.say(told)
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

    def _addressed(self, pod: Pod) -> tuple[Pod, Access]:
        """The pod and its access as soon as its URLs are known.

        That is at once on the service, and in the sandbox when the container runs.
        """
        proxy_url = self._settings.proxy_url
        deadline = self._client.clock() + ADDRESS_SECONDS
        where = access(pod, proxy_url)
        while not where.api_url and self._client.clock() < deadline:
            self._client.sleep(1.0)
            with suppress(ApiError):
                pod = self._client.get_pod(pod.id)
            where = access(pod, proxy_url)
        return pod, where

    def _replace_host(self, pod: Pod, error: PodkitError) -> Pod:
        """A pod on another host: the same GPU type twice more, then the next."""
        if not self._ledger.is_own(pod):
            raise PodFailed(error.message, f"./stop_pod.sh {pod.id} ends it; then deploy again")
        self._world.say(f"{error.message}; ending it and trying another host")
        self._ledger.end(pod)
        self._ledger.end_strays(self._client.list_pods())
        candidate = self._queue[0]
        self._bad_hosts[candidate.gpu_type] += 1
        if self._bad_hosts[candidate.gpu_type] > BAD_HOSTS_PER_CANDIDATE:
            self._refusals.append(Refusal(candidate, error))
            self._queue.popleft()
        return self._resolve_twins(self._next_pod())
