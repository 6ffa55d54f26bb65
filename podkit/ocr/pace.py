"""How many pages a pod is asked for at once: more while it begins each answer soon, fewer when it
does not.

Nobody knows beforehand how much a pod takes: an A100 with room for sixty pages, or the sandbox on a
busy laptop, which reads two. The time until an answer begins tells, and it does not depend on how
long the page is. It must never wait until the provider's proxy cuts, which is at 100 seconds.
"""

from __future__ import annotations

from collections.abc import Callable

FIRST_AT_ONCE = 4
SLOW_SECONDS = 20.0
"""An answer that has not begun by then waits behind too many others: a fifth of the 100 seconds
after which the provider's proxy cuts (provider documentation, 2026).
"""


class Pace:
    """At most `most` pages at once, and at least one. Not for several threads at a time.

    Up to the first slow answer, each one that comes soon adds a page; from then on, one for each
    round of them. A slow one halves them, and trouble does, once for all that were asked before.
    """

    def __init__(self, most: int, clock: Callable[[], float]) -> None:
        self._most = most
        self._clock = clock
        self._pages = float(min(FIRST_AT_ONCE, most))
        self._halved_at = float("-inf")

    @property
    def at_once(self) -> int:
        """How many pages may be asked for now."""
        return int(self._pages)

    def see_begin(self, asked_at: float, in_flight: int) -> None:
        """The answer begins to a question of this moment, one of so many `in_flight`.

        Room that nobody needs adds none.
        """
        if self._clock() - asked_at > SLOW_SECONDS:
            self.see_trouble(asked_at)
        elif in_flight >= self.at_once:
            never_slow = self._halved_at == float("-inf")
            more = 1.0 if never_slow else 1.0 / self._pages
            self._pages = min(self._pages + more, float(self._most))

    def see_trouble(self, asked_at: float) -> None:
        """A question of this moment was answered late, or not at all."""
        if asked_at > self._halved_at:
            self._pages = max(self._pages / 2, 1.0)
            self._halved_at = self._clock()
