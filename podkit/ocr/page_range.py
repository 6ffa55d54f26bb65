"""Which pages of a PDF are meant by `3-7,9`, and how that is written. Pure."""

from __future__ import annotations

import re

from podkit.errors import UsageError

RANGE = re.compile(r"([1-9]\d{0,5})(?:-([1-9]\d{0,5}))?", re.ASCII)
"""A page, or the first and the last of several."""


def parse_pages(text: str) -> tuple[int, ...]:
    """The pages that `text` names, each once, in the PDF's order. Raises UsageError."""
    pages: set[int] = set()
    for part in text.split(","):
        match = RANGE.fullmatch(part.strip())
        if not match:
            raise UsageError(f"--pages is {text!r}", "example: --pages 3-7,9")
        first = int(match[1])
        last = int(match[2] or first)
        if last < first:
            raise UsageError(f"--pages has {part.strip()}", f"example: --pages {last}-{first}")
        pages.update(range(first, last + 1))
    return tuple(sorted(pages))


def short_pages(pages: tuple[int, ...]) -> str:
    """`3-7,9`: one text for the same pages, however they were typed."""
    spans: list[list[int]] = []
    for page in pages:
        if spans and page == spans[-1][1] + 1:
            spans[-1][1] = page
        else:
            spans.append([page, page])
    texts = []
    for first, last in spans:
        texts.append(str(first) if first == last else f"{first}-{last}")
    return ",".join(texts)
