"""How many pages a pod is asked for at once: more while it begins each answer soon, fewer when it
does not.

Nobody knows beforehand how much a pod takes: an A100 with room for sixty pages, or the sandbox on a
busy laptop, which reads two. The time until an answer begins tells, and it does not depend on how
long the page is. It must never wait until the provider's proxy cuts, which is at 100 seconds.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

FIRST_AT_ONCE = 4
SLOW_SECONDS = 20.0
"""An answer that has not begun by then waits behind too many others: a fifth of the 100 seconds
after which the provider's proxy cuts (provider documentation, 2026).
"""


class Pace:
    """At most `most` turns at once, and at least one.

    Up to the first slow answer, each one that comes soon adds a turn; from then on, one for each
    round of them. A slow one halves them, and trouble does, once for all that were asked before.
    """

    def __init__(self, most: int, clock: Callable[[], float]) -> None:
        self._most = most
        self._clock = clock
        self._turns = float(min(FIRST_AT_ONCE, most))
        self._taken = 0
        self._halved_at = float("-inf")
        self._changed = threading.Condition()

    @property
    def at_once(self) -> int:
        """How many turns there are now."""
        return int(self._turns)

    @contextmanager
    def turn(self) -> Iterator[float]:
        """A turn, waited for as long as it takes; its value is the moment at which it began."""
        with self._changed:
            self._changed.wait_for(lambda: self._taken < self.at_once)
            self._taken += 1
        try:
            yield self._clock()
        finally:
            with self._changed:
                self._taken -= 1
                self._changed.notify_all()

    def see_begin(self, asked_at: float) -> None:
        """The answer begins to a question of this moment. Turns that nobody needs add none."""
        with self._changed:
            if self._clock() - asked_at > SLOW_SECONDS:
                self.see_trouble(asked_at)
            elif self._taken >= self.at_once:
                never_slow = self._halved_at == float("-inf")
                more = 1.0 if never_slow else 1.0 / self._turns
                self._turns = min(self._turns + more, float(self._most))
                self._changed.notify_all()

    def see_trouble(self, asked_at: float) -> None:
        """A question of this moment was answered late, or not at all."""
        with self._changed:
            if asked_at > self._halved_at:
                self._turns = max(self._turns / 2, 1.0)
                self._halved_at = self._clock()
