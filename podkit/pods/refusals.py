"""What a round of refusals means, and what would help. Pure: no network, no clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from podkit.errors import (
    ApiError,
    BadRequest,
    Forbidden,
    NoCapacity,
    NotPlaced,
    PodkitError,
)
from podkit.pods.placement import Candidate, Placement

NO_CAPACITY_TEXTS = (
    "no longer any instances available",
    "no instances currently available",
    "does not have the resources to deploy your pod",
    "something went wrong. please try again later",
)
"""Parts of the `detail` with which the service refuses for want of stock (seen live up to November
2026).
"""
REFUSING = (BadRequest, Forbidden)
"""The answers that rule out one GPU type, and not the next."""
OFFERS_SHOWN = 4


@dataclass(frozen=True)
class Refusal:
    """A candidate that was not placed, and the provider's answer, or podkit's reason."""

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


def verdict(refusals: Sequence[Refusal], placement: Placement, model: str) -> PodkitError:
    """What a deploy ends with when every candidate was refused, or none was left to try.

    NoCapacity (exit 75) if at least one refusal has a known no-capacity text and none is a 403,
    which waiting does not cure; else NotPlaced (exit 1).
    """
    if not refusals:
        reasons = "; ".join(f"{gpu}: {why}" for gpu, why in placement.skipped)
        return NotPlaced(f"no GPU type is left to try ({reasons})", placement.hint)
    tried = ", ".join(map(str, refusals))
    barred = [one.candidate.gpu_type for one in refusals if isinstance(one.error, Forbidden)]
    if barred:
        names = ", ".join(barred)
        hint = f"the key has no access to {names}: use another key, or name others with --gpu"
        return NotPlaced(f"no pod: {tried} refused", hint)
    offers = in_stock(placement, [refusal.candidate.gpu_type for refusal in refusals], model)
    if any(refusal.no_capacity for refusal in refusals):
        wait = (
            f"./deploy_{model}.sh --wait-for-stock asks until one is free (with your other options)"
        )
        return NoCapacity(f"no free GPU now: {tried} refused", offers or wait)
    return _not_placed(refusals, tried)


def _not_placed(refusals: Sequence[Refusal], tried: str) -> NotPlaced:
    """What to say where nothing was refused for want of stock."""
    if all(isinstance(refusal.error, BadRequest) for refusal in refusals):
        hint = "the request itself may be at fault, read the last reason above"
        return NotPlaced(
            f"no pod: {tried} refused, none for want of stock",
            f"{hint}; --dry-run prints the request",
        )
    hint = "read the reasons above; try another GPU type with --gpu, or later"
    return NotPlaced(f"no pod: {tried} failed", hint)


def in_stock(placement: Placement, refused: Sequence[str], model: str) -> str:
    """Commands to paste for what is in stock, fits and keeps the limits, cheapest first.

    Empty if nothing is but what was refused.
    """
    offers = [one for one in placement.in_stock if one.gpu_type not in refused]
    if not offers:
        return ""
    what = "these are in stock, fit the model and keep your limits, cheapest first"
    lines = [f"{what} (with your other options):"]
    for one in offers[:OFFERS_SHOWN]:
        lines.append(f'    ./deploy_{model}.sh --gpu "{one.gpu_type}"   # {one.quote}')
    lines.append(f"    ./deploy_{model}.sh --any-gpu   # tries all of them after your own")
    return "\n".join(lines)
