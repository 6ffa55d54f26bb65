"""What reading takes and costs on several pods, and the rates that the plan rests on."""

from __future__ import annotations

from pathlib import Path

import pytest

from podkit.ocr.backends import Backend
from podkit.ocr.pace import Pace
from podkit.ocr.plan import RENDERED_PER_CORE, plan_reading
from podkit.ocr.rates import Rates
from podkit.pods.placement import Candidate
from tests.podkit.ocr.answers import ACCESS, Clock
from tests.podkit.samples import pod

L40S = Candidate("NVIDIA L40S", 0.86)
TABLE = """\
PODS  TIME      COST
1     10 h 10   $8.74
2     5 h 10    $8.89
4     2 h 40    $9.17
8     1 h 25    $9.75     above the budget of $9.50
6000 pages on NVIDIA L40S, $0.86/h, 10 pages a minute here before
  a boot takes 10 minutes (measured)"""
"""By hand: a boot of 1/6 h, then 6000 pages at 600 an hour and pod; pods x 0.86 x time."""


def read_by(answers: int, hours: float) -> Backend:
    """A pod that has given so many answers within so many hours."""
    clock = Clock()
    one = Backend(pod(), ACCESS, Pace(4, clock), lambda: False, added_at=0.0)
    one.pages = answers
    one.give_up("it ended", hours * 3600)
    return one


@pytest.fixture
def rates(tmp_path: Path) -> Rates:
    return Rates(tmp_path / "rates.json")


def test_the_plan_is_a_row_for_each_number_of_pods(rates: Rates) -> None:
    rates.note_boot(600.0)
    rates.note_answers([read_by(600, 1.0)], 0.0)
    assert plan_reading(6000, L40S, rates, 16, 9.5).text() == TABLE


def test_pods_that_read_faster_than_this_machine_renders_are_said(rates: Rates) -> None:
    rates.note_boot(0.0)
    rates.note_answers([read_by(3600, 1.0)], 0.0)
    cores = 2
    plan = plan_reading(36_000, L40S, rates, cores, None)
    renders = cores * RENDERED_PER_CORE
    for row in plan.rows:
        wished = row.pods * 3600
        assert row.is_rendering_bound == (wished > renders)
        assert row.hours == pytest.approx(36_000 / min(wished, renders))
    assert "this machine renders no faster" in plan.text()


def test_a_rate_that_nobody_measured_is_unknown_and_the_plan_says_what_measures_it(
    rates: Rates,
) -> None:
    plan = plan_reading(100, L40S, rates, 4, None)
    assert [(row.hours, row.cost) for row in plan.rows] == [(None, None)] * 4
    assert "1     unknown   unknown" in plan.text()
    assert "./ocr_pdfs.sh FILE.pdf --pages 1-20 --deploy measures it" in plan.text()


def test_the_last_five_rates_of_a_gpu_type_count_and_a_short_run_does_not(rates: Rates) -> None:
    rates.note_answers([read_by(19, 0.001)], 0.0)
    assert rates.pages_per_hour("NVIDIA L40S") is None
    for answers in (9000, 100, 200, 300, 400, 500):
        rates.note_answers([read_by(answers, 1.0)], 0.0)
    assert rates.pages_per_hour("NVIDIA L40S") == 300.0
    assert rates.pages_per_hour("NVIDIA A40") is None


def test_a_file_that_cannot_be_read_is_as_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "rates.json").write_text('{"NVIDIA L40S": 3')
    rates = Rates(tmp_path / "rates.json")
    assert rates.pages_per_hour("NVIDIA L40S") is None
    rates.note_boot(60.0)
    assert rates.boot_seconds() == 60.0
