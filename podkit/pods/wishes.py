"""What a deploy is asked to do beside its settings."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Wishes:
    """`new` makes another pod even if one is there; `adopt` takes one whose limits are looser than
    asked; `wait` waits until it serves, `needs_page` its chat page, too; `stock_minutes` is how
    long to wait for a free GPU.
    """

    new: bool = False
    adopt: bool = False
    wait: bool = True
    needs_page: bool = True
    rm_on_interrupt: bool = False
    stock_minutes: float = 0.0
