"""What reading takes and costs on one pod, two, four and eight.

It must never give a figure that was not measured here without saying so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from podkit.ocr.rates import Rates
from podkit.pods.placement import Candidate

ROWS = (1, 2, 4, 8)
BOOT_SECONDS = 420.0
"""Assumed where this checkout has made no pod yet: a later boot, with the model on the volume."""
RENDERED_PER_CORE = 3600.0
"""Pages an hour that the toolkit is assumed to render for each core of this machine: one a second.
bench/ocr_fleet.py measures it.
"""


@dataclass(frozen=True)
class Row:
    """So many pods: `hours` from the first create to the last page, USD `cost` of all.

    None where no rate was measured. `is_rendering_bound`: they would read faster than this machine
    renders.
    """

    pods: int
    hours: float | None
    cost: float | None
    is_rendering_bound: bool = False


@dataclass(frozen=True)
class ReadingPlan:
    """What there is to read, on which GPU type at which price, and a row for each number of pods.

    `pages_per_hour` of one pod is None where none has read here; `boot_seconds` is assumed where
    `is_boot_measured` is false.
    """

    pages: int
    gpu_type: str
    price: float | None
    pages_per_hour: float | None
    boot_seconds: float
    is_boot_measured: bool
    rows: Sequence[Row]
    budget: float | None

    def fields(self) -> Mapping[str, Any]:
        """For programs."""
        return {"plan": asdict(self)}

    def text(self) -> str:
        """A table, and what it rests on."""
        lines = [f"{'PODS':<6}{'TIME':<10}{'COST':<10}"]
        for row in self.rows:
            lines.append(self._line(row))
        lines += self._notes()
        return "\n".join(line.rstrip() for line in lines)

    def _line(self, row: Row) -> str:
        if row.hours is None:
            return f"{row.pods:<6}{'unknown':<10}{'unknown':<10}"
        cost = "unknown" if row.cost is None else f"${row.cost:.2f}"
        remark = ""
        if row.is_rendering_bound:
            remark = "this machine renders no faster"
        if self.budget and row.cost and row.cost > self.budget:
            remark = f"above the budget of ${self.budget:.2f}"
        return f"{row.pods:<6}{_hours(row.hours):<10}{cost:<10}{remark}"

    def _notes(self) -> list[str]:
        price = "price unknown" if self.price is None else f"${self.price:.2f}/h"
        pages = "page" if self.pages == 1 else "pages"
        first = f"{self.pages} {pages} on {self.gpu_type}, {price}"
        if self.pages_per_hour is None:
            first += "; how many pages an hour it reads is not known here:"
            return [first, "  ./ocr_pdfs.sh FILE.pdf --pages 1-20 --deploy measures it"]
        first += f", {self.pages_per_hour / 60:.0f} pages a minute here before"
        boot = "measured" if self.is_boot_measured else "assumed"
        return [first, f"  a boot takes {self.boot_seconds / 60:.0f} minutes ({boot})"]


def plan_reading(
    pages: int,
    offer: Candidate,
    rates: Rates,
    cores: int,
    budget: float | None,
) -> ReadingPlan:
    """The rows for these pages on what is offered."""
    pages_per_hour = rates.pages_per_hour(offer.gpu_type)
    measured = rates.boot_seconds()
    boot = BOOT_SECONDS if measured is None else measured
    rows = []
    for pods in ROWS:
        rows.append(_row(pods, pages, offer.price, pages_per_hour, boot, cores * RENDERED_PER_CORE))
    return ReadingPlan(
        pages,
        offer.gpu_type,
        offer.price,
        pages_per_hour,
        boot,
        measured is not None,
        rows,
        budget,
    )


def _row(
    pods: int,
    pages: int,
    price: float | None,
    pages_per_hour: float | None,
    boot_seconds: float,
    rendered_per_hour: float,
) -> Row:
    if pages_per_hour is None:
        return Row(pods, None, None)
    wished = pods * pages_per_hour
    hours = boot_seconds / 3600 + pages / min(wished, rendered_per_hour)
    cost = None if price is None else pods * price * hours
    return Row(pods, hours, cost, wished > rendered_per_hour)


def _hours(hours: float) -> str:
    """`1 h 05` or `12 min`."""
    minutes = max(round(hours * 60), 1)
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60:02}"
