"""`chat`: a question to a pod's model, or a conversation with it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from podkit.commands.app import App
from podkit.commands.options import POD_OPTION, command
from podkit.commands.result import Result
from podkit.errors import UsageError

STDIN = Path("-")


@dataclass(frozen=True)
class Answered:
    """The model's answer; people have seen it as it was written."""

    model: str
    answer: str

    def text(self) -> str:
        return ""

    def fields(self) -> Mapping[str, Any]:
        return {"model": self.model, "answer": self.answer}


@command("chat", json=True)
@click.argument("question", default="-")
@click.argument("images", nargs=-1, metavar="[IMAGE]...", type=click.Path(path_type=Path))
@click.option("--continue", "goes_on", is_flag=True, help="Go on with the last conversation.")
@POD_OPTION
def chat(
    app: App,
    question: str,
    images: tuple[Path, ...],
    goes_on: bool,
    pod_id: str,
) -> Result:
    """Ask a pod's model a question, with images if you like; the answer appears as it is written.

    A - stands for the text on standard input, in place of the question or after it.

    \b
    Examples:
      ./chat.sh "Who are you?"
      ./chat.sh --continue "And the tax?"
      ./chat.sh "What is the total on this invoice?" invoice.png
      ./chat.sh "Translate into French:" - < letter.txt
    """
    from podkit.pods.chat import Conversation, answer_to, message

    text = _with_stdin(question, images)
    asked = message(text, [one for one in images if one != STDIN])
    where = app.reach(pod_id)
    conversation = Conversation(app.root / ".podkit/conversation.json")
    messages = [*conversation.messages(), asked] if goes_on else [asked]
    said = ""
    for piece in answer_to(app.session(), where, messages):
        said += piece
        app.show_piece(piece)
    app.show_line("")
    conversation.keep([*messages, {"role": "assistant", "content": said}])
    return Answered(where.model, said)


def _with_stdin(question: str, images: tuple[Path, ...]) -> str:
    """The question, with what stands on standard input where a - stands for it."""
    if question != str(STDIN) and STDIN not in images:
        return question
    text = ""
    if not sys.stdin.isatty():
        text = sys.stdin.buffer.read().decode("utf-8", "replace")
    if not text.strip():
        raise UsageError("there is no question", './chat.sh "Who are you?"')
    if question == str(STDIN):
        return text
    return f"{question}\n\n{text}"
