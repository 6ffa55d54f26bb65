"""The pods that pages are asked of: which of them gets the next page, and which is given up.

A page goes to the pod with the fewest in flight. One in trouble gets no more than one page at a
time, to see whether it is back. It must never make a page wait for a pod in trouble while another
one answers, nor call a pod gone before the API does.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from podkit.ocr.pace import Pace
from podkit.pods.access import Access
from podkit.runpod.types import Pod

TROUBLE_SECONDS = 240.0
"""After so long without a sensible answer the API is asked for the pod.

Starting vLLM again in a pod takes about 2 minutes.
"""
SILENT_SECONDS = 1200.0
"""A pod that is there, and answers nothing sensible for so long, is given up."""
RETRY_SECONDS = 5.0
"""How long a pod in trouble is left alone before it is tried with a page."""
NEVER = float("-inf")


@dataclass
class Backend:
    """A pod that reads pages, at its `pace`.

    `is_gone` asks the API whether it has ended. `pages` is how many answers it has given, `failure`
    says why it was given up; moments are seconds of one clock.
    """

    pod: Pod
    where: Access
    pace: Pace
    is_gone: Callable[[], bool]
    added_at: float
    in_flight: int = 0
    pages: int = 0
    failure: str = ""
    given_up_at: float = 0.0
    trouble_since: float | None = None
    _tried_at: float = NEVER
    _api_asked_at: float = NEVER
    _judging: threading.Lock = field(default_factory=threading.Lock)

    def has_room(self, now: float) -> bool:
        """Whether it may be asked for one more page."""
        if self.trouble_since is None:
            return self.in_flight < self.pace.at_once
        return not self.in_flight and now - self._tried_at >= RETRY_SECONDS

    def see_trouble(self, asked_at: float, now: float) -> None:
        """A question of the moment `asked_at` got no sensible answer."""
        self.pace.see_trouble(asked_at)
        self._tried_at = now
        if self.trouble_since is None:
            self.trouble_since = asked_at

    def judge(self, trouble: str, now: float) -> None:
        """Give it up if it has been in trouble for long, and is gone, or silent for too long.

        Only the API knows whether it is gone; it is asked once in TROUBLE_SECONDS.
        """
        with self._judging:
            since = self.trouble_since
            if since is None or self.failure:
                return
            if now - max(since, self._api_asked_at) <= TROUBLE_SECONDS:
                return
            self._api_asked_at = now
            if self.is_gone():
                self.give_up(f"the pod is gone: {trouble}", now)
            elif now - since > SILENT_SECONDS:
                minutes = round((now - since) / 60)
                what = f"the pod is there, but in trouble for {minutes} minutes: {trouble}"
                self.give_up(what, now)

    def give_up(self, failure: str, now: float) -> None:
        self.given_up_at = now
        self.failure = failure

    def hours(self, now: float) -> float:
        """How long it has read, or did until it was given up."""
        return ((self.given_up_at if self.failure else now) - self.added_at) / 3600


class Backends:
    """The pods of one run. `expects_more` says that others may still be added."""

    def __init__(self, clock: Callable[[], float], changed: threading.Condition) -> None:
        self.all: list[Backend] = []
        self.expects_more = False
        self._clock = clock
        self._changed = changed

    @property
    def failure(self) -> str:
        """Why no pod is left that reads pages; empty while one is, or may come."""
        if self.expects_more or not self.all:
            return ""
        failures = [one.failure for one in self.all]
        return failures[-1] if all(failures) else ""

    @property
    def spent(self) -> float:
        """USD that the pods have cost since they were added."""
        now = self._clock()
        return sum(one.pod.cost_per_hour * one.hours(now) for one in self.all)

    def add(self, pod: Pod, where: Access, pace: Pace, is_gone: Callable[[], bool]) -> None:
        """From now on this pod is asked for pages."""
        with self._changed:
            self.all.append(Backend(pod, where, pace, is_gone, self._clock()))
            self._changed.notify_all()

    @contextmanager
    def turn(self) -> Iterator[tuple[Backend | None, float]]:
        """A pod to ask for a page, waited for as long as it takes, and the moment.

        None if each is in trouble, or none is there: wait, and try again.
        """
        backend = self._take()
        try:
            yield backend, self._clock()
        finally:
            if backend:
                with self._changed:
                    backend.in_flight -= 1
                    self._changed.notify_all()

    def see_begin(self, backend: Backend, asked_at: float) -> None:
        """The pod begins to answer a question of this moment."""
        with self._changed:
            backend.trouble_since = None
            backend.pace.see_begin(asked_at, backend.in_flight)
            self._changed.notify_all()

    def see_trouble(self, backend: Backend, asked_at: float, trouble: str) -> None:
        """The pod gave no sensible answer to a question of this moment. May ask the API for it."""
        with self._changed:
            backend.see_trouble(asked_at, self._clock())
        backend.judge(trouble, self._clock())

    def _take(self) -> Backend | None:
        with self._changed:
            while True:
                there = [one for one in self.all if not one.failure]
                free = [one for one in there if one.has_room(self._clock())]
                if free:
                    chosen = min(free, key=lambda one: one.in_flight)
                    chosen.in_flight += 1
                    return chosen
                if all(one.trouble_since is not None for one in there):
                    return None
                self._changed.wait(RETRY_SECONDS)
