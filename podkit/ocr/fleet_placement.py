"""Finds and makes the pods of a fleet, under one ledger and one budget.

It must never send a create while an earlier one is unclear, nor promise more than the budget to all
pods together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from podkit.errors import NoCapacity, NotPlaced, PodUnclear, UsageError
from podkit.ocr.shares import cost_if_ended, cost_to_its_end, share
from podkit.ocr.wanted import Surroundings, Wanted
from podkit.pods.adopting import DIFFERS
from podkit.pods.known import live_pods_made_here
from podkit.pods.launcher import Launcher
from podkit.pods.ledger import Ledger
from podkit.pods.limits import compare_limits
from podkit.pods.placement import Candidate
from podkit.pods.readiness import World
from podkit.pods.survey import find_volume, survey
from podkit.pods.wishes import Wishes
from podkit.runpod.client import RunpodClient
from podkit.runpod.types import NAME_PREFIX, Pod
from podkit.settings import Settings
from podkit.text import stop_command


class FleetPlacement:
    """Gives pods, one by one, once it was opened."""

    def __init__(
        self,
        around: Surroundings,
        wanted: Wanted,
        world: World,
        ledger: Ledger,
    ) -> None:
        self._around = around
        self._wanted = wanted
        self._world = world
        self._ledger = ledger
        self._budget: float | None = None
        self._places: list[Settings] = []
        self._open_places: list[Settings] = []
        self._ended: list[float] = []
        self._uncertain: PodUnclear | None = None

    def open(self, settings: Settings) -> None:
        """Pods are made with these settings, every key among them, where a network volume is.

        Raises UsageError for a data center without one.
        """
        self._budget = settings.budget
        self._places = places_of(settings, self._wanted.data_centers, self._world.client)
        self.open_again()

    def offer(self) -> Candidate | None:
        """What a pod is tried on first; None if nothing is left to try."""
        place = self._places[0]
        placement = survey(self._world.client, place, self._around.model(), self._around.say)[1]
        return placement.candidates[0] if placement.candidates else None

    def find(self) -> list[Pod]:
        """The pods that an earlier run of this checkout has left, at most as many as are wanted.

        Raises UsageError where their limits are looser than those that were given, or they may
        cost more than the budget.
        """
        found = made_here(self._around, self._world)
        for pod in found:
            self._ledger.keep(pod)
        used = found[: self._wanted.pods]
        for pod in used:
            self._around.say(f"pod {pod.label} is already there, ${pod.cost_per_hour:.2f}/h")
            self._check_limits(pod)
        for pod in found[self._wanted.pods :]:
            self._around.say(f"pod {pod.label} is there, too, and is not used")
        most = sum(self._promised(used))
        if self._budget is not None and most > self._budget:
            ids = " ".join(pod.id for pod in used)
            what = f"the pods that are there may cost ${most:.2f} until they end themselves"
            hint = f"{stop_command(ids)} ends them; or give a larger budget"
            raise UsageError(f"{what}, and the budget is ${self._budget:.2f}", hint)
        return used

    def _check_limits(self, pod: Pod) -> None:
        """Say which limits of a pod differ; the budget is that of all together, and looked at with
        them.
        """
        own = replace(self._places[0], budget=None)
        looser = []
        for one in compare_limits(pod, own, self._world.client.now()):
            self._around.say(f"{DIFFERS}: {one.text}")
            if one.is_looser:
                looser.append(one.text)
        if looser:
            what = f"pod {pod.label} does not keep the limits asked for: {'; '.join(looser)}"
            raise UsageError(what, f"{stop_command(pod.id)} ends it; or leave these limits out")

    def open_again(self) -> None:
        """Try every data center again, also those that had no free GPU before."""
        self._open_places = list(self._places)

    def make(self, living: Sequence[Pod]) -> Pod:
        """A new pod beside those that live, each data center in its turn; one that has none is left
        out. Raises the failure of the last one, and the same again after an unclear create.
        """
        if self._uncertain:
            raise self._uncertain
        while True:
            place = self._open_places[len(living) % len(self._open_places)]
            try:
                return self._launcher(place, living).place()
            except PodUnclear as error:
                self._uncertain = error
                raise
            except (NoCapacity, NotPlaced) as error:
                if len(self._open_places) == 1:
                    raise
                self._open_places.remove(place)
                self._around.say(f"{place.data_center}: {error.message}; trying elsewhere")

    def end(self, pod: Pod) -> None:
        """End a pod; its share is free again, but for what it has cost. Raises PodUnclear."""
        self._ended.append(cost_to_its_end(pod, self._world.client.now()))
        self._ledger.end(pod)
        self._ended[-1] = cost_if_ended(pod, self._world.client.now())

    def _launcher(self, place: Settings, living: Sequence[Pod]) -> Launcher:
        missing = self._wanted.pods - len(living)
        budget = share(self._budget, self._promised(living), missing)
        return Launcher(
            replace(place, budget=budget),
            self._around.model(),
            self._world,
            self._ledger,
            Wishes(new=True, needs_page=False),
        )

    def _promised(self, living: Sequence[Pod]) -> list[float]:
        """USD that each pod of this run has cost at its end."""
        now = self._world.client.now()
        return [*self._ended, *(cost_to_its_end(pod, now) for pod in living)]


def made_here(around: Surroundings, world: World) -> list[Pod]:
    """The live pods of the model that this checkout made, oldest first; of those that read by
    themselves the ones of the same workspace.
    """
    model = around.model()
    workspace = model.env.get("PODKIT_WORKSPACE", "")
    live = live_pods_made_here(world.client, NAME_PREFIX + model.name, world.made, around.say)
    return [pod for pod in live if pod.env.get("PODKIT_WORKSPACE", "") == workspace]


def places_of(
    settings: Settings,
    data_centers: Sequence[str],
    client: RunpodClient,
) -> list[Settings]:
    """The settings for each data center, with its network volume. Raises UsageError for one without
    a volume.

    Of several, the volume of the settings is that of the one where it lies.
    """
    wanted = data_centers or (settings.data_center,)
    homes = {volume.id: volume.data_center for volume in client.list_volumes()}
    places = []
    for data_center in wanted:
        place = replace(settings, data_center=data_center)
        if len(wanted) > 1 and homes.get(settings.volume_id) != data_center:
            place = replace(place, volume_id="")
        places.append(replace(place, volume_id=find_volume(client, place).id))
    return places
