"""Work of the boot that runs side by side. What fails in it must end the boot, whoever waits for
its result.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import ParamSpec, TypeVar

WAKE_SECONDS = 0.1
"""Between two moments at which Python acts on a signal that another thread has got: little, as a
boot has ten seconds for its whole end.
"""
Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


class Tasks:
    """Functions in threads of their own, and the first reason to end."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(16)
        self._ends: SimpleQueue[BaseException | None] = SimpleQueue()

    def start(
        self,
        function: Callable[Parameters, Result],
        *args: Parameters.args,
        **kwargs: Parameters.kwargs,
    ) -> Future[Result]:
        """Runs a function beside the rest; its failure ends the boot."""
        future = self._pool.submit(function, *args, **kwargs)
        future.add_done_callback(self._end_if_failed)
        return future

    def end(self) -> None:
        """Ends the boot without a failure: the platform stops the pod."""
        self._ends.put(None)

    def wait_for_end(self) -> BaseException | None:
        """Returns when the boot is to end: the failure, or None after `end`.

        It wakes now and then: of a signal that comes to another thread Python tells this one only
        when it runs.
        """
        while True:
            with suppress(Empty):
                return self._ends.get(timeout=WAKE_SECONDS)

    def _end_if_failed(self, future: Future[Result]) -> None:
        failure = future.exception()
        if failure:
            self._ends.put(failure)
