"""What refusals mean, one by one and after a round of them."""

from __future__ import annotations

import pytest

from podkit.errors import (
    BadHost,
    BadRequest,
    Forbidden,
    NoCapacity,
    NotPlaced,
    PodkitError,
    ServerFault,
)
from podkit.pods.placement import Candidate, Placement
from podkit.pods.refusals import Refusal, verdict
from tests.podkit.samples import NO_CAPACITY


def refused(detail: str) -> Refusal:
    return Refusal(Candidate("A"), BadRequest("400", status=400, detail=detail))


@pytest.mark.parametrize(
    "detail",
    [
        NO_CAPACITY,
        "There are no instances currently available",
        "This machine does not have the resources to deploy your pod."
        " Please try a different machine",
        "Something went wrong. Please try again later or contact support.",
    ],
)
def test_the_known_texts_mean_no_stock(detail: str) -> None:
    assert refused(detail).no_capacity
    assert refused(detail.upper()).no_capacity


@pytest.mark.parametrize("detail", ["", "volume is in another data center", "Something went wrong"])
def test_any_other_text_does_not(detail: str) -> None:
    assert not refused(detail).no_capacity


FULL = BadRequest("400", status=400, detail=NO_CAPACITY)
BROKEN = BadRequest("400", status=400, detail="mounts are not allowed")
BARRED = Forbidden("403", status=403, detail="no access")
BUSY = ServerFault("500", status=500)
DEAR = PodkitError("its pod costs $2.58/h, $0.86/h was quoted")


@pytest.mark.parametrize(
    ("answers", "kind", "code", "hint"),
    [
        ([FULL, FULL], NoCapacity, 75, "--wait-for-stock"),
        ([FULL, BROKEN], NoCapacity, 75, "--wait-for-stock"),
        ([FULL, BUSY], NoCapacity, 75, "--wait-for-stock"),
        ([FULL, BARRED], NotPlaced, 1, "no access to B"),
        ([BARRED], NotPlaced, 1, "no access to A"),
        ([BROKEN, BROKEN], NotPlaced, 1, "the request itself may be at fault"),
        ([BROKEN, BUSY], NotPlaced, 1, "read the reasons above"),
        ([DEAR, FULL], NoCapacity, 75, "--wait-for-stock"),
        ([DEAR], NotPlaced, 1, "read the reasons above"),
        ([], NotPlaced, 1, "the hint"),
    ],
)
def test_a_round_of_refusals_ends_with(
    answers: list[PodkitError], kind: type[PodkitError], code: int, hint: str
) -> None:
    refusals = [
        Refusal(Candidate(name), answer) for name, answer in zip("ABC", answers, strict=False)
    ]
    error = verdict(refusals, Placement((), [("D", "too dear")], "the hint"), "olmocr")
    assert type(error) is kind
    assert error.exit_code == code
    assert hint in error.hint
    assert all(refusal.candidate.gpu_type in error.message for refusal in refusals)


def test_what_was_no_answer_of_the_provider_is_said_beside_the_gpu_type() -> None:
    refusals = [
        Refusal(Candidate("A"), DEAR),
        Refusal(Candidate("B"), FULL),
        Refusal(Candidate("C"), BadHost("bad")),
    ]
    message = verdict(refusals, Placement(()), "olmocr").message
    assert (
        message
        == "no free GPU now: A (its pod costs $2.58/h, $0.86/h was quoted), B, C (bad) refused"
    )
