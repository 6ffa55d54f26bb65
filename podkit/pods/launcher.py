"""The life of one deploy: adopt what lives, else create exactly one pod, wait until it serves, sweep up.

It must never create a pod while an earlier create of its own is unresolved, never end a pod whose name it did not
make, and never leave without naming every pod that may be billing because of it (`left_running`).
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

from podkit.errors import (
    ApiError,
    BadHost,
    Interrupted,
    PodFailed,
    PodkitError,
    PodUncertain,
    RateLimited,
    UsageError,
)
from podkit.models.spec import Model, model_of_pod, pod_spec
from podkit.pods.access import Access, access
from podkit.pods.ending import terminate
from podkit.pods.placement import (
    REFUSING,
    Candidate,
    Placement,
    Refusal,
    choose_volume,
    plan,
    suggestion,
    verdict,
)
from podkit.pods.readiness import LOOK, World, wait_until_ready
from podkit.runpod.types import MIN_CUDA, NAME_PREFIX, NetworkVolume, Pod, create_body
from podkit.settings import Settings

RATE_LIMIT_SECONDS, RATE_LIMIT_STEP = 180.0, 5.0
LOOK_UP_SECONDS, LOOK_UP_STEP = 30.0, 3.0
SWEEP_SECONDS = 120.0
"""How long after an unclear create a late twin is still looked for; lists lag by seconds."""
ADDRESS_SECONDS = 30.0
NAMES_PER_CANDIDATE = 3
BAD_HOSTS_PER_CANDIDATE = 2


class Launcher:
    """One deploy: `run()` it; `left_running()` tells at any moment what may be billing because of it."""

    def __init__(
        self, settings: Settings, model: Model, world: World, *, new: bool = False
    ) -> None:
        self._settings, self._model, self._new = settings, model, new
        self._world, self._client = world, world.client
        self._stem = NAME_PREFIX + model.name
        self._names, self._unclear, self._strays = set[str](), set[str](), set[str]()
        self._pods: dict[str, Pod] = {}
        self._unclear_since = self._rate_waited = 0.0
        self._queue: deque[Candidate] = deque()
        self._placement = Placement(())
        self._refusals: list[Refusal] = []
        self._bad_hosts: Counter[str] = Counter()
        self._volume_id = ""

    def run(
        self, *, wait: bool, rm_on_interrupt: bool, placed: Callable[[], None]
    ) -> tuple[Pod, Access]:
        """The pod and its access; `placed` is called once there is a pod that a second deploy would find.

        On the way out of any failure it ends what it made and does not keep; what it could not end, or a signal left,
        is what `left_running()` says.
        """
        try:
            try:
                pod = self.place()
                placed()
                pod, where = self.wait(pod) if wait else self._addressed(pod)
                self._swept(patient=True)
                for line in self.left_running(but=pod.id):
                    self._world.say(line)
                return pod, where
            except PodkitError as error:
                if not isinstance(error, Interrupted):
                    self._swept(patient=not isinstance(error, PodUncertain))
                raise
        except Interrupted:  # perhaps of that sweep
            if rm_on_interrupt:
                for pod in [pod for pod in self._pods.values() if pod.name in self._names]:
                    try:
                        self._terminate(pod)
                        self._world.say(f"pod {pod.id} ({pod.name}) is gone and no longer billed")
                    except PodUncertain as error:  # it stays in left_running()
                        self._world.say(error.message)
            self._swept(patient=False)
            raise

    def place(self) -> Pod:
        """The pod of this deploy: a live one of the same model, or a new one. Raises verdict()'s error if none."""
        if pod := self._there():
            return self._adopted(pod)
        self._volume_id = self._surveyed().id
        for gpu_type, why in self._placement.skipped:
            self._world.say(f"skipped {gpu_type}: {why}")
        for place, candidate in enumerate(self._placement.candidates, 1):
            if self._settings.in_stock or self._settings.cheapest:
                self._world.say(f"{place}. {candidate.gpu_type}: {candidate.reason}")
            if candidate.fit and candidate.fit.verdict != "fits":
                self._world.say(f"{candidate.gpu_type}: the model's fit is {candidate.fit}")
        self._queue.extend(self._placement.candidates)
        return self._settled(self._next_pod())

    def outlook(self) -> tuple[Pod | None, NetworkVolume, Placement, datetime]:
        """What place() would do: the live pod that it would return, or the volume and candidates of a new one; and now.

        Reads only. Raises what place() would raise before its first create.
        """
        there, volume = self._there(), self._surveyed()
        if not (there or self._placement.candidates):
            raise verdict((), self._placement)
        return there, volume, self._placement, self._client.now()

    def wait(self, pod: Pod) -> tuple[Pod, Access]:
        """The pod that serves, and its access. A bad host is replaced on the way, so it may be another pod."""
        settings = self._settings
        while True:
            try:
                ready, where = wait_until_ready(
                    self._world, pod, settings.proxy_url, settings.boot_minutes
                )
            except BadHost as error:
                pod = self._replaced(pod, error)
                continue
            except PodFailed as error:
                if pod.name in self._names and not self._settings.keep_failed:
                    self._terminate(pod)
                    error.hint += " (the pod was terminated; --keep-failed keeps it for a look)"
                else:
                    error.hint += LOOK.format(pod.id)
                raise
            self._pods[ready.id] = ready
            pod = self._settled(ready)
            if pod.id == ready.id:
                return ready, where

    def left_running(self, but: str = "") -> list[str]:
        """One line for each pod that may be billing, `but` that id: what, how dear, until when, and what ends it."""
        lines = []
        for pod in [pod for pod in self._pods.values() if pod.id != but]:
            until = (
                f"it ends itself at {pod.ends_at:%Y-%m-%d %H:%M} UTC"
                if pod.ends_at
                else "it has no end time"
            )
            what = f"pod {pod.id} ({pod.name}) is there, ${pod.cost_per_hour:.2f}/h; {until}"
            lines.append(f"{what}; end it now: ./stop_pod.sh {pod.id}")
        known = {pod.name for pod in self._pods.values()}
        for name in sorted(self._unclear):
            what = f"{'another' if name in known else 'a'} pod named {name} may exist"
            lines.append(f"{what}: ./list_pods.sh shows it, ./stop_pod.sh {name} ends it")
        return lines

    def _adopted(self, pod: Pod) -> Pod:
        self._pods[pod.id] = pod
        self._world.say(
            f"pod {pod.id} ({pod.name}) is already there, ${pod.cost_per_hour:.2f}/h; --new makes another"
        )
        settings, model = self._settings, model_of_pod(pod.env)
        for what, has, wanted in (
            ("GPU", pod.gpu_type, settings.gpus),
            ("data center", pod.data_center, (settings.data_center,)),
            ("volume", pod.volume_id, (settings.volume_id or pod.volume_id,)),
            ("checkpoint", model.checkpoint if model else "unknown", (self._model.checkpoint,)),
        ):
            if has not in wanted:
                self._world.say(
                    f"it differs from what was asked for: {what} is {has}, not {' or '.join(wanted)}"
                )
        if settings.budget is not None:
            self._world.say(
                "the budget does not apply to it: its end time was fixed when it was made"
            )
        return pod

    def _there(self) -> Pod | None:
        """The live pod of the same model that a deploy returns instead of making one."""
        return None if self._new else self._oldest_of_model(self._client.list_pods())

    def _surveyed(self) -> NetworkVolume:
        """The volume to mount; reads the catalogue too, and plans by it."""
        volume, catalog = self._volume(), None
        try:
            catalog = self._client.list_gpu_types(MIN_CUDA)
        except ApiError as error:
            self._world.say(f"prices and stock are unknown ({error.message})")
        self._placement = plan(self._settings, self._model.needs, catalog)
        return volume

    def _volume(self) -> NetworkVolume:
        wanted = self._settings.data_center
        volumes = self._client.list_volumes()
        try:
            return choose_volume(volumes, wanted, self._settings.volume_id)
        except UsageError:
            if wanted in (known := self._client.list_data_centers()):
                raise
            hint = suggestion(wanted, known) or f"there are: {', '.join(sorted(known))}"
            raise UsageError(f"unknown data center {wanted!r}", hint) from None

    def _next_pod(self) -> Pod:
        while self._queue:
            if pod := self._try(self._queue[0]):
                return pod
            self._queue.popleft()
        for refusal in self._refusals:
            offer = f"; CUDA {refusal.candidate.cuda}" if refusal.candidate.cuda else ""
            self._world.say(f"  {refusal.candidate.gpu_type}: {refusal.error.message}{offer}")
        raise verdict(self._refusals, self._placement)

    def _try(self, candidate: Candidate) -> Pod | None:
        """A pod on this candidate, or None after a refusal, which is noted."""
        names_left = NAMES_PER_CANDIDATE
        while names_left:
            try:
                pod = self._create(candidate)
            except RateLimited as error:
                seconds = max(
                    RATE_LIMIT_STEP if error.retry_after is None else error.retry_after, 1.0
                )
                if self._rate_waited + seconds > RATE_LIMIT_SECONDS:
                    raise
                self._world.say(f"{candidate}: rate limited, waiting {seconds:.0f} s")
                self._rate_waited += seconds
                self._client.sleep(seconds)
                continue
            except REFUSING as error:
                self._world.say(f"{candidate}: refused ({error.detail or error.message})")
                self._refusals.append(Refusal(candidate, error))
                return None
            except ApiError as error:
                self._world.say(f"{candidate}: {error.message}")
                raise
            if pod and pod.cost_per_hour > candidate.ceiling:
                self._give_up_dear(candidate, pod)
                return None
            if pod:
                return pod
            names_left -= 1
        self._refusals.append(
            Refusal(candidate, PodkitError(f"no pod after {NAMES_PER_CANDIDATE} unclear creates"))
        )
        return None

    def _give_up_dear(self, candidate: Candidate, pod: Pod) -> None:
        """End a pod that costs more than quoted, and note that. Raises unless it and any twin of it are surely gone."""
        error = PodkitError(
            f"its pod costs ${pod.cost_per_hour:.2f}/h, {candidate.quote} was quoted"
        )
        self._world.say(f"{candidate.gpu_type}: {error.message}; ending it")
        self._terminate(pod)
        self._sweep(patient=True)
        self._refusals.append(Refusal(candidate, error))

    def _create(self, candidate: Candidate) -> Pod | None:
        """Send one create. None: it failed and its pod is proven absent. Raises the refusal, or PodUncertain."""
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
        with self._world.interrupts.held():
            self._names.add(name)
            self._unclear.add(name)
            try:
                pod: Pod | None = self._client.create_pod(create_body(spec))
                self._unclear.discard(name)
            except ApiError as error:
                if not error.unclear:
                    self._unclear.discard(name)
                    raise
                self._unclear_since = self._client.clock()
                self._world.say(
                    f"{candidate}: unclear ({error.message}); looking for a pod named {name}"
                )
                pod = self._look_up(name)
            if pod is None:
                self._world.say(
                    f"{candidate}: no pod named {name} appeared; trying again under a new name"
                )
                return None
            self._pods[pod.id] = pod
            self._world.say(
                f"{candidate}: created pod {pod.id} ({name}) at ${pod.cost_per_hour:.2f}/h"
            )
            return pod

    def _look_up(self, name: str) -> Pod | None:
        """The oldest pod of this name, None when lists have not shown one for a while. Raises PodUncertain."""
        deadline = self._client.clock() + LOOK_UP_SECONDS
        while True:
            try:
                found = _oldest(pod for pod in self._client.list_pods() if pod.name == name)
                if found or self._client.clock() >= deadline:
                    return found
            except ApiError as error:
                if self._client.clock() >= deadline:
                    what = f"A POD NAMED {name} MAY EXIST AND BE BILLED: the look-up failed ({error.message})"
                    hint = f"./list_pods.sh shows whether it does, ./stop_pod.sh {name} ends it"
                    raise PodUncertain(what, hint) from None
            self._client.sleep(LOOK_UP_STEP)

    def _settled(self, pod: Pod) -> Pod:
        """`pod`, after its twins are ended; or, if another laptop's pod of this model is older, that one instead."""
        try:
            pods = self._client.list_pods()
            self._end_strays(pods)
        except (ApiError, PodUncertain) as error:
            self._world.say(f"could not check for twins ({error.message})")
            return pod
        older = self._oldest_of_model([other for other in pods if other.name not in self._names])
        shown = next((other for other in pods if other.id == pod.id), pod)
        if (
            self._new
            or pod.name not in self._names
            or not older
            or _age_key(older) > _age_key(shown)
        ):
            return pod
        self._world.say(
            f"another deploy made {older.id} ({older.name}) first; ending {pod.id} again"
        )
        self._terminate(pod)
        return self._adopted(older)

    def _addressed(self, pod: Pod) -> tuple[Pod, Access]:
        """The pod and its access as soon as its URLs are known: at once, but in the sandbox only when it runs."""
        proxy_url = self._settings.proxy_url
        deadline = self._client.clock() + ADDRESS_SECONDS
        while not (where := access(pod, proxy_url)).api_url and self._client.clock() < deadline:
            self._client.sleep(1.0)
            with suppress(ApiError):
                pod = self._client.get_pod(pod.id)
        return pod, where

    def _swept(self, *, patient: bool) -> None:
        """_sweep(); what it cannot rule out stays in `left_running()`."""
        try:
            self._sweep(patient=patient)
        except (ApiError, PodUncertain) as error:
            self._unclear |= self._names
            self._world.say(f"could not sweep up: {error.message}")

    def _sweep(self, *, patient: bool) -> None:
        """End every pod this deploy made and does not keep. Raises ApiError and PodUncertain.

        An unclear create may bring forth a late pod, even a second one: a `patient` sweep waits until none can come.
        """
        clear_from = self._unclear_since + SWEEP_SECONDS
        if patient and self._unclear and self._client.clock() < clear_from:
            self._world.say(
                "one create was unclear; looking whether its pod, or a twin of it, appears late"
            )
            while self._client.clock() < clear_from:
                self._end_strays(self._client.list_pods())
                self._client.sleep(LOOK_UP_STEP)
        if self._names:
            self._end_strays(self._client.list_pods())
        if self._client.clock() >= clear_from:
            self._unclear.clear()

    def _end_strays(self, pods: Sequence[Pod]) -> None:
        for pod in pods:
            kept = pod.id in self._pods and pod.id not in self._strays
            if pod.name in self._names and not kept and pod.status != "TERMINATED":
                self._pods[pod.id] = pod
                self._strays.add(pod.id)
                self._world.say(
                    f"ending pod {pod.id} ({pod.name}), which this deploy made and does not keep"
                )
                self._terminate(pod)

    def _terminate(self, pod: Pod) -> None:
        terminate(self._client, pod)
        self._pods.pop(pod.id, None)

    def _replaced(self, pod: Pod, error: PodkitError) -> Pod:
        """A pod on another host: the same GPU type twice more, then the next."""
        if pod.name not in self._names:
            raise PodFailed(error.message, f"./stop_pod.sh {pod.id} ends it; then deploy again")
        self._world.say(f"{error.message}; ending it and trying another host")
        self._terminate(pod)
        self._end_strays(self._client.list_pods())
        candidate = self._queue[0]
        self._bad_hosts[candidate.gpu_type] += 1
        if self._bad_hosts[candidate.gpu_type] > BAD_HOSTS_PER_CANDIDATE:
            self._refusals.append(Refusal(candidate, error))
            self._queue.popleft()
        return self._settled(self._next_pod())

    def _oldest_of_model(self, pods: Sequence[Pod]) -> Pod | None:
        return _oldest(pod for pod in pods if pod.name.rpartition("-")[0] == self._stem)


def _oldest(pods: Iterable[Pod]) -> Pod | None:
    return min((pod for pod in pods if pod.live), key=_age_key, default=None)


def _age_key(pod: Pod) -> tuple[datetime, str]:
    return pod.created_at or datetime.max.replace(tzinfo=UTC), pod.id
