"""Time that only work moves, and a signal that comes at one of its ticks."""

from __future__ import annotations

import signal
import threading
from dataclasses import dataclass


@dataclass
class Alarm:
    """Sends this process `number` once, at its `at`-th tick: each call,
    before and after its effect, sleep and line of the main thread.
    """

    number: int = 0
    at: int = 0
    ticks: int = 0

    @property
    def rang(self) -> bool:
        return 0 < self.at <= self.ticks

    def tick(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        self.ticks += 1
        if self.ticks == self.at:
            signal.raise_signal(self.number)


class Clock:
    """Seconds since 1970 that only sleeping and calling move."""

    def __init__(self, alarm: Alarm) -> None:
        self.now = 1_795_000_000.0
        self._alarm = alarm

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self._alarm.tick()
        self.now += seconds
