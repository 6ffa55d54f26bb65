"""What reaches a terminal."""

from __future__ import annotations

import pytest

from podkit.text import printable, stop_command


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, ключ, 漢字, é\n\tnext", "plain, ключ, 漢字, é\n\tnext"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("a\rb\x00\x7f", r"a\rb\x00\x7f"),
        ("\x9b31m", r"\x9b31m"),
        ("abc\u202edef", r"abc\u202edef"),
    ],
)
def test_control_characters_but_newline_and_tab_are_shown_as_escapes(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_the_command_that_ends_a_pod_works_as_it_is_printed() -> None:
    assert stop_command("abc123") == "./stop_pod.sh abc123"
    assert stop_command("abc123", "--terminate") == "./stop_pod.sh abc123 --terminate"
