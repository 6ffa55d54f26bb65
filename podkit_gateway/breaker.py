"""Whether a backend is asked at all after it has failed. Pure: the time is an argument.

Five failures within 30 s open the breaker for 15 s, twice as long each time up to 4 minutes; then
one request is let through as a probe.
"""

from __future__ import annotations

from collections import deque

FAILURES = 5
WITHIN = 30.0
FIRST_PAUSE = 15.0
LONGEST_PAUSE = 240.0

CLOSED = "closed"
OPEN = "open"
PROBING = "probing"


class Breaker:
    """Counts the failures of one backend; times are in seconds of any steady clock."""

    def __init__(self) -> None:
        self.state = CLOSED
        self._failed: deque[float] = deque(maxlen=FAILURES)
        self._pause = FIRST_PAUSE
        self._until = 0.0

    def allows(self, now: float) -> bool:
        """Whether a request may be sent now. Changes nothing."""
        return self.state == CLOSED or (self.state == OPEN and now >= self._until)

    def start(self, now: float) -> None:
        """Notes that a request is sent; the first one after a pause is the probe."""
        if self.state == OPEN and now >= self._until:
            self.state = PROBING

    def succeed(self) -> None:
        self.state = CLOSED
        self._pause = FIRST_PAUSE
        self._failed.clear()

    def fail(self, now: float) -> None:
        """Counts a failure: no connection, 502, 503, 504, 524, or no first byte in time."""
        if self.state == PROBING:
            self._pause = min(self._pause * 2, LONGEST_PAUSE)
            self._open(now)
            return
        self._failed.append(now)
        if len(self._failed) == FAILURES and now - self._failed[0] <= WITHIN:
            self._open(now)

    def leave(self, now: float) -> None:
        """The request ended without telling anything of the backend: the client left. A probe is
        due again.
        """
        if self.state == PROBING:
            self.state = OPEN
            self._until = now

    def _open(self, now: float) -> None:
        self.state = OPEN
        self._until = now + self._pause
        self._failed.clear()
