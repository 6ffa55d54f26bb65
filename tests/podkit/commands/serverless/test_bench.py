"""`serverless bench`: what many jobs take and cost, and jobs without output."""

from __future__ import annotations

from typing import Any

from tests.podkit.commands.desk import failed
from tests.podkit.commands.serverless.shop import Shop


def test_many_jobs_are_sent_and_their_times_and_costs_shown(shop: Shop) -> None:
    shop.cloud.make()
    told = shop.done("bench", "--jobs", "5", "--at-once", "1", "--json").json
    assert (told["done"], told["failed"], told["at_once"]) == (5, [], 1)
    assert told["milliseconds"]["total"]["p95"] >= told["milliseconds"]["total"]["p50"] > 0
    assert told["cost_per_1000"] > 0
    assert told["first_seconds"] > 0
    shown = shop.done("bench", "--jobs", "2").out
    assert "2 jobs, 8 at once" in shown
    assert "1,000 such jobs: $" in shown


def test_jobs_without_output_fail_it_and_are_counted(shop: Shop) -> None:
    shop.cloud.make()
    answered: list[Any] = []

    def every_second(given: Any) -> Any:
        answered.append(given)
        return {"output": 1} if len(answered) % 2 else {"error": "no"}

    shop.cloud.answers = every_second
    ended = failed(shop.run, 1, "serverless", "bench", "--jobs", "4", "--at-once", "1", "--json")
    assert len(ended.json["failed"]) == 2
    assert "2 of 4 jobs have no output" in ended.err
