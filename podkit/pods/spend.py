"""What the account has cost and goes on costing: sums of the provider's own bills, never an
estimate in their place.

Amounts are USD; days and months are UTC.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import date, timedelta
from typing import Any

from podkit.errors import ApiError, Forbidden
from podkit.runpod.client import RunpodClient
from podkit.runpod.endpoint_types import Endpoint
from podkit.runpod.types import Charge, NetworkVolume, Pod, monthly_price

ENDPOINT = "endpoint"
"""The kind of a charge for the workers of a serverless endpoint."""


def read_spend(
    client: RunpodClient,
    days: int,
    monthly_budget: float | None,
    names: Mapping[str, str],
) -> dict[str, Any]:
    """The bills of the last `days` days, today among them, those of this month, and the rates.

    `pods`, `volumes` and `endpoints` are the most expensive first; a `name` is None where neither
    the API nor `names` has one. `stopped_pods` are those whose disks may cost, too: the API names
    no price for that. `idle_workers` are the min workers of all endpoints, which bill without jobs.
    `endpoints` is None for a key that may not see them. Raises ApiError.
    """
    pods = client.list_pods()
    volumes = client.list_volumes()
    endpoints = _endpoints(client)
    today = client.now().date()
    window = [today - timedelta(back) for back in reversed(range(days))]
    month = today.replace(day=1)
    charges = _all_charges(client, min(window[0], month))
    recent = _since(charges, window[0])
    known = {**names, **_names(pods, volumes, endpoints or [])}
    stopped = [pod.id for pod in pods if not pod.live and pod.status != "TERMINATED"]
    size_gb = sum(volume.size_gb for volume in volumes)
    return {
        "days": _by_day(recent, window),
        "pods": _shares(recent, "pod", known),
        "volumes": _shares(recent, "networkVolume", known),
        "endpoints": None if endpoints is None else _shares(recent, ENDPOINT, known),
        "total": _usd(recent),
        "month": _usd(_since(charges, month)),
        "monthly_budget": monthly_budget,
        "rate_per_hour": round(sum((pod.cost_per_hour for pod in pods), 0.0), 4),
        "storage_per_month": round(monthly_price(size_gb), 2),
        "stopped_pods": stopped,
        "idle_workers": sum(endpoint.min_workers for endpoint in endpoints or []),
    }


def budget_warning(client: RunpodClient, monthly_budget: float) -> str:
    """What to say if this month has cost more than `monthly_budget` USD, or if that cannot be told;
    else an empty text.
    """
    try:
        cost = _usd(_all_charges(client, client.now().date().replace(day=1)))
    except ApiError as error:
        return f"the monthly budget of ${monthly_budget:.2f} could not be checked ({error.message})"
    if cost <= monthly_budget:
        return ""
    over = f"WARNING: this month has cost ${cost:.2f}, its budget is ${monthly_budget:.2f}"
    return f"{over}; see ./podkit.sh cost"


def _all_charges(client: RunpodClient, since: date) -> list[Charge]:
    """What pods, volumes and, as far as the key may see them, serverless endpoints were billed.
    Raises ApiError."""
    charges = client.list_charges(since)
    with suppress(Forbidden):
        for charge in client.list_endpoint_charges(since):
            charges.append(Charge(charge.day, ENDPOINT, charge.endpoint_id, charge.usd))
    return charges


def _names(
    pods: Sequence[Pod],
    volumes: Sequence[NetworkVolume],
    endpoints: Sequence[Endpoint],
) -> dict[str, str]:
    """What all these are called, by their id."""
    named = {}
    billed: list[Pod | NetworkVolume | Endpoint] = [*pods, *volumes, *endpoints]
    for one in billed:
        named[one.id] = one.name
    return named


def _endpoints(client: RunpodClient) -> list[Endpoint] | None:
    """The endpoints of the account, None for a key that may not see them."""
    try:
        return client.list_endpoints()
    except Forbidden:
        return None


def _usd(charges: Sequence[Charge]) -> float:
    return round(sum((charge.usd for charge in charges), 0.0), 4)


def _since(charges: Sequence[Charge], day: date) -> list[Charge]:
    return [charge for charge in charges if charge.day >= day]


def _by_day(charges: Sequence[Charge], days: Sequence[date]) -> dict[str, float]:
    found = dict.fromkeys(map(str, days), 0.0)
    for charge in charges:
        day = str(charge.day)
        if day in found:
            found[day] += charge.usd
    return {day: round(usd, 4) for day, usd in found.items()}


def _shares(
    charges: Sequence[Charge],
    kind: str,
    names: Mapping[str, str],
) -> list[dict[str, Any]]:
    """What each pod or volume cost, the most expensive first."""
    costs: dict[str, float] = {}
    for charge in charges:
        if charge.kind != kind:
            continue
        costs[charge.resource_id] = costs.get(charge.resource_id, 0.0) + charge.usd
    shares = []
    for resource_id, usd in sorted(costs.items(), key=lambda cost: (-cost[1], cost[0])):
        name = names.get(resource_id)
        shares.append({"id": resource_id, "name": name, "usd": round(usd, 4)})
    return shares
