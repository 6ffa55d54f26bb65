"""Turns SIGINT, SIGTERM and SIGHUP into one orderly way out.

The first signal raises Interrupted in the main program, but never while a create is in flight: then it waits until
the answer is understood. A second one prints what may be left running and exits at once.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from podkit.errors import Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupts:
    """`report` gives the text that a second signal prints before the process ends."""

    def __init__(self) -> None:
        self.report: Callable[[], str] = lambda: ""
        self._pending: int | None = None
        self._holding = False

    def install(self) -> None:
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup's wish stands
                signal.signal(number, self._arrived)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Put a first signal off until the block, which must be bounded in time, has ended."""
        self._holding = True
        try:
            yield
        finally:
            self._holding = False
            if self._pending is not None:
                raise Interrupted(self._pending)

    def _arrived(self, number: int, _frame: FrameType | None) -> None:
        if self._pending is not None:
            _tell(self.report())
            os._exit(128 + number)
        self._pending = number
        if not self._holding:
            raise Interrupted(number)
        _tell(
            "podkit: interrupted; finding out first whether the pod was made (again to leave at once)\n"
        )


def _tell(text: str) -> None:
    cursor = "\x1b[?25h" if os.isatty(2) else ""  # shows it: a live block hides it
    with suppress(OSError):  # SIGHUP: the terminal may be gone
        os.write(2, f"{cursor}\n{text}".encode())
