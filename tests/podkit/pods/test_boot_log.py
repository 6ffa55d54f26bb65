"""What each kind of line in a pod's log is taken to say."""

from __future__ import annotations

import pytest

from podkit.pods.boot_log import (
    Event,
    Fatal,
    Fetched,
    PhaseBegan,
    PhaseEnded,
    VolumeUsed,
    is_failed_pull,
    is_pull,
    parse_line,
)


@pytest.mark.parametrize(
    ("text", "event"),
    [
        ("podkit: phase=check event=start t=0.4", PhaseBegan("check", 0.4)),
        ("12:00 podkit: phase=warm-up event=done t=124", PhaseEnded("warm-up", 124.0)),
        ("podkit: phase=load event=failed t=9.5", PhaseEnded("load", 9.5)),
        ("podkit: phase=fetch event=progress t=14 bytes=5 total=9", Fetched(14.0, 5, 9)),
        ("podkit: phase=fetch event=progress t=14", Fetched(14.0, 0, 0)),
        (
            "podkit: fatal step=load reason=no memory fix=a larger GPU",
            Fatal("load", "no memory", "a larger GPU"),
        ),
        ("podkit: fatal step=load reason=no memory", Fatal("load", "no memory", "")),
        ("podkit: volume used_gib=12.5", VolumeUsed(12.5)),
        ("podkit: phase=check event=start t=1.2.3", PhaseBegan("check", 1.2)),
        ("podkit: phase=check event=start t=.", None),
        ("podkit: volume used_gib=..", None),
        ("podkit: something new", None),
        ("INFO: Application startup complete", None),
        ("", None),
    ],
)
def test_a_line_of_podkits_own_is_an_event_and_no_other_is(text: str, event: Event | None) -> None:
    assert parse_line(text) == event


@pytest.mark.parametrize(
    ("text", "pull", "failed"),
    [
        ("pulling image: 200 MB", True, False),
        ("Downloading layer 3/9", True, False),
        ("a1b2 Extracting [==>  ]", True, False),
        ("Pull complete", True, False),
        ("error pulling image: unauthorized", False, True),
        ("Failed to pull image", False, True),
        ("pull access denied for x", False, True),
        ("create container", False, False),
    ],
)
def test_a_line_that_says_that_a_pull_failed_is_no_sign_of_pulling(
    text: str, pull: bool, failed: bool
) -> None:
    assert is_pull(text) == pull
    assert is_failed_pull(text) == failed
