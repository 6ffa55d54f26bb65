"""What reaches a terminal."""

from __future__ import annotations

import pytest

from podkit.text import fold, printable, stop_command


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


def test_a_long_line_is_folded_and_a_command_stays_whole() -> None:
    told = "pod 4527b989d3ba47 goes on at $0.86/h and ends itself at 06:32 (in 12 h); end it now: "
    assert fold(f"short\n  {told}./stop_pod.sh --sandbox 4527b989d3ba47 (or wait)") == (
        "short\n"
        "  pod 4527b989d3ba47 goes on at $0.86/h and ends itself at 06:32 (in 12 h);\n"
        "      end it now: ./stop_pod.sh --sandbox 4527b989d3ba47 (or wait)"
    )
    command = f"./podkit.sh logs --sandbox {'4' * 70}"
    assert fold(f"next: {command}; then again") == f"next:\n    {command};\n    then again"


def test_what_fits_is_left_as_it_is() -> None:
    text = "    ./deploy_olmocr.sh --gpu X   # $0.72/h\n\n\tend"
    assert fold(text) == text
