"""Which GPU types to try, in which order, for how long, and what a round of refusals means. Pure:
no network, no clock.

The order is the user's, unless they ask for another. Stock is a hint that is shown beside a
candidate: a create can fail on HIGH and succeed on NONE, so it never removes one.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from podkit.errors import (
    NotPlaced,
    UsageError,
)
from podkit.models.fit import Fit, Needs, fit
from podkit.models.learned import NOTHING, Learned
from podkit.runpod.types import GpuType, NetworkVolume, monthly_price
from podkit.settings import Settings

MAKERS = ("NVIDIA GeForce ", "NVIDIA ", "AMD Instinct ", "AMD ")
"""What tables leave out of a GPU type's name."""
STOCK_RANK = {"HIGH": 0, "MEDIUM": 1, "LOW": 2, "NONE": 3}
PRICE_TOLERANCE = 0.01
DISK_PRICE = 0.01
"""A pod may cost so much of the catalogue's price more, and so many USD per hour: room for a
rounded list price, and for the container's disk, if `cost` counts it (40 GB at $0.10 a month:
$0.0056 an hour; provider's list, November 2026).
"""
ENDING_SECONDS = 60.0
"""Time within its budget that a pod has to end itself: startup/watchdog.py pauses for 2 s, and may
look for 30.
"""
VOLUME_NAME = "podkit"
VOLUME_HINT = "name one with --volume, or RUNPOD_NETWORK_VOLUME_ID in .env"


@dataclass(frozen=True)
class Candidate:
    """A GPU type to try: `price` USD per hour, `stock`, `memory_gb` and `fit`, None where the
    catalogue did not say.

    `cuda` lists the versions that its hosts offer, those without a free machine marked. `hours` is
    the lifetime of a pod on it, 0 for one without an end. `reason` says why it stands in its place.
    """

    gpu_type: str
    price: float | None = None
    stock: str | None = None
    memory_gb: int | None = None
    fit: Fit | None = None
    cuda: str = ""
    hours: float = 0.0
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.gpu_type}, {self.quote}, stock {self.stock or 'unknown'}"

    @property
    def quote(self) -> str:
        return f"${self.price:.2f}/h" if self.price is not None else "price unknown"

    @property
    def loads(self) -> bool:
        """Whether the model loads on it, as far as can be known from here."""
        return self.fit is None or self.fit.verdict != "no"

    @property
    def ceiling(self) -> float:
        """USD per hour above which a pod on it is more expensive than quoted."""
        return highest_tolerated_price(self.price) if self.price is not None else math.inf

    @property
    def most(self) -> float | None:
        """USD that a pod on it, at the highest price that is kept, costs until its end time; None
        without a price or an end.
        """
        return self.ceiling * self.hours if self.price is not None and self.hours else None


@dataclass(frozen=True)
class Placement:
    """What a deploy tries in this order, what it skips as (GPU type, reason), and what helps if
    nothing is left.

    `in_stock` is all that is in stock in the data center, fits the model and keeps the limits,
    cheapest first, whether it was asked for or not.
    """

    candidates: Sequence[Candidate]
    skipped: Sequence[tuple[str, str]] = ()
    hint: str = ""
    in_stock: Sequence[Candidate] = ()


def plan_placement(
    settings: Settings,
    needs: Needs | None,
    catalog: Sequence[GpuType] | None,
    learned: Learned = NOTHING,
) -> Placement:
    """What to try of the GPU types in `settings`, with what `catalog` says of each, and how the
    model fits by what boots of it have taught.

    A `catalog` of None could not be read. Raises UsageError for a GPU type that the catalogue does
    not have, naming the nearest, and NotPlaced without prices to hold against a limit or a budget.
    """
    if catalog is None:
        return _plan_without_catalog(settings)
    known = {}
    objections = {}
    for gpu in catalog:
        known[gpu.id] = _candidate(gpu, settings, needs, learned)
        objections[gpu.id] = _objection(known[gpu.id], settings)
    wanted = _wanted_candidates(settings, known)
    offers = _in_stock(known.values(), objections)
    free = []
    skipped = []
    for one in wanted:
        if objections[one.gpu_type]:
            skipped.append((one.gpu_type, objections[one.gpu_type]))
        else:
            free.append(one)
    chosen = _sort(free, settings)
    if settings.any_gpu:
        chosen += _others(offers, settings)
    others = "name others with --gpu"
    limits = _limits(settings)
    hint = f"raise {' or '.join(limits)}, or {others}" if limits else others
    if not settings.force and not all(one.loads for one in wanted):
        hint = _where_it_loads(known.values(), objections)
    return Placement(chosen, skipped, hint, offers)


def _limits(settings: Settings) -> list[str]:
    """The limits on what a pod may cost, each as the user gave it."""
    limits = []
    if settings.max_price:
        limits.append(settings.name_as_given("PODKIT_MAX_PRICE"))
    if settings.budget is not None:
        limits.append(settings.name_as_given("PODKIT_BUDGET"))
    return limits


def _wanted_candidates(settings: Settings, known: Mapping[str, Candidate]) -> list[Candidate]:
    """The user's own GPU types in their order. Raises UsageError for one that is not known."""
    wanted = []
    for place, name in enumerate(settings.gpus, 1):
        whole = name if name in known else _of_short_name(name, known)
        if whole not in known:
            hint = suggestion(name, known) or "./podkit.sh gpus --all"
            raise UsageError(f"unknown GPU type {name!r}", hint)
        wanted.append(replace(known[whole], reason=f"your choice {place}"))
    return wanted


def short_gpu(gpu_type: str) -> str:
    """`L40S` for `NVIDIA L40S`: the name as tables show it."""
    for maker in MAKERS:
        gpu_type = gpu_type.removeprefix(maker)
    for word in (" Blackwell", " Edition", " Generation"):
        gpu_type = gpu_type.replace(word, "")
    return gpu_type.replace("Max-Q Workstation", "Max-Q")


def _of_short_name(name: str, known: Iterable[str]) -> str:
    """The one GPU type that tables show by this name; empty if none or several are."""
    found = [whole for whole in known if short_gpu(whole).casefold() == name.casefold()]
    return found[0] if len(found) == 1 else ""


def _others(offers: Sequence[Candidate], settings: Settings) -> list[Candidate]:
    """What is in stock beside the user's own choice."""
    others = []
    for one in offers:
        if one.gpu_type not in settings.gpus:
            others.append(replace(one, reason=f"in stock, {one.quote}"))
    return others


def _plan_without_catalog(settings: Settings) -> Placement:
    if limits := _limits(settings):
        hint = f"try again, or leave out {' and '.join(limits)} to take any price"
        what = "prices could not be read, and there is a limit on what a pod may cost"
        raise NotPlaced(what, hint)
    chosen = []
    for place, name in enumerate(settings.gpus, 1):
        chosen.append(Candidate(name, hours=settings.max_hours, reason=f"your choice {place}"))
    return Placement(chosen, (), "name others with --gpu")


def _in_stock(known: Iterable[Candidate], objections: Mapping[str, str]) -> list[Candidate]:
    """Those in stock that nothing speaks against and whose price is known, cheapest first."""
    found = []
    for one in known:
        is_there = one.stock not in (None, "NONE") and one.price is not None
        if is_there and not objections[one.gpu_type]:
            found.append(one)
    return sorted(found, key=lambda one: (one.price or math.inf, one.gpu_type))


def _where_it_loads(known: Iterable[Candidate], objections: Mapping[str, str]) -> str:
    """Where a model loads that does not load on what was asked for; the cheapest four."""
    would_do = [one for one in known if one.stock != "NONE" and not objections[one.gpu_type]]
    would_do.sort(key=lambda candidate: candidate.price or math.inf)
    names = ", ".join(f"{one.gpu_type} ({one.quote})" for one in would_do[:4])
    where = "./podkit.sh gpus --all shows where it would load"
    if names:
        where = f"it would load on {names}"
    return f"{where}; name one with --gpu, or --force tries all the same"


def lifetime(settings: Settings, price: float | None) -> float:
    """Hours that a pod at `price` USD per hour may live, 0 for no end.

    Rounded up to a second it still ends within the budget, even if it costs as much more as is
    tolerated.
    """
    if settings.budget is None or price is None:
        return settings.max_hours
    bought = settings.budget / highest_tolerated_price(price) - ENDING_SECONDS / 3600
    return min(settings.max_hours or math.inf, bought)


def highest_tolerated_price(price: float) -> float:
    """USD per hour that a pod may cost where the catalogue says `price`."""
    return price * (1 + PRICE_TOLERANCE) + DISK_PRICE


def _candidate(
    gpu: GpuType,
    settings: Settings,
    needs: Needs | None,
    learned: Learned,
) -> Candidate:
    cuda = []
    for version, is_free in gpu.cuda_versions:
        cuda.append(version if is_free else f"{version} (full)")
    return Candidate(
        gpu_type=gpu.id,
        price=gpu.price,
        stock=gpu.stock.get(settings.data_center, "NONE"),
        memory_gb=gpu.memory,
        fit=fit(needs, gpu.memory, learned.overhead(gpu.id)) if needs else None,
        cuda=", ".join(cuda),
        hours=lifetime(settings, gpu.price),
    )


def _objection(candidate: Candidate, settings: Settings) -> str:
    """Why this GPU type is not to be tried; empty if it may be."""
    if not (candidate.loads or settings.force):
        return f"the model's fit on its {candidate.memory_gb} GB: {candidate.fit}"
    if candidate.price is None:
        has_limit = settings.max_price or settings.budget is not None
        return "its price is unknown, and there is a limit" if has_limit else ""
    if settings.max_price and candidate.price > settings.max_price:
        return f"{candidate.quote} is above the limit of ${settings.max_price:.2f}/h"
    minutes = max(lifetime(replace(settings, max_hours=0), candidate.price), 0) * 60
    if settings.budget is not None and minutes < settings.boot_minutes:
        bought = f"the budget of ${settings.budget:.2f} buys {minutes:.0f} minutes"
        boot = f"a boot may take {settings.boot_minutes:g}"
        return f"at {candidate.quote} {bought}, and {boot}"
    return ""


def _sort(candidates: Sequence[Candidate], settings: Settings) -> list[Candidate]:
    """By stock, then price, then the user's order, as far as wished.

    Each candidate's reason says what placed it.
    """
    ordered = list(candidates)
    if settings.cheapest:
        ordered = [replace(one, reason=f"{one.quote}, {one.reason}") for one in ordered]
        ordered.sort(key=lambda one: one.price or math.inf)
    if settings.in_stock:
        for place, one in enumerate(ordered):
            stock = f"stock {one.stock or 'unknown'}"
            ordered[place] = replace(one, reason=f"{stock}, {one.reason}")
        ordered.sort(key=lambda one: STOCK_RANK.get(one.stock or "", 4))
    return ordered


def choose_volume(
    volumes: Sequence[NetworkVolume], data_center: str, wanted_id: str
) -> NetworkVolume:
    """The volume to mount: the one with `wanted_id`, else the one named `podkit` there, else the
    only one there.

    Raises UsageError saying how to make or name one: a volume is billed, so none is made without
    being asked for.
    """
    if wanted_id:
        chosen = [volume for volume in volumes if volume.id == wanted_id]
        if not chosen:
            hint = f"./podkit.sh volume list shows those there are; {VOLUME_HINT}"
            raise UsageError(f"no network volume {wanted_id!r} in this account", hint)
        there = chosen[0].data_center
        if there != data_center:
            what = f"network volume {wanted_id} lies in {there}, the pod is to run in {data_center}"
            raise UsageError(what, f"use --data-center {there}, or name a volume in {data_center}")
    else:
        here = [volume for volume in volumes if volume.data_center == data_center]
        chosen = [volume for volume in here if volume.name == VOLUME_NAME] or here
    if not chosen:
        hint = f"./podkit.sh volume create --size 100 --data-center {data_center}"
        raise UsageError(
            f"no network volume in {data_center} (100 GB are ${monthly_price(100):.2f} a month)",
            hint,
        )
    if len(chosen) > 1:
        ids = ", ".join(volume.id for volume in chosen)
        raise UsageError(f"several network volumes in {data_center}: {ids}", VOLUME_HINT)
    return chosen[0]


def suggestion(name: str, known: Iterable[str]) -> str:
    """`did you mean ...` with the nearest of `known`, or an empty text."""
    by_folded = {other.casefold(): other for other in known}
    near = [folded for folded in by_folded if name.casefold() in folded]
    near += difflib.get_close_matches(name.casefold(), by_folded, n=1, cutoff=0.6)
    return f"did you mean {by_folded[near[0]]!r}?" if near else ""
