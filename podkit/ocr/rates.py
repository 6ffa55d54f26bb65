"""How fast this checkout's pods have read, and how soon they served: kept for the next plan.

Figures of other accounts or other models must never get in: a plan says what was measured here.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from podkit.ocr.backends import Backend
from podkit.private_files import write_private

LEAST_ANSWERS = 20
"""A pod that has given fewer tells nothing about its rate."""
KEPT = 5
BOOTS = "boot seconds"


class Rates:
    """The last five figures of each kind, in a file; one that cannot be read is as an empty one."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def pages_per_hour(self, gpu_type: str) -> float | None:
        """What a pod on this GPU type reads; None if none has read here."""
        return self._median(gpu_type)

    def boot_seconds(self) -> float | None:
        """From a pod's create until it serves; None if none was waited for here."""
        return self._median(BOOTS)

    def note_boot(self, seconds: float) -> None:
        self._note(BOOTS, seconds)

    def note_answers(self, backends: Sequence[Backend], now: float) -> None:
        """Keep what each of these has read an hour, if it has read enough to tell."""
        for one in backends:
            if one.pages >= LEAST_ANSWERS:
                self._note(one.pod.gpu_type, one.pages / max(one.hours(now), 1e-6))

    def _median(self, kind: str) -> float | None:
        figures = self._read().get(kind)
        return statistics.median(figures) if figures else None

    def _note(self, kind: str, figure: float) -> None:
        kept = self._read()
        kept[kind] = [*kept.get(kind, []), round(figure, 1)][-KEPT:]
        with suppress(OSError):
            write_private(self._file, json.dumps(kept))

    def _read(self) -> dict[str, list[float]]:
        found = {}
        with suppress(OSError, ValueError, TypeError, AttributeError):
            for kind, figures in json.loads(self._file.read_text(encoding="utf-8")).items():
                found[str(kind)] = [float(figure) for figure in figures]
        return found
