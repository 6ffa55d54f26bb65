"""How many pages are asked for at once, against pods of every speed, on a clock."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from podkit.ocr.pace import FIRST_AT_ONCE, SLOW_SECONDS, Pace
from tests.podkit.ocr.answers import Clock

MOST = 40


@dataclass
class Pod:
    """Begins its answers one after another, each `seconds` after the one before, while as many
    are asked as `pace` lets; `waits` has how long each waited.
    """

    seconds: float
    clock: Clock = field(default_factory=Clock)
    waits: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.pace = Pace(MOST, self.clock)
        self._asked: list[float] = []

    def answer(self, pages: int, *, is_in_trouble: bool = False) -> None:
        for _ in range(pages):
            while len(self._asked) < self.pace.at_once:
                self._asked.append(self.clock.now)
            self.clock.sleep(self.seconds)
            asked_at = self._asked[0]
            self.waits.append(self.clock.now - asked_at)
            if is_in_trouble:
                self.pace.see_trouble(asked_at)
            else:
                self.pace.see_begin(asked_at, len(self._asked))
            self._asked.pop(0)


def test_a_fast_pod_is_soon_asked_for_as_many_pages_as_are_wished() -> None:
    pod = Pod(seconds=0.1)
    pod.answer(MOST)
    assert pod.pace.at_once == MOST
    pod.answer(500)
    assert pod.pace.at_once == MOST


@pytest.mark.parametrize("seconds", [2.0, 5.0, 9.0])
def test_a_slow_pod_is_asked_for_as_many_as_begin_in_time(seconds: float) -> None:
    pod = Pod(seconds)
    pod.answer(300)
    late = [wait for wait in pod.waits[100:] if wait > SLOW_SECONDS + 2 * seconds]
    assert late == []
    assert sum(pod.waits[100:]) / 200 > SLOW_SECONDS / 3  # it is not left idle either
    assert max(pod.waits) < 100  # what the provider's proxy allows


def test_even_the_slowest_pod_is_asked_for_one_page() -> None:
    pod = Pod(seconds=60.0)
    pod.answer(20)
    assert pod.pace.at_once == 1


def test_a_pod_that_was_slow_for_a_while_gets_more_again() -> None:
    pod = Pod(seconds=0.1)
    pod.answer(100)
    pod.seconds = 30.0
    pod.answer(120)
    assert pod.pace.at_once == 1
    pod.seconds = 0.1
    pod.answer(2000)
    assert pod.pace.at_once == MOST


def test_trouble_halves_once_for_all_that_were_asked_before() -> None:
    pod = Pod(seconds=0.1)
    pod.answer(100)
    pod.answer(MOST, is_in_trouble=True)
    assert pod.pace.at_once == MOST // 2


def test_turns_that_nobody_needs_add_none() -> None:
    clock = Clock()
    pace = Pace(MOST, clock)
    for _ in range(50):
        pace.see_begin(clock.now, 1)
    assert pace.at_once == FIRST_AT_ONCE


def test_a_wish_for_one_page_at_once_is_kept() -> None:
    clock = Clock()
    pace = Pace(1, clock)
    for _ in range(5):
        pace.see_begin(clock.now, 1)
    assert pace.at_once == 1
