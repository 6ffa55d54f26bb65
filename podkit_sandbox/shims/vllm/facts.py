"""What a page's text says, as far as simple patterns find it: labels with values, numbers, dates,
rows.
"""

import re
from collections.abc import Iterator
from datetime import date
from typing import Any, Self

NUMBER = re.compile(
    r"[-\u2212]?\d{1,3}(?:[ \u00a0\u202f.,]\d{3})+(?:[.,]\d{1,2})?(?!\d)|[-\u2212]?\d+(?:[.,]\d+)?"
)
FORMATS = {
    "date": re.compile(r"\b\d{4}-\d{2}-\d{2}\b|\b\d{1,2}[./]\d{1,2}[./]\d{4}\b"),
    "date-time": re.compile(r"\b\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:Z|[+-]\d{2}:\d{2})"),
    "email": re.compile(r"\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+\b"),
    "uri": re.compile(r"\bhttps?://[^\s\"<>]+"),
    "ipv4": re.compile(r"\b(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)\b"),
}
TRUE = re.compile(r"\b(?:true|yes|oui|vrai|x)\b", re.IGNORECASE)
SEPARATOR = re.compile(r"^(?:[\s:=.]|[-\u2013\u2014](?!\d))+")


class Facts:
    """The facts of a page. `row` has them of one row of it, whose numbers and words are taken in
    their order.
    """

    def __init__(self, text: str, *, row: bool = False) -> None:
        self._lines = [line.strip() for line in text.splitlines() if line.strip()]
        self._row = row
        self._numbers: Iterator[str] = iter(NUMBER.findall(text) if row else [])

    def after(self, label: str) -> str:
        """What stands behind a label in its line; empty where it stands nowhere."""
        words = " ".join(words_of(label))
        if not words:
            return ""
        for line in self._lines:
            at = " ".join(line.replace("_", " ").split()).lower().find(words)
            if at >= 0:
                rest = " ".join(line.split())[at + len(words) :]
                return SEPARATOR.sub("", rest)
        return ""

    def text(self, label: str) -> str:
        """A text for a label: what stands behind it; of a row, what stands before its numbers; else
        the page.
        """
        found = self.after(label)
        if found or not self._lines:
            return found
        if self._row:
            line = self._lines[0]
            number = NUMBER.search(line)
            before = line[: number.start()].strip() if number else ""
            return before or line
        if "text" in words_of(label) or "content" in words_of(label):
            return "\n".join(self._lines)
        return self._lines[0] if "title" in words_of(label) else ""

    def number(self, label: str) -> float:
        """The number behind a label; of a row, the next one; else 0."""
        found = NUMBER.search(self.after(label))
        if found:
            return as_number(found[0])
        return as_number(next(self._numbers, "0"))

    def truth(self, label: str) -> bool:
        """Whether the page says yes behind a label."""
        return bool(TRUE.match(self.after(label)))

    def choice(self, label: str, options: list[Any]) -> Any:
        """The option that stands behind a label, else one that stands in the page, else
        the first.
        """
        for text in (self.after(label), "\n".join(self._lines)):
            for option in options:
                if isinstance(option, str) and option and option.lower() in text.lower():
                    return option
        return options[0]

    def of_format(self, name: str) -> str | None:
        """The first text of a format of JSON schema."""
        pattern = FORMATS.get(name)
        found = pattern.search("\n".join(self._lines)) if pattern else None
        if found is None:
            return None
        return as_date(found[0]) if name == "date" else found[0]

    def matching(self, pattern: str, label: str) -> str | None:
        """The first text that a pattern matches, if it still does when it stands alone."""
        inner = re.compile(pattern.removeprefix("^").removesuffix("$"))
        for text in (self.after(label), *self._lines):
            found = inner.search(text)
            if found and found[0] and re.search(pattern, found[0]):
                return found[0]
        return None

    def rows(self, numbers: int) -> list[Self]:
        """The rows of the page with at least so many numbers, each with facts of its own."""
        found = []
        for line in self._lines:
            if len(NUMBER.findall(line)) >= numbers:
                found.append(type(self)(line, row=True))
        return found


def words_of(label: str) -> list[str]:
    """The words of a property's name: `invoiceNumber`, `invoice_number` and `invoice-number` are
    the same.
    """
    spaced = re.sub(r"([a-z])([A-Z])", r"\1 \2", label)
    return re.split(r"[\s_\-]+", spaced.lower().strip())


def as_number(text: str) -> float:
    """The number that a text like `1 234,50`, `1,234.50` or `-7` means."""
    plain = re.sub(r"[ \u00a0\u202f]", "", text.replace("\u2212", "-"))
    last = max(plain.rfind("."), plain.rfind(","))
    decimals = len(plain) - last - 1
    separators = plain.count(".") + plain.count(",")
    thousands = decimals == 3 and separators > 1
    if last < 0 or thousands:
        number = float(re.sub(r"[.,]", "", plain))
    else:
        number = float(f"{re.sub(r'[.,]', '', plain[:last])}.{plain[last + 1 :]}")
    return int(number) if number.is_integer() else number


def as_date(text: str) -> str | None:
    """A date as JSON schema wants it: year, month, day; of `12/03/2027` the day comes first. None
    if it is none.
    """
    numbers = [int(part) for part in re.split(r"[-./]", text)]
    year_first = numbers if numbers[0] > 31 else numbers[::-1]
    try:
        return date(*year_first).isoformat()
    except ValueError:
        return None
