"""Creates one pod on one candidate: the only place that sends creates.

It must never send a create while an earlier one is unclear, nor keep a pod that costs more than
was quoted.
"""

from __future__ import annotations

from dataclasses import replace

from podkit.errors import ApiError, PodkitError, RateLimited
from podkit.models.spec import Model
from podkit.pods.ledger import Ledger
from podkit.pods.placement import Candidate
from podkit.pods.readiness import World
from podkit.pods.refusals import REFUSING, Refusal
from podkit.pods.request import pod_spec
from podkit.runpod.types import NAME_PREFIX, Pod, create_body
from podkit.settings import Settings

RATE_LIMIT_SECONDS = 180.0
RATE_LIMIT_STEP = 5.0
NAMES_PER_CANDIDATE = 3


class Creator:
    """Makes pods of one model on one network volume; `refusals` are the candidates given up."""

    def __init__(
        self,
        settings: Settings,
        model: Model,
        world: World,
        ledger: Ledger,
        volume_id: str,
    ) -> None:
        self.refusals: list[Refusal] = []
        self._settings = settings
        self._model = model
        self._world = world
        self._client = world.client
        self._ledger = ledger
        self._volume_id = volume_id
        self._rate_waited = 0.0

    def make(self, candidate: Candidate) -> Pod | None:
        """A pod on this candidate, or None after a refusal, which is noted in `refusals`."""
        names_left = NAMES_PER_CANDIDATE
        self._rate_waited = 0.0
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
        self.refusals.append(Refusal(candidate, given_up))
        return None

    def _refuse(self, candidate: Candidate, error: ApiError) -> None:
        offer = f"; CUDA {candidate.cuda}" if candidate.cuda else ""
        self._world.say(f"{candidate}: refused ({error.detail or error.message}{offer})")
        self.refusals.append(Refusal(candidate, error))

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

        Raises unless it and any stray are surely gone.
        """
        what = f"its pod costs ${pod.cost_per_hour:.2f}/h, {candidate.quote} was quoted"
        self._world.say(f"{candidate.gpu_type}: {what}; ending it")
        self._ledger.end(pod)
        self._ledger.sweep(patient=True)
        self.refusals.append(Refusal(candidate, PodkitError(what)))

    def _create(self, candidate: Candidate) -> Pod | None:
        """Send one create. None: it failed and its pod is proven absent.

        Raises the refusal, or PodUnclear.
        """
        name = f"{NAME_PREFIX}{self._model.name}-{self._world.new_suffix()}"
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
                self._say_made(candidate, found, "the unclear create had made it, found pod")
                return found
            self._ledger.close_made(pod)
            self._say_made(candidate, pod, "created pod")
            return pod

    def _say_made(self, candidate: Candidate, pod: Pod, how: str) -> None:
        self._world.say(f"{candidate}: {how} {pod.label} at ${pod.cost_per_hour:.2f}/h")

    def _look_up(self, candidate: Candidate, name: str, error: ApiError) -> Pod | None:
        """The pod of an unclear create, None if it is proven absent. Raises PodUnclear."""
        self._ledger.mark_unclear()
        told = f"unclear ({error.message}); looking for a pod named {name}"
        self._world.say(f"{candidate}: {told}")
        pod = self._ledger.look_up(name)
        if pod is None:
            told = f"no pod named {name} appeared; trying again under a new name"
            self._world.say(f"{candidate}: {told}")
        return pod
