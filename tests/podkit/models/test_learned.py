"""What the fit learns from boots: the arithmetic, which boots count, and what is never believed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podkit.models.fit import Needs, fit
from podkit.models.learned import Boot, Learned, read_boot, read_boots

L40S = "NVIDIA L40S"
NEEDS = Needs(weights_gib=9.37, kv_bytes_per_token=57_344, max_len=16_384, utilization=0.90)


def line(day: int, kv_gib: float = 28.0, **memory: Any) -> str:
    """A line of boots.jsonl: 46,068 MiB x 0.90 = 40.489 GiB, of which the weights took 9.5."""
    told = {
        "gpu": L40S,
        "gpu_mib": 46_068,
        "vllm": "0.32.0",
        "flags": "f",
        "utilization": 0.9,
        "weights_gib": 9.5,
        "kv_gib": kv_gib,
        "kv_tokens": 524_288,
        **memory,
    }
    at = f"2026-11-{day:02}T10:00:00Z"
    return json.dumps({"at": at, "pod": f"p{day}", "model": "olmocr", "memory": told})


def learned(*lines: str, vllm: str = "0.32.1", flags: str = "f") -> Learned:
    return Learned(read_boots(lines), "olmocr", flags, vllm)


def test_the_overhead_is_what_weights_and_cache_leave_of_the_share() -> None:
    boot = read_boot(line(20, kv_gib=28.0))
    assert boot
    assert boot.overhead_gib == pytest.approx(46_068 / 1024 * 0.9 - 9.5 - 28.0, abs=0.001)


def test_a_boot_tells_where_its_model_came_from_and_how_fast() -> None:
    told = json.loads(line(20, load_seconds=20.0))
    told["source"] = {"name": "hf", "seconds": 30.0, "bytes": 10**10, "mb_per_s": 333.3}
    boot = read_boot(json.dumps(told))
    assert boot
    assert (boot.source, boot.fetch_mb_per_s, boot.load_mb_per_s) == ("hf", 333.3, 510.0)
    older = read_boot(line(20))
    assert older
    assert (older.source, older.load_mb_per_s) == ("", 0.0)


def test_three_boots_change_a_fit_by_their_median_and_it_says_so() -> None:
    overhead = learned(line(18, 28.0), line(20, 27.0), line(19, 20.0)).overhead(L40S)
    assert overhead
    assert overhead.gib == pytest.approx(40.489 - 9.5 - 27.0, abs=0.001)
    assert overhead.told == "measured 3x, last 2026-11-20"
    assumed = fit(NEEDS, 48)
    found = fit(NEEDS, 48, overhead)
    lost = (overhead.gib - 2.5) * 2**30 / NEEDS.kv_bytes_per_token
    assert assumed.kv_tokens - found.kv_tokens == pytest.approx(lost, abs=1)
    assert str(found) == "fits (16,384 tokens x 30, measured 3x, last 2026-11-20)"


def test_only_the_last_five_boots_count() -> None:
    old = [line(day, 10.0) for day in range(1, 10)]
    overhead = learned(*old, *[line(day, 28.0) for day in range(10, 15)]).overhead(L40S)
    assert overhead
    assert overhead.gib == pytest.approx(2.989, abs=0.001)
    assert overhead.told == "measured 5x, last 2026-11-14"


def test_boots_of_the_same_model_and_flags_count_before_any_other_of_that_gpu() -> None:
    lines = [line(1, 28.0), line(2, 20.0, flags="other")]
    same = learned(*lines).overhead(L40S)
    any_model = learned(*lines, flags="new").overhead(L40S)
    assert same
    assert any_model
    assert same.told == "measured 1x, last 2026-11-01"
    assert any_model.told == "measured 2x, last 2026-11-02"


@pytest.mark.parametrize(
    "others",
    [line(1, vllm="0.31.9"), line(1, vllm="1.32.0"), line(1, gpu="NVIDIA L40")],
    ids=["an older minor", "another major", "another GPU"],
)
def test_another_minor_version_or_gpu_teaches_nothing(others: str) -> None:
    assert learned(others).overhead(L40S) is None


@pytest.mark.parametrize(
    "garbage",
    [
        "",
        "podkit: learned {",
        "[]",
        '{"memory": 3}',
        '{"at": "2026", "pod": "p", "model": "m", "memory": {"gpu": "NVIDIA L40S"}}',
        line(1, kv_gib=99.0),
        line(1, gpu_mib="many"),
        line(1, kv_tokens=float("inf")),
        line(1, gpu_mib=10**400),
        "[" * 100_000,
    ],
    ids=range(10),
)
def test_a_line_that_cannot_be_is_ignored(garbage: str) -> None:
    assert read_boots([garbage, line(2)]) == read_boots([line(2)])


@given(st.text())
def test_no_line_of_text_is_an_error(text: str) -> None:
    read_boot(text)


def test_a_line_of_a_log_is_the_same_boot_as_that_of_the_volume() -> None:
    assert read_boots([line(3), f"podkit: learned {line(3)}"]) == read_boots([line(3)])


def test_a_gpu_that_was_too_small_is_refused_until_a_boot_there_worked() -> None:
    """Its overhead is at least what was left: with that one request of full length has no room."""
    small = line(4, overhead_at_least_gib=30.3)
    overhead = learned(small).overhead(L40S)
    assert overhead
    assert fit(NEEDS, 48, overhead).verdict == "no"
    assert overhead.told == "too small on 2026-11-04"
    assert learned(small, flags="new").overhead(L40S) is None  # no lesson for other flags
    worked = learned(small, line(5)).overhead(L40S)
    assert worked
    assert worked.told == "measured 1x, last 2026-11-05"


def test_tight_is_for_what_is_not_known() -> None:
    """9.37 GiB of weights on 24 GB: not sure with 9.5 GiB of overhead, sure with a measured one."""
    needs = Needs(9.86, 147_456, 16_384, 0.9)
    assert fit(needs, 24).verdict == "tight"
    measured = Learned([Boot("2026-11-20", "p", "m", "G", "0.32.0", "", 1.9)], "m", "", "0.32.0")
    assert fit(needs, 24, measured.overhead("G")).verdict == "fits"
