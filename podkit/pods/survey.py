"""What there is before anything is made: the volume to mount, and what the catalogue offers. Reads
only.
"""

from __future__ import annotations

from collections.abc import Callable

from podkit.errors import ApiError, UsageError
from podkit.models.spec import Model
from podkit.pods.placement import Placement, choose_volume, plan_placement, suggestion
from podkit.runpod.client import RunpodClient
from podkit.runpod.types import MIN_CUDA, NetworkVolume
from podkit.settings import Settings


def survey(
    client: RunpodClient,
    settings: Settings,
    model: Model,
    say: Callable[[str], None],
) -> tuple[NetworkVolume, Placement]:
    """The volume to mount, and what to try of the catalogue as it is now.

    Raises UsageError where there is no one volume, NotPlaced where a limit cannot be held.
    """
    volume = find_volume(client, settings)
    catalog = None
    try:
        catalog = client.list_gpu_types(MIN_CUDA)
    except ApiError as error:
        say(f"prices and stock are unknown ({error.message})")
    return volume, plan_placement(settings, model.needs, catalog, model.learned)


def find_volume(client: RunpodClient, settings: Settings) -> NetworkVolume:
    """The volume to mount. Raises UsageError; for a data center that is not there, naming those
    that are.
    """
    wanted = settings.data_center
    volumes = client.list_volumes()
    try:
        return choose_volume(volumes, wanted, settings.volume_id)
    except UsageError:
        known = client.list_data_centers()
        if wanted in known:
            raise
        hint = suggestion(wanted, known) or f"there are: {', '.join(sorted(known))}"
        raise UsageError(f"unknown data center {wanted!r}", hint) from None


def say_placement(placement: Placement, settings: Settings, say: Callable[[str], None]) -> None:
    """Say what is skipped, why each candidate stands in its place if the user asked for another
    order, and where the model fits tightly.
    """
    for gpu_type, why in placement.skipped:
        say(f"skipped {gpu_type}: {why}")
    is_reordered = settings.in_stock or settings.cheapest or settings.any_gpu
    for place, candidate in enumerate(placement.candidates, 1):
        if is_reordered:
            say(f"{place}. {candidate.gpu_type}: {candidate.reason}")
        if candidate.fit and (candidate.fit.verdict != "fits" or candidate.fit.measured):
            say(f"{candidate.gpu_type}: the model's fit: {candidate.fit}")
