"""The logs of all workers as one: who is followed, for how long, and which lines are meant."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from podkit.errors import ServerFault
from podkit.runpod.logs import LogLine
from podkit.serverless import worker_logs
from podkit.serverless.worker_logs import Wanted, WorkerLine, follow_lines


@dataclass(frozen=True)
class Row:
    id: str


@dataclass
class Account:
    """Its workers by the second, of which one look fails."""

    now: int = 0
    looks: list[int] = field(default_factory=list)

    def list_workers(self, _: str) -> list[Row]:
        self.looks.append(self.now)
        if self.now == 5:
            raise ServerFault("once")
        rows = [Row("first")] if self.now < 20 else []
        return rows + ([Row("second")] if self.now >= 10 else [])

    def sleep(self, seconds: float) -> None:
        self.now += round(seconds)
        if self.now > 200:
            raise KeyboardInterrupt


class Follower:
    """One that is told a line when it begins, and one each second until it is closed."""

    made: list[Follower]

    def __init__(self, _open_log: Any, _sleep: Callable[[float], None]) -> None:
        self.is_closed = False
        self.made.append(self)

    def lines(self) -> list[LogLine]:
        return [LogLine("2026-11-21T12:00:00Z", "container", '{"requestId": "j1"}', "1")]

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture
def followers(monkeypatch: pytest.MonkeyPatch) -> list[Follower]:
    Follower.made = []
    monkeypatch.setattr(worker_logs, "LogFollower", Follower)
    return Follower.made


def followed(account: Account, wanted: Wanted) -> list[WorkerLine]:
    found: list[WorkerLine] = []
    with pytest.raises(KeyboardInterrupt):
        found += follow_lines(account, "ep1", wanted, account.sleep)  # type: ignore[arg-type]
    return found


def test_workers_that_come_later_are_followed_and_those_long_gone_are_let_go(
    followers: list[Follower],
) -> None:
    account = Account()
    lines = followed(account, Wanted())
    assert len(followers) == 2
    assert all(follower.is_closed for follower in followers)
    assert account.looks[:4] == [0, 5, 10, 15]
    counts = [[line.worker_id for line in lines].count(name) for name in ("first", "second")]
    assert counts[1] > counts[0] > 120


def test_only_the_lines_of_one_worker_or_about_one_job_are_given(
    followers: list[Follower],
) -> None:
    lines = followed(Account(), Wanted(worker_id="w7"))
    assert {line.worker_id for line in lines} == {"w7"}
    assert len(followers) == 1
    assert followed(Account(), Wanted(job_id="other")) == []
