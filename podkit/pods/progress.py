"""How a wait is shown: one live block on a terminal, plain lines elsewhere, events for programs.

Nothing is decided here. rich, which draws the block, is imported only when a terminal is there to
draw on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from podkit.models.fit import GIB
from podkit.pods.watch import Progress, Step

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live

SAY_EVERY_SECONDS = 30.0
MIB = 2**20
SMALLEST_SHOWN = 0.005
"""USD below which nothing is said of money: it would read $0.00."""


class Changes:
    """Hands a Progress on to `tell` when its phases changed, and at least every 30 seconds."""

    def __init__(self, tell: Callable[[Progress], None]) -> None:
        self._tell = tell
        self._told: tuple[Step, ...] = ()
        self._told_at = 0.0

    def __call__(self, progress: Progress) -> None:
        if progress.steps != self._told or progress.seconds - self._told_at >= SAY_EVERY_SECONDS:
            self._told = progress.steps
            self._told_at = progress.seconds
            self._tell(progress)


def line(progress: Progress) -> str:
    """`1:12  install 1:04, fetch 0:58 (3.1 of 9.4 GiB, 120 MiB/s, 0:55 left)  about $0.02 so
    far`."""
    parts = [minutes(progress.seconds), _doing(progress)]
    if spent := _spent(progress):
        parts.append(spent)
    return "  ".join(parts)


def _doing(progress: Progress) -> str:
    running = []
    for step in progress.running:
        told = f"{step.phase} {minutes(step.took(progress.seconds))}"
        if step.phase == "fetch" and progress.total:
            told += f" ({_of_total(progress)})"
        running.append(told)
    if running:
        return ", ".join(running)
    last = progress.steps[-1].phase
    return last if last == "ready" else f"{last} is done"


def event(progress: Progress) -> dict[str, Any]:
    """The fields of the event that docs/json.md describes."""
    phases = []
    for step in progress.steps:
        seconds = round(step.took(progress.seconds), 1)
        phases.append({"phase": step.phase, "seconds": seconds, "done": step.ended is not None})
    return {
        "pod": {"id": progress.pod.id, "name": progress.pod.name},
        "seconds": round(progress.seconds, 1),
        "cost_so_far": round(progress.spent, 4),
        "phases": phases,
        "fetched_bytes": progress.fetched,
        "total_bytes": progress.total,
        "bytes_per_second": round(progress.rate),
    }


@contextmanager
def live() -> Iterator[Callable[[Progress], None]]:
    """A block on the terminal of stderr that is redrawn at every Progress, and stays when the wait
    ends."""
    from rich.console import Console
    from rich.live import Live

    block = Live(console=Console(stderr=True), auto_refresh=False, redirect_stdout=False)

    def show(progress: Progress) -> None:
        with suppress(OSError):
            block.update(draw(progress), refresh=True)

    with show_live(block):
        yield show


@contextmanager
def show_live(block: Live) -> Iterator[None]:
    """`block` on the terminal, which may be closed meanwhile: that ends nothing, and hides no
    signal."""
    with suppress(OSError):
        block.start()
    try:
        yield
    finally:
        with suppress(OSError):
            block.stop()


def draw(progress: Progress) -> RenderableType:
    """The block: the pod, a row for each phase with its time, the bytes fetched, time and money so
    far."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    pod = progress.pod
    rows = Table.grid(padding=(0, 1))
    for step in progress.steps:
        mark = Text("*", "yellow") if step.ended is None else Text("+", "green")
        took = Text(minutes(step.took(progress.seconds)), justify="right")
        cells: list[RenderableType] = [mark, step.phase, took]
        if step.phase == "fetch" and progress.total:
            cells.append(ProgressBar(progress.total, progress.fetched, width=24))
            cells.append(_of_total(progress))
        rows.add_row(*cells)
    where = f"{pod.name} on {pod.gpu_type} in {pod.data_center}, ${pod.cost_per_hour:.2f}/h"
    so_far = f"{minutes(progress.seconds)} so far"
    if spent := _spent(progress):
        so_far += f", {spent}"
    return Group(Text(where, "bold"), rows, Text(so_far))


def minutes(seconds: float) -> str:
    """`1:12` for 72 seconds."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def _spent(progress: Progress) -> str:
    if progress.spent < SMALLEST_SHOWN:
        return ""
    return f"about ${progress.spent:.2f} so far"


def _of_total(progress: Progress) -> str:
    """`3.1 of 9.4 GiB, 120 MiB/s, 0:55 left`; without the rate while that is not known."""
    told = f"{progress.fetched / GIB:.1f} of {progress.total / GIB:.1f} GiB"
    if not progress.rate:
        return told
    left = (progress.total - progress.fetched) / progress.rate
    return f"{told}, {progress.rate / MIB:.0f} MiB/s, {minutes(max(left, 0.0))} left"
