"""What the account has cost and goes on costing: sums of the provider's own bills, never an estimate in their place.

Amounts are USD; days and months are UTC.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from podkit.commands.output import columns
from podkit.errors import ApiError
from podkit.runpod.client import RunpodClient
from podkit.runpod.types import Charge, monthly_price


def read_spend(client: RunpodClient, days: int, monthly_budget: float | None) -> dict[str, Any]:
    """What `cost --json` prints: the bills of the last `days` days, today among them, those of this month, the rates.

    `pods` and `volumes` are dearest first; a `name` is None once the API does not list it any more. `stopped_pods` are
    those whose disks may cost, too: the API names no price for that. Raises ApiError.
    """
    pods, volumes = client.list_pods(), client.list_volumes()
    today = client.now().date()
    window, month = (
        [today - timedelta(back) for back in reversed(range(days))],
        today.replace(day=1),
    )
    charges = client.list_charges(min(window[0], month))
    recent = [charge for charge in charges if charge.day >= window[0]]
    names = {pod.id: pod.name for pod in pods} | {volume.id: volume.name for volume in volumes}
    return {
        "days": {
            str(day): _usd(charge for charge in recent if charge.day == day) for day in window
        },
        "pods": _shares([charge for charge in recent if charge.kind == "pod"], names),
        "volumes": _shares([charge for charge in recent if charge.kind == "networkVolume"], names),
        "total": _usd(recent),
        "month": _usd(charge for charge in charges if charge.day >= month),
        "monthly_budget": monthly_budget,
        "rate_per_hour": round(sum((pod.cost_per_hour for pod in pods), 0.0), 4),
        "storage_per_month": round(monthly_price(sum(volume.size_gb for volume in volumes)), 2),
        "stopped_pods": [pod.id for pod in pods if not pod.live and pod.status != "TERMINATED"],
    }


def report(spend: Mapping[str, Any]) -> str:
    """The same for people: a table by day and one by pod and volume, with bars; then the sums and the rates."""
    days = [((day,), usd) for day, usd in spend["days"].items()]
    shares = [("pod", share) for share in spend["pods"]] + [
        ("volume", share) for share in spend["volumes"]
    ]
    rows = [((kind, share["id"], share["name"] or "-"), share["usd"]) for kind, share in shares]
    tables = [*_bars(["DAY (UTC)"], days), "", *_bars(["WHAT", "ID", "NAME"], rows), ""]
    budget = f" of the budget of ${spend['monthly_budget']:.2f}" if spend["monthly_budget"] else ""
    disks = f"disks of stopped pods may cost, too: {', '.join(spend['stopped_pods'])}; see ./podkit.sh doctor\n"
    return "\n".join(tables if rows else ["nothing was billed on these days"]) + (
        f"\ndays shown: ${spend['total']:.2f}; this month so far: ${spend['month']:.2f}{budget}\n"
        f"running now: ${spend['rate_per_hour']:.2f}/h, which is ${spend['rate_per_hour'] * 24:.2f} a day\n"
        f"network volumes: about ${spend['storage_per_month']:.2f} a month until you delete them\n"
        f"{disks if spend['stopped_pods'] else ''}"
        "(billed amounts are the provider's, and may lag by hours)"
    )


def budget_warning(client: RunpodClient, monthly_budget: float) -> str:
    """What to say if this month has cost more than `monthly_budget`, or if that cannot be told; else an empty text."""
    try:
        cost = _usd(client.list_charges(client.now().date().replace(day=1)))
    except ApiError as error:
        return f"the monthly budget of ${monthly_budget:.2f} could not be checked ({error.message})"
    over = f"WARNING: this month has cost ${cost:.2f}, its budget is ${monthly_budget:.2f}; see ./podkit.sh cost"
    return over if cost > monthly_budget else ""


def _usd(charges: Iterable[Charge]) -> float:
    return round(sum((charge.usd for charge in charges), 0.0), 4)


def _shares(charges: Sequence[Charge], names: Mapping[str, str]) -> list[dict[str, Any]]:
    ids = sorted({charge.resource_id for charge in charges})
    costs = {id: _usd(charge for charge in charges if charge.resource_id == id) for id in ids}
    return [
        {"id": id, "name": names.get(id), "usd": costs[id]}
        for id in sorted(ids, key=lambda id: -costs[id])
    ]


def _bars(header: Sequence[str], rows: Sequence[tuple[Sequence[str], float]]) -> list[str]:
    """A table of `rows`, each ending in USD and a bar; that of the dearest is 20 long."""
    dearest = max([0.01, *(usd for _, usd in rows)])
    cells = [(*names, f"{usd:8.2f}", "█" * round(20 * usd / dearest)) for names, usd in rows]
    return columns((*header, f"{'USD':>8}", ""), *cells)
