"""Texts as they are shown: others' words made harmless, and the commands that messages name."""

from __future__ import annotations

import re

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""Control characters but newline and tab, and those that turn the direction of text around."""


def printable(text: str) -> str:
    r"""`text` with control characters shown as escapes, such as \x1b, so that none reaches a
    terminal.

    A terminal obeys them: they set its title, its clipboard, or hide what follows.
    """
    return CONTROL.sub(_escape, text)


def clipped(text: str, width: int) -> str:
    """`text` without what could steer a terminal, cut where it is longer than `width`."""
    shown = printable(text)
    return shown if len(shown) <= width else f"{shown[: width - 1]}…"


def stop_command(pod_id: str, *options: str) -> str:
    """The command that ends a pod, as it works when typed."""
    return " ".join(["./stop_pod.sh", pod_id, *options])


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode("ascii")
