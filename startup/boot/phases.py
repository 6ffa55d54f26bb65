"""The phases of a boot as the log tells them: the laptop follows these lines, so their form is a
contract.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pod_log import say

from boot.failures import Fatal


class Phases:
    """The boot's clock, in seconds since it began, how long each finished phase took, and which
    source gave the checkpoint how fast.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()
        self.seconds: dict[str, float] = {}
        self.source: dict[str, Any] = {}

    def elapsed(self) -> float:
        return round(self._clock() - self._began, 1)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Logs a phase and its seconds. Whatever fails inside it becomes a Fatal with its name."""
        begin = self.elapsed()
        say(f"phase={name} event=start t={begin}")
        try:
            yield
        except Exception as error:
            say(f"phase={name} event=failed t={self.elapsed()}")
            if isinstance(error, Fatal):
                error.step = error.step or name
                raise
            raise Fatal(repr(error), "read the lines above; deploy again", name) from error
        self.seconds[name] = round(self.elapsed() - begin, 1)
        say(f"phase={name} event=done t={self.elapsed()}")
