"""Texts as they are shown: others' words made harmless, and the commands that messages name."""

from __future__ import annotations

import os
import re
import textwrap

NARROW = 80
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""Control characters but newline and tab, and those that turn the direction of text around."""

COMMAND_TEXT = re.compile(r"\./\w+\.sh(?: [^\s;,()]+)*")
"""A command and its options in a message: it is pasted, so it stays on one line."""
NO_BREAK = "\xa0"


def printable(text: str) -> str:
    r"""`text` with control characters shown as escapes, such as \x1b, so that none reaches a
    terminal.

    A terminal obeys them: they set its title, its clipboard, or hide what follows.
    """
    return CONTROL.sub(_escape, text)


def clip(text: str, width: int) -> str:
    """`text` without what could steer a terminal, cut where it is longer than `width`."""
    shown = printable(text)
    return shown if len(shown) <= width else f"{shown[: width - 1]}…"


def fold(text: str, width: int = NARROW) -> str:
    """`text` with each line longer than `width` as several, all but the first indented.

    They are broken behind a semicolon where that does, and a command stays whole.
    """
    lines: list[str] = []
    for line in text.split("\n"):
        if len(line) <= width:
            lines.append(line)
            continue
        indent = line[: len(line) - len(line.lstrip(" "))] + "    "
        kept = COMMAND_TEXT.sub(lambda match: match[0].replace(" ", NO_BREAK), line)
        for clause in _clauses(kept, width, indent):
            for fold in _wrap(clause, width, indent):
                lines.append(fold.replace(NO_BREAK, " "))
    return "\n".join(lines)


def _clauses(line: str, width: int, indent: str) -> list[str]:
    """The line as pieces that end with a semicolon, as many on one as have room."""
    first, *others = line.split("; ")
    pieces = [first]
    for clause in others:
        if len(pieces[-1]) + len(clause) + 3 <= width:
            pieces[-1] += f"; {clause}"
        else:
            pieces[-1] += ";"
            pieces.append(indent + clause)
    return pieces


def _wrap(line: str, width: int, indent: str) -> list[str]:
    return textwrap.wrap(
        line,
        width,
        subsequent_indent=indent,
        expand_tabs=False,
        replace_whitespace=False,
        break_long_words=False,
        break_on_hyphens=False,
    )


def width_of_terminal(descriptor: int) -> int:
    """Its columns; 80 where it does not say."""
    try:
        return os.get_terminal_size(descriptor).columns or NARROW
    except OSError:
        return NARROW


def stop_command(pod_id: str, *options: str) -> str:
    """The command that ends a pod, as it works when typed."""
    return " ".join(["./stop_pod.sh", pod_id, *options])


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode("ascii")
