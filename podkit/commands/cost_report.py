"""The tables of `cost`, with a bar for each amount."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from podkit.commands.tables import columns
from podkit.text import clip, fold, printable

BAR = 18
LEAST = 0.005
"""USD that are shown as a cent; less is nothing."""


def report(spend: Mapping[str, Any]) -> str:
    """A table by day and one by pod, volume and endpoint; then the sums and the rates."""
    shares = []
    for kind in ("pod", "volume", "endpoint"):
        for share in spend[f"{kind}s"] or []:
            name = clip(share["name"] or "-", 26)
            shares.append(([kind, printable(share["id"]), name], share["usd"]))
    lines = ["nothing was billed on these days"]
    if shares:
        lines = [*_day_table(spend["days"]), "", *_bars(["WHAT", "ID", "NAME"], shares), ""]
    budget = spend["monthly_budget"]
    of_budget = f" of the budget of ${budget:.2f}" if budget else ""
    rate = spend["rate_per_hour"]
    total = _dollars(spend["total"])
    lines.append(f"days shown: {total}; this month so far: {_dollars(spend['month'])}{of_budget}")
    if rate:
        lines.append(f"running now: ${rate:.2f}/h, which is ${rate * 24:.2f} a day")
    else:
        lines.append("running now: nothing")
    if spend["endpoints"] is None:
        lines.append("serverless endpoints: not counted, this key may not see them")
    if spend["idle_workers"]:
        lines.append(f"min workers of endpoints, always on: {spend['idle_workers']}")
    if spend["storage_per_month"]:
        storage = f"about ${spend['storage_per_month']:.2f} a month until you delete them"
        lines.append(f"network volumes: {storage}")
    if spend["stopped_pods"]:
        stopped = ", ".join(spend["stopped_pods"])
        lines.append(
            fold(f"disks of stopped pods may cost, too: {stopped}; see ./podkit.sh doctor")
        )
    return "\n".join([*lines, "(billed amounts are the provider's, and may lag by hours)"])


def _day_table(days: Mapping[str, float]) -> list[str]:
    """A row a day on which something was billed, and how many others there are."""
    rows = []
    for day, usd in days.items():
        if abs(usd) >= LEAST:
            rows.append(([day], usd))
    lines = _bars(["DAY (UTC)"], rows)
    if len(rows) < len(days):
        lines.append(f"the other {len(days) - len(rows)}: nothing")
    return lines


def _dollars(usd: float) -> str:
    return "nothing" if abs(usd) < LEAST else f"${usd:.2f}"


def _bars(header: Sequence[str], rows: Sequence[tuple[Sequence[str], float]]) -> list[str]:
    """A table of `rows`, each ending in USD and a bar; that of the highest is 18 long."""
    highest = max([0.01, *(usd for _, usd in rows)])
    table = [[*header, f"{'USD':>8}", ""]]
    for names, usd in rows:
        table.append([*names, f"{usd:8.2f}", "█" * round(BAR * usd / highest)])
    return columns(*table)
