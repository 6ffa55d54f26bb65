"""One step of an export's README."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Step:
    """One step: what is typed, how to see that it worked, how to undo it, what it costs."""

    title: str
    typed: str
    check: str
    undo: str
    cost: str = "nothing"
    words: str = ""

    def text(self, number: int) -> str:
        lines = [f"## {number}. {self.title}", ""]
        if self.words:
            lines += [self.words, ""]
        lines += ["```", self.typed.strip(), "```", ""]
        lines += [f"- check: {self.check}", f"- undo: {self.undo}", f"- costs: {self.cost}", ""]
        return "\n".join(lines)
