"""How fast an endpoint answers: percentiles, rates and costs, of known times."""

from __future__ import annotations

from podkit.serverless.timing import Timed, Timings, cost_per_thousand, percentile


def test_a_percentile_is_a_value_that_was_measured() -> None:
    values = [float(number) for number in range(1, 101)]
    assert (percentile(values, 50), percentile(values, 95)) == (50, 95)
    assert percentile([7.0], 95) == 7
    assert percentile([], 50) == 0


def test_the_cost_is_that_of_the_workers_over_the_whole_time() -> None:
    timings = Timings([Timed(10, 100, 200)] * 40, [], 20.0)
    assert timings.jobs_per_second == 2
    assert round(cost_per_thousand(timings, 0.36, 2), 4) == 0.1
    assert cost_per_thousand(Timings([], ["no"], 20.0), 0.36, 2) == 0
