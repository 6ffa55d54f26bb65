"""What `--pages` may be given, and the one text for the same pages."""

from __future__ import annotations

import pytest

from podkit.errors import UsageError
from podkit.ocr.page_range import parse_pages, short_pages


@pytest.mark.parametrize(
    ("typed", "pages", "short"),
    [
        ("3", (3,), "3"),
        ("3-7", (3, 4, 5, 6, 7), "3-7"),
        ("9, 3-5,4", (3, 4, 5, 9), "3-5,9"),
        ("2,1,3", (1, 2, 3), "1-3"),
    ],
)
def test_pages_are_read_once_each_and_in_order(
    typed: str, pages: tuple[int, ...], short: str
) -> None:
    assert parse_pages(typed) == pages
    assert short_pages(pages) == short


@pytest.mark.parametrize("typed", ["", "0", "-3", "3-", "a", "3 7", "1-9999999", "3,,4", "²"])
def test_what_names_no_pages_is_refused_with_an_example(typed: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_pages(typed)
    assert refused.value.hint == "example: --pages 3-7,9"


def test_a_range_backwards_is_refused_with_the_right_one() -> None:
    with pytest.raises(UsageError) as refused:
        parse_pages("7-3")
    assert refused.value.hint == "example: --pages 3-7"
