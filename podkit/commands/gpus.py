"""`gpus`: the GPU types on offer, and how each model fits."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import click

from podkit.commands.app import App
from podkit.commands.completion import complete_model
from podkit.commands.options import DATA_CENTER, WIDE, command
from podkit.commands.result import Result
from podkit.errors import UsageError

if TYPE_CHECKING:
    from podkit.models.fit import Fit, Needs
    from podkit.models.learned import Learned
    from podkit.runpod.client import RunpodClient
    from podkit.runpod.types import GpuType

ASSUMED = "a fit is worked out, with 2.0 to 2.5 GiB assumed for all but weights and cache"


@dataclass(frozen=True)
class GpuOffer:
    """GPU types, cheapest first, and by name what models need of them and what boots taught.

    `data_center` is empty for all; `below` are lines, and `more` fields, that stand besides.
    """

    gpus: Sequence[GpuType]
    needs: Mapping[str, Needs]
    learned: Mapping[str, Learned]
    data_center: str
    is_wide: bool
    below: Sequence[str] = ()
    more: Mapping[str, Any] = field(default_factory=dict)

    def text(self) -> str:
        from podkit.commands.tables import gpu_table

        lines: list[str] = []
        if self.gpus:
            fits = [self.fits(gpu) for gpu in self.gpus]
            lines = gpu_table(self.gpus, fits, self.data_center, is_wide=self.is_wide)
        return "\n".join([*lines, *self.below])

    def fields(self) -> Mapping[str, Any]:
        listed = []
        for gpu in self.gpus:
            fits = {name: asdict(found) for name, found in self.fits(gpu).items()}
            listed.append({**asdict(gpu), "fit": fits})
        return {"data_center": self.data_center or None, "gpus": listed, **self.more}

    def is_measured(self) -> bool:
        """Whether boots have shown how a model fits one of them."""
        measured = []
        for gpu in self.gpus:
            measured += [one for one in self.fits(gpu).values() if one.measured]
        return bool(measured)

    def fits(self, gpu: GpuType) -> dict[str, Fit]:
        """How each model fits this GPU type."""
        from podkit.models.fit import fit

        found = {}
        for name, needs in self.needs.items():
            found[name] = fit(needs, gpu.memory, self.learned[name].overhead(gpu.id))
        return found


@command("gpus", json=True)
@DATA_CENTER
@WIDE
@click.option("--all", "every", is_flag=True, help="Every GPU type and where it is in stock.")
@click.option("--model", shell_complete=complete_model, help="Only how this model fits.")
def gpus(app: App, wide: bool, every: bool, model: str | None, **options: str | None) -> Result:
    """Show the GPU types on offer, cheapest first: price, stock, and how each model fits.

    "fits x9": the cache holds nine requests of full length at once. "tight": the model starts, with
    little to spare. "no": it does not start. `--gpu` wants the whole name, which --wide shows.

    \b
    Examples:
      ./podkit.sh gpus
      ./podkit.sh gpus --all --model olmocr
      ./podkit.sh gpus --data-center EU-CZ-1 --json
    """
    from podkit.models.spec import model_names, read_model

    boots = app.boots()
    folder = app.root / "startup"
    needs = {}
    learned = {}
    for name in [model] if model else model_names(folder):
        found = read_model(folder, name, boots)
        if found.needs:
            needs[name] = found.needs
            learned[name] = found.learned
    settings, client = app.connect(**options)
    data_center = "" if every else settings.data_center
    offer = GpuOffer(on_offer(client, data_center), needs, learned, data_center, wide)
    say_about(app, offer)
    return offer


def on_offer(client: RunpodClient, data_center: str) -> list[GpuType]:
    """The GPU types of a data center, or of all if it is empty, cheapest first.

    Raises UsageError for a data center that is not there.
    """
    from podkit.pods.placement import suggestion
    from podkit.runpod.types import MIN_CUDA

    found = []
    for gpu in client.list_gpu_types(MIN_CUDA):
        if data_center in gpu.stock if data_center else gpu.price:
            found.append(gpu)
    if data_center and not found:
        known = client.list_data_centers()
        if data_center not in known:
            hint = suggestion(data_center, known) or ", ".join(known)
            raise UsageError(f"no data center {data_center!r}", hint)
    return sorted(found, key=lambda gpu: (gpu.price or math.inf, gpu.id))


def say_about(app: App, offer: GpuOffer) -> None:
    """What a person has to know of such a table."""
    from podkit.runpod.types import MIN_CUDA

    if not offer.gpus:
        what = f"nothing with CUDA {MIN_CUDA} is on offer in {offer.data_center}"
        app.say(f"{what}; ./podkit.sh gpus --all shows all")
    app.say(f"{ASSUMED}; stock is a hint")
    if offer.is_measured():
        app.say("* by what boots have shown, not assumed: ./podkit.sh fit --learned")
