"""Threads that run one at a time, on a clock that only their waiting moves.

A run of several threads that takes hours repeats itself exactly, within milliseconds.
"""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.reliability.ticks import Alarm, Clock


class Over(BaseException):
    """Raised in a thread that is to end."""


@dataclass(order=True)
class Waiting:
    """A thread that waits until `wake`, in seconds since 1970."""

    wake: float
    number: int
    baton: threading.Semaphore = field(compare=False)
    is_void: bool = field(default=False, compare=False)


class SharedClock(Clock):
    """Whoever sleeps hands the baton to the thread that is to wake first."""

    def __init__(self, alarm: Alarm) -> None:
        super().__init__(alarm)
        self._queue: list[Waiting] = []
        self._numbers = itertools.count()
        self._threads: list[threading.Thread] = []
        self._is_over = False

    def sleep(self, seconds: float) -> None:
        if threading.current_thread() is threading.main_thread():
            self._alarm.tick()
        self.wait(self.enter(seconds))

    def enter(self, seconds: float) -> Waiting:
        """This thread's place in the queue."""
        entry = Waiting(self.now + seconds, next(self._numbers), threading.Semaphore(0))
        heapq.heappush(self._queue, entry)
        return entry

    def wait(self, entry: Waiting) -> None:
        """Let others run until it is this thread's turn."""
        self._pass_on()
        entry.baton.acquire()
        if self._is_over and threading.current_thread() is not threading.main_thread():
            raise Over

    def hasten(self, entry: Waiting) -> None:
        """Wake this one now."""
        entry.is_void = True
        again = Waiting(self.now, next(self._numbers), entry.baton)
        heapq.heappush(self._queue, again)

    def start(self, work: Callable[[], None]) -> None:
        """Run `work` in a thread of its own, from the next wait on."""
        entry = self.enter(0.0)

        def run() -> None:
            entry.baton.acquire()
            try:
                if not self._is_over:
                    work()
            except Over:
                return
            if not self._is_over:
                self._pass_on()

        thread = threading.Thread(target=run, daemon=True)
        self._threads.append(thread)
        thread.start()

    def end_threads(self) -> None:
        """End every thread but this one, wherever it waits."""
        self._is_over = True
        for entry in self._queue:
            entry.baton.release()
        for thread in self._threads:
            thread.join(timeout=10)
        self._queue.clear()
        self._threads.clear()
        self._is_over = False

    def _pass_on(self) -> None:
        entry = heapq.heappop(self._queue)
        while entry.is_void:
            entry = heapq.heappop(self._queue)
        self.now = max(self.now, entry.wake)
        entry.baton.release()


class SharedCondition(threading.Condition):
    """A condition of threads that run one at a time."""

    def __init__(self, clock: SharedClock) -> None:
        super().__init__()
        self._shared = clock
        self._waiting: list[Waiting] = []

    def __enter__(self) -> bool:
        return True

    def __exit__(self, *_: object) -> None:
        """Nothing was locked."""

    def wait(self, timeout: float | None = None) -> bool:
        entry = self._shared.enter(timeout or 1e9)
        self._waiting.append(entry)
        self._shared.wait(entry)
        if entry in self._waiting:
            self._waiting.remove(entry)
        return True

    def notify_all(self) -> None:
        for entry in self._waiting:
            self._shared.hasten(entry)
        self._waiting.clear()
