"""The account's quota of workers: the sum of all endpoints' max workers may not pass it. Pure.

podkit knows the sum before it asks, and the quota only from a refusal: so it warns before, and
explains after.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from podkit.errors import BadRequest, QuotaExceeded
from podkit.runpod.endpoint_types import Endpoint

LEAST_QUOTA = 5
"""Of an account with a balance under $100 (documentation, 2026)."""
QUOTA_TEXT = re.compile(r"workers quota \((\d+)\)")


def sum_of_max(listed: Iterable[Endpoint], endpoint_id: str, wanted: int) -> int:
    """The max workers of all endpoints, if that endpoint (empty: a new one) had `wanted`."""
    others = [endpoint.max_workers for endpoint in listed if endpoint.id != endpoint_id]
    return sum(others) + wanted


def quota_warning(listed: Iterable[Endpoint], endpoint_id: str, wanted: int) -> str:
    """What is to be said of the sum before the call, empty for nothing."""
    total = sum_of_max(listed, endpoint_id, wanted)
    if total <= LEAST_QUOTA:
        return ""
    return (
        f"max workers of all endpoints would be {total}; the quota of an account is {LEAST_QUOTA}, "
        "and more with a balance of $100 and over"
    )


def is_quota(error: BadRequest) -> bool:
    """Whether the provider refused for the quota's sake."""
    return bool(QUOTA_TEXT.search(error.detail))


def quota_table(
    listed: Iterable[Endpoint],
    endpoint_id: str,
    name: str,
    wanted: int,
) -> list[str]:
    """Who uses what of the quota, a line each, the most first, and what is asked for."""
    others = [endpoint for endpoint in listed if endpoint.id != endpoint_id]
    lines = ["max workers of each endpoint:"]
    for endpoint in sorted(others, key=lambda one: -one.max_workers):
        lines.append(f"  {endpoint.max_workers:>3}  {endpoint.name} ({endpoint.id})")
    lines.append(f"  {wanted:>3}  {name}, as it is asked for")
    return lines


def quota_exceeded(
    error: BadRequest,
    listed: Iterable[Endpoint],
    endpoint_id: str,
    name: str,
    wanted: int,
) -> QuotaExceeded:
    """The refusal, with what would fit, and who uses what for programs."""
    others = [endpoint for endpoint in listed if endpoint.id != endpoint_id]
    used = sum(endpoint.max_workers for endpoint in others)
    found = QUOTA_TEXT.search(error.detail)
    quota = int(found[1]) if found else LEAST_QUOTA
    fits = max(0, quota - used)
    what = (
        f"max workers of all endpoints would be {used + wanted}, and this account's quota is "
        f"{quota}; {fits} would fit {name}"
    )
    hint = f"set scaling.max_workers to {fits}" if fits else "free some first"
    big = max(others, key=lambda one: one.max_workers, default=None)
    if big and big.max_workers:
        hint += f", or lower another's: ./podkit.sh serverless pause {big.id}"
    table = [{"id": one.id, "name": one.name, "max_workers": one.max_workers} for one in others]
    return QuotaExceeded(what, hint, quota=quota, sum=used + wanted, fits=fits, endpoints=table)
