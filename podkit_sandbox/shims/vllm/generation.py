"""From a text to what a model would have sent of it: tokens, stop strings and the limit."""

import re
import zlib
from dataclasses import dataclass

TOKEN = re.compile(r"\s?\w{1,5}|\s?[^\w\s]{1,3}|\s")
"""A token is up to five letters with the white space before them: about as many as a model's own of
French text.
"""
VOCABULARY = 151_643
"""The number of different tokens, as in Qwen's vocabulary."""


def tokens_of(text: str) -> list[str]:
    """The pieces of a text, in order; together they are the text."""
    return TOKEN.findall(text)


def token_id(token: str) -> int:
    """A number for a token: the same one each time, and no secret of which text it was."""
    return zlib.crc32(token.encode("utf-8", "replace")) % VOCABULARY


@dataclass(frozen=True)
class Generated:
    """What was generated, and why it ended: `stop`, with the string that it met, or `length`.

    `echo` is the prompt where that was to be repeated first.
    """

    tokens: list[str]
    finish_reason: str
    stop_reason: str | None = None
    echo: str = ""

    @property
    def text(self) -> str:
        return self.echo + "".join(self.tokens)


def generate(text: str, limit: int, stops: list[str], *, include_stop: bool) -> Generated:
    """The text up to the first stop string, or up to `limit` tokens if they come first."""
    met = [(text.find(stop), stop) for stop in stops if stop in text]
    stop_reason = None
    if met:
        at, stop_reason = min(met)
        text = text[: at + len(stop_reason)] if include_stop else text[:at]
    tokens = tokens_of(text)
    if len(tokens) > limit:
        return Generated(tokens[:limit], "length")
    return Generated(tokens, "stop", stop_reason)
