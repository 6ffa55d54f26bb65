"""Which GPU types to try, in which order, for how long, and what a round of refusals means. Pure: no network, no clock.

The order is the user's, unless they ask for another. Stock is a hint that is shown beside a candidate: a create can
fail on HIGH and succeed on NONE, so it never removes one.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from podkit.errors import (
    ApiError,
    BadRequest,
    Forbidden,
    NoCapacity,
    NotPlaced,
    PodkitError,
    UsageError,
)
from podkit.models.fit import Fit, Needs, fit
from podkit.runpod.types import GpuType, NetworkVolume, monthly_price
from podkit.settings import Settings

NO_CAPACITY_TEXTS = (
    "no longer any instances available",
    "no instances currently available",
    "does not have the resources to deploy your pod",
    "something went wrong. please try again later",
)
"""Parts of the `detail` with which the service refuses for want of stock (seen live up to November 2026)."""
REFUSING = (BadRequest, Forbidden)
"""The answers that rule out one GPU type, and not the next."""
STOCK_RANK = {"HIGH": 0, "MEDIUM": 1, "LOW": 2, "NONE": 3}
PRICE_TOLERANCE, DISK_PRICE = 0.01, 0.01
"""A pod may cost so much of the catalogue's price more, and so many USD per hour: room for a rounded list price, and
for the container's disk, if `cost` counts it (40 GB at $0.10 a month: $0.0056 an hour; provider's list, November 2026).
"""
ENDING_SECONDS = 60.0
"""Time within its budget that a pod has to end itself: startup/watchdog.py pauses for 2 s, and may look for 30."""
VOLUME_NAME = "podkit"
VOLUME_HINT = "./podkit.sh volume list shows those there are; set RUNPOD_NETWORK_VOLUME_ID in .env"


@dataclass(frozen=True)
class Candidate:
    """A GPU type to try: `price` USD per hour, `stock`, `memory_gb` and `fit`, None where the catalogue did not say.

    `cuda` lists the versions that its hosts offer, those without a free machine marked. `hours` is the lifetime of a
    pod on it, 0 for one without an end. `reason` says why it stands in its place.
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
        """USD per hour above which a pod on it is dearer than quoted."""
        return tolerated(self.price) if self.price is not None else math.inf

    @property
    def most(self) -> float | None:
        """USD that a pod on it, as dear as one is kept, costs until its end time; None without a price or an end."""
        return self.ceiling * self.hours if self.price is not None and self.hours else None


@dataclass(frozen=True)
class Placement:
    """What a deploy tries in this order, what it skips as (GPU type, reason), and what helps if nothing is left."""

    candidates: Sequence[Candidate]
    skipped: Sequence[tuple[str, str]] = ()
    hint: str = ""


@dataclass(frozen=True)
class Refusal:
    """A candidate that was not placed, and the provider's answer, or podkit's reason to give it up."""

    candidate: Candidate
    error: PodkitError

    def __str__(self) -> str:
        own = "" if isinstance(self.error, ApiError) else f" ({self.error.message})"
        return self.candidate.gpu_type + own

    @property
    def no_capacity(self) -> bool:
        """Whether the provider's text is one of those that mean "no stock now"."""
        detail = self.error.detail.lower() if isinstance(self.error, ApiError) else ""
        return any(text in detail for text in NO_CAPACITY_TEXTS)


def plan(settings: Settings, needs: Needs | None, catalog: Sequence[GpuType] | None) -> Placement:
    """What to try of the GPU types in `settings`, with what `catalog` (None: it could not be read) says of each.

    Raises UsageError for a GPU type that the catalogue does not have, naming the nearest, and NotPlaced without prices
    to hold against a limit or a budget.
    """
    if catalog is None and (settings.max_price or settings.budget):
        hint = "try again, or unset PODKIT_MAX_PRICE and PODKIT_BUDGET to take any price"
        raise NotPlaced(
            "prices could not be read, and there is a limit on what a pod may cost", hint
        )
    known = {
        name: Candidate(name, hours=settings.max_hours) for name in settings.gpus if catalog is None
    }
    known |= {gpu.id: _candidate(gpu, settings, needs) for gpu in catalog or ()}
    for name in settings.gpus:
        if name not in known:
            raise UsageError(
                f"unknown GPU type {name!r}", suggestion(name, known) or "./podkit.sh gpus --all"
            )
    objections = {name: _objection(candidate, settings) for name, candidate in known.items()}
    chosen = [
        replace(known[name], reason=f"your choice {place}")
        for place, name in enumerate(settings.gpus, 1)
    ]
    candidates = _ordered(
        [candidate for candidate in chosen if not objections[candidate.gpu_type]], settings
    )
    skipped = [(name, objections[name]) for name in settings.gpus if objections[name]]
    if settings.force or all(candidate.loads for candidate in chosen):
        return Placement(
            candidates,
            skipped,
            "raise PODKIT_MAX_PRICE or PODKIT_BUDGET, or name others with --gpu",
        )
    would_do = sorted(
        (one for one in known.values() if one.stock != "NONE" and not objections[one.gpu_type]),
        key=lambda candidate: candidate.price or math.inf,
    )
    names = ", ".join(f"{candidate.gpu_type} ({candidate.quote})" for candidate in would_do[:4])
    where = (
        f"it would load on {names}" if names else "./podkit.sh gpus --all shows where it would load"
    )
    return Placement(
        candidates, skipped, f"{where}; name one with --gpu, or --force tries all the same"
    )


def lifetime(settings: Settings, price: float | None) -> float:
    """Hours that a pod at `price` USD per hour may live, 0 for no end.

    Rounded up to a second it still ends within the budget, even if it costs as much more as is tolerated.
    """
    if settings.budget is None or price is None:
        return settings.max_hours
    return min(
        settings.max_hours or math.inf, settings.budget / tolerated(price) - ENDING_SECONDS / 3600
    )


def tolerated(price: float) -> float:
    """USD per hour that a pod may cost where the catalogue says `price`."""
    return price * (1 + PRICE_TOLERANCE) + DISK_PRICE


def _candidate(gpu: GpuType, settings: Settings, needs: Needs | None) -> Candidate:
    stock = gpu.stock.get(settings.data_center, "NONE")
    cuda = ", ".join(
        version if free else f"{version} (full)" for version, free in gpu.cuda_versions
    )
    fitting = fit(needs, gpu.memory) if needs else None
    return Candidate(
        gpu.id, gpu.price, stock, gpu.memory, fitting, cuda, lifetime(settings, gpu.price)
    )


def _objection(candidate: Candidate, settings: Settings) -> str:
    """Why this GPU type is not to be tried; empty if it may be."""
    if not (candidate.loads or settings.force):
        return f"the model's fit on its {candidate.memory_gb} GB: {candidate.fit}"
    if candidate.price is None:
        return (
            "its price is unknown, and there is a limit"
            if settings.max_price or settings.budget
            else ""
        )
    if settings.max_price and candidate.price > settings.max_price:
        return f"{candidate.quote} is above the limit of ${settings.max_price:.2f}/h"
    minutes = max(lifetime(replace(settings, max_hours=0), candidate.price), 0) * 60
    if settings.budget and minutes < settings.boot_minutes:
        bought = (
            f"at {candidate.quote} the budget of ${settings.budget:.2f} buys {minutes:.0f} minutes"
        )
        return f"{bought}, and a boot may take {settings.boot_minutes:g}"
    return ""


def _ordered(candidates: list[Candidate], settings: Settings) -> list[Candidate]:
    """By stock, then price, then the user's order, as far as wished; each candidate's reason says what placed it."""
    if settings.cheapest:
        candidates = [
            replace(candidate, reason=f"{candidate.quote}, {candidate.reason}")
            for candidate in candidates
        ]
        candidates.sort(key=lambda candidate: candidate.price or math.inf)
    if settings.in_stock:
        candidates = [
            replace(one, reason=f"stock {one.stock or 'unknown'}, {one.reason}")
            for one in candidates
        ]
        candidates.sort(key=lambda candidate: STOCK_RANK.get(candidate.stock or "", 4))
    return candidates


def choose_volume(
    volumes: Sequence[NetworkVolume], data_center: str, wanted_id: str
) -> NetworkVolume:
    """The volume to mount: the one with `wanted_id`, else the one named `podkit` there, else the only one there.

    Raises UsageError saying how to make or name one: a volume is billed, so none is made without being asked for.
    """
    if wanted_id:
        chosen = [volume for volume in volumes if volume.id == wanted_id]
        if not chosen:
            raise UsageError(f"no network volume {wanted_id!r} in this account", VOLUME_HINT)
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
        raise UsageError(
            f"several network volumes in {data_center}: {ids}",
            "set RUNPOD_NETWORK_VOLUME_ID in .env",
        )
    return chosen[0]


def suggestion(name: str, known: Iterable[str]) -> str:
    """`did you mean ...` with the nearest of `known`, or an empty text."""
    by_folded = {other.casefold(): other for other in known}
    near = difflib.get_close_matches(name.casefold(), by_folded, n=1, cutoff=0.4)
    near += [folded for folded in by_folded if name.casefold() in folded]
    return f"did you mean {by_folded[near[0]]!r}?" if near else ""


def verdict(refusals: Sequence[Refusal], placement: Placement) -> PodkitError:
    """What a deploy ends with when every candidate was refused, or none was left to try.

    NoCapacity (exit 75) if at least one refusal has a known no-capacity text and none is a 403, which waiting
    does not cure; else NotPlaced (exit 1).
    """
    tried = ", ".join(str(refusal) for refusal in refusals)
    barred = ", ".join(
        refusal.candidate.gpu_type for refusal in refusals if isinstance(refusal.error, Forbidden)
    )
    if not refusals:
        reasons = "; ".join(f"{gpu}: {why}" for gpu, why in placement.skipped)
        return NotPlaced(f"no GPU type is left to try ({reasons})", placement.hint)
    if barred:
        hint = f"the key has no access to {barred}: use another key, or take it out of PODKIT_GPUS"
        return NotPlaced(f"no pod: {tried} refused", hint)
    if any(refusal.no_capacity for refusal in refusals):
        return NoCapacity(
            f"no free GPU now: {tried} refused", "try another GPU type with --gpu, or later"
        )
    if all(isinstance(refusal.error, BadRequest) for refusal in refusals):
        hint = "the request itself may be at fault, read the last reason above; --dry-run prints the request"
        return NotPlaced(f"no pod: {tried} refused, none for want of stock", hint)
    return NotPlaced(
        f"no pod: {tried} failed",
        "read the reasons above; try another GPU type with --gpu, or later",
    )
