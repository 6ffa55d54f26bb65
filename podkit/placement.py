"""Which GPU types to try, in which order, and what a round of refusals means. Pure: no network, no clock.

The order is the user's. Stock is a hint that is shown beside a candidate: a create can fail on HIGH and succeed on
NONE, so it never reorders or removes one.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from podkit.errors import ApiError, BadRequest, Forbidden, NoCapacity, NotPlaced, PodkitError, UsageError
from podkit.models import GpuType, NetworkVolume, monthly_price

NO_CAPACITY_TEXTS = (
    "no longer any instances available",
    "no instances currently available",
    "does not have the resources to deploy your pod",
    "something went wrong. please try again later",
)
"""Parts of the `detail` with which the service refuses for want of stock (seen live up to November 2026)."""
REFUSING = (BadRequest, Forbidden)
"""The answers that rule out one GPU type, and not the next."""
VOLUME_NAME = "podkit"
VOLUME_HINT = "./podkit.sh volume list shows those there are; set RUNPOD_NETWORK_VOLUME_ID in .env"


@dataclass(frozen=True)
class Candidate:
    """A GPU type to try: `price` USD per hour and `stock`, None where the catalogue did not say."""

    gpu_type: str
    price: float | None = None
    stock: str | None = None

    def __str__(self) -> str:
        price = f"${self.price:.2f}/h" if self.price is not None else "price unknown"
        return f"{self.gpu_type}, {price}, stock {self.stock or 'unknown'}"


@dataclass(frozen=True)
class Refusal:
    """A candidate that was not placed, and the provider's answer, or podkit's reason to give it up."""

    candidate: Candidate
    error: PodkitError

    @property
    def no_capacity(self) -> bool:
        """Whether the provider's text is one of those that mean "no stock now"."""
        detail = self.error.detail.lower() if isinstance(self.error, ApiError) else ""
        return any(text in detail for text in NO_CAPACITY_TEXTS)


def plan(
    wanted: Sequence[str], catalog: Sequence[GpuType] | None, data_center: str, max_price: float | None
) -> tuple[list[Candidate], list[tuple[str, str]]]:
    """The candidates for `wanted` in its order, with price and stock of `catalog` (None: it could not be read),
    and the GPU types left out as (GPU type, reason).

    Raises UsageError for a GPU type that the catalogue does not have, naming the nearest, and NotPlaced without prices
    to hold against `max_price`.
    """
    if catalog is None and max_price is not None:
        why = f"prices could not be read, and the limit is ${max_price:.2f}/h"
        raise NotPlaced(why, "try again, or unset PODKIT_MAX_PRICE to take any price")
    if catalog is None:
        return [Candidate(gpu) for gpu in wanted], []
    known = {gpu.id: gpu for gpu in catalog}
    candidates: list[Candidate] = []
    skipped: list[tuple[str, str]] = []
    for name in wanted:
        if name not in known:
            raise UsageError(f"unknown GPU type {name!r}", suggestion(name, known) or "PODKIT_GPUS or --gpu names it")
        gpu = known[name]
        if max_price is not None and gpu.price is None:
            skipped.append((name, f"its price is unknown, and the limit is ${max_price:.2f}/h"))
        elif max_price is not None and gpu.price and gpu.price > max_price:
            skipped.append((name, f"${gpu.price:.2f}/h is above the limit of ${max_price:.2f}/h"))
        else:
            candidates.append(Candidate(name, gpu.price, gpu.stock.get(data_center, "NONE")))
    return candidates, skipped


def choose_volume(volumes: Sequence[NetworkVolume], data_center: str, wanted_id: str) -> NetworkVolume:
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
        hint = f"./podkit.sh volume create --size 100   (about ${monthly_price(100):.2f} a month)"
        raise UsageError(f"no network volume in {data_center}", hint)
    if len(chosen) > 1:
        ids = ", ".join(volume.id for volume in chosen)
        raise UsageError(f"several network volumes in {data_center}: {ids}", "set RUNPOD_NETWORK_VOLUME_ID in .env")
    return chosen[0]


def suggestion(name: str, known: Iterable[str]) -> str:
    """`did you mean ...` with the nearest of `known`, or an empty text."""
    by_folded = {other.casefold(): other for other in known}
    near = difflib.get_close_matches(name.casefold(), by_folded, n=1, cutoff=0.4)
    near += [folded for folded in by_folded if name.casefold() in folded]
    return f"did you mean {by_folded[near[0]]!r}?" if near else ""


def offered_cuda(gpu_type: str, catalog: Sequence[GpuType] | None) -> str:
    """The CUDA versions that hosts of this GPU type offer, those without a free machine marked; empty if unknown."""
    versions = next((gpu.cuda_versions for gpu in catalog or () if gpu.id == gpu_type), ())
    return ", ".join(version if free else f"{version} (full)" for version, free in versions)


def verdict(refusals: Sequence[Refusal], skipped: Sequence[tuple[str, str]]) -> PodkitError:
    """What a deploy ends with when every candidate was refused.

    NoCapacity (exit 75) if at least one refusal has a known no-capacity text and none is a 403, which waiting
    does not cure; else NotPlaced (exit 1).
    """
    tried = ", ".join(refusal.candidate.gpu_type for refusal in refusals)
    barred = ", ".join(refusal.candidate.gpu_type for refusal in refusals if isinstance(refusal.error, Forbidden))
    if not refusals:
        reasons = "; ".join(f"{gpu}: {why}" for gpu, why in skipped)
        return NotPlaced(f"no GPU type is left to try ({reasons})", "raise PODKIT_MAX_PRICE, or name others with --gpu")
    if barred:
        hint = f"the key has no access to {barred}: use another key, or take it out of PODKIT_GPUS"
        return NotPlaced(f"no pod: {tried} refused", hint)
    if any(refusal.no_capacity for refusal in refusals):
        return NoCapacity(f"no free GPU now: {tried} refused", "try another GPU type with --gpu, or later")
    if all(isinstance(refusal.error, BadRequest) for refusal in refusals):
        hint = "the request itself may be at fault, read the last reason above; --dry-run prints the request"
        return NotPlaced(f"no pod: {tried} refused, none for want of stock", hint)
    return NotPlaced(f"no pod: {tried} failed", "read the reasons above; try another GPU type with --gpu, or later")
