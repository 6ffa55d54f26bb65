"""What time it is, by the API's clock as far as it can be believed.

A pod ends itself at a moment that this decides, so neither a wrong laptop clock nor a wrong answer
may move it far. A Date header is believed within ten minutes of this machine's clock; beyond that
only when two answers in a row agree, and the user is told.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from podkit.errors import UsageError

TRUSTED_SECONDS = 600.0
"""How far a Date header may be from this machine's clock and still be believed at once."""
AGREED_SECONDS = 60.0
"""How far apart two answers may be that agree on another time."""
LONGEST_SECONDS = 366 * 86_400.0
"""No clock is this wrong: TLS certificates would not be valid."""
BEHIND_SECONDS = 3600.0
"""A machine this far behind would make pods that end too early, or at once."""


class ApiClock:
    """`clock` counts this machine's seconds since 1970; `say` tells the user a line."""

    def __init__(self, clock: Callable[[], float], say: Callable[[str], None]) -> None:
        self._clock = clock
        self._say = say
        self._skew = 0.0
        self._doubted: float | None = None

    def hear(self, date: str) -> None:
        """Take note of the Date header of an answer that was understood."""
        try:
            skew = parsedate_to_datetime(date).timestamp() - self._clock()
        except (ValueError, TypeError, OverflowError):
            return
        if abs(skew) <= TRUSTED_SECONDS:
            self._skew = skew
            self._doubted = None
        elif abs(skew) > LONGEST_SECONDS:
            return
        elif self._doubted is None or abs(skew - self._doubted) > AGREED_SECONDS:
            self._doubted = skew
        else:
            self._tell(skew)
            self._skew = skew
            self._doubted = skew

    def now(self) -> datetime:
        """The moment by the API's clock, or by this machine's before any answer."""
        return datetime.fromtimestamp(self._clock() + self._skew, UTC)

    def earliest_now(self) -> datetime:
        """The moment by the API's clock or this machine's, whichever is earlier.

        What a pod's end is counted from: it then ends no later than promised by both clocks.
        Raises UsageError where this machine is so far behind that the pod would end too early.
        """
        if self._skew > BEHIND_SECONDS:
            what = f"this machine's clock is {self._skew / 3600:.0f} h behind the API's"
            raise UsageError(what, "set this machine's clock, then deploy again")
        return datetime.fromtimestamp(self._clock() + min(self._skew, 0.0), UTC)

    def _tell(self, skew: float) -> None:
        if abs(skew - self._skew) <= AGREED_SECONDS:
            return
        side = "behind"
        if skew < 0:
            side = "ahead of"
        self._say(
            f"this machine's clock is {abs(skew) / 60:.0f} min {side} the API's, whose time is used"
        )
