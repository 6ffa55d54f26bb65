"""`chat`: one question to a pod's model."""

from __future__ import annotations

from pathlib import Path

import click

from podkit.commands.app import App
from podkit.commands.options import POD_OPTION, command


@command("chat")
@click.argument("question")
@click.argument("images", nargs=-1, metavar="[IMAGE]...", type=click.Path(path_type=Path))
@POD_OPTION
def chat(app: App, question: str, images: tuple[Path, ...], pod_id: str) -> None:
    """Ask a pod's model a question, with images if you like; the answer appears as it is written.

    \b
    Examples:
      ./chat.sh "Who are you?"
      ./chat.sh "What is the total on this invoice?" invoice.png
    """
    from podkit.pods.chat import answer

    where = app.ready_access(pod_id)
    for piece in answer(app.session(), where, question, images):
        app.show_piece(piece)
    app.show_line("")
