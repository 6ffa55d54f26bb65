"""`cost`: what was billed, and what goes on billing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import click

from podkit.commands.app import App
from podkit.commands.options import command
from podkit.commands.result import Result


@dataclass(frozen=True)
class Cost:
    """What read_spend() found."""

    spend: Mapping[str, Any]

    def fields(self) -> Mapping[str, Any]:
        return self.spend

    def text(self) -> str:
        from podkit.commands.cost_report import report

        return report(self.spend)


@command("cost", json=True)
@click.option(
    "--days",
    type=click.IntRange(1, 365),
    default=7,
    show_default=True,
    help="How many, up to today (UTC).",
)
def cost(app: App, days: int) -> Result:
    """Show what was billed per day, pod, volume and endpoint, this month against its budget, and
    what goes on billing.

    \b
    Examples:
      ./podkit.sh cost
      ./podkit.sh cost --days 30
      ./podkit.sh cost --json | jq .month
    """
    from podkit.pods.spend import read_spend

    settings, client = app.connect()
    return Cost(read_spend(client, days, settings.monthly_budget, app.made_pods(settings).names()))
