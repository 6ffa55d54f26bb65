"""Draws docs/terminal.svg: the terminal in the middle of a real `./deploy_olmocr.sh --sandbox`.

Run it as: .venv/bin/python docs/draw_terminal.py. It ends this checkout's sandbox and its pods
before and after.
"""

from __future__ import annotations

import os
import pty
import re
import subprocess
import termios
from pathlib import Path

import pyte
from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).resolve().parent.parent
ROWS, COLUMNS = 14, 100
COLOURS = {"default": "", "brown": "yellow"}
"""Names that pyte and rich do not share."""


def drawn(screen: pyte.Screen) -> Text:
    """The screen's rows with their colours, without the empty ones at its end."""
    text = Text()
    for row in range(ROWS):
        for column in range(COLUMNS):
            cell = screen.buffer[row][column]
            colour = COLOURS.get(
                cell.fg, f"#{cell.fg}" if re.fullmatch("[0-9a-f]{6}", cell.fg) else cell.fg
            )
            text.append(cell.data, f"{'bold ' if cell.bold else ''}{colour}".strip() or None)
        text.append("\n")
    text.rstrip()
    return text


def half_fetched() -> Text:
    """The terminal while the model is being fetched."""
    screen = pyte.Screen(COLUMNS, ROWS)
    stream = pyte.ByteStream(screen)
    master, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (ROWS, COLUMNS))
    env = {**os.environ, "TERM": "xterm-256color", "PODKIT_SANDBOX_HF_SECONDS": "12"}
    env.pop("NO_COLOR", None)
    stream.feed(b"$ ./deploy_olmocr.sh --sandbox\r\n")
    with subprocess.Popen(
        [ROOT / "deploy_olmocr.sh", "--sandbox"],
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=terminal,
    ) as child:
        os.close(terminal)
        while not any(re.search(r"[4-9]\.\d of 9", row) for row in screen.display):
            stream.feed(os.read(master, 4096))
        child.terminate()
        while True:  # a terminal that nobody reads would hold the program up
            try:
                os.read(master, 4096)
            except OSError:
                return drawn(screen)


def main() -> None:
    stop = [ROOT / "podkit.sh", "sandbox", "stop"]
    subprocess.run(stop, check=True)
    for volume in (ROOT / ".podkit/sandbox/volumes").glob("*/hf_cache/*"):
        for file in volume.iterdir():  # so that the model has to be fetched
            file.unlink()
        volume.rmdir()
    console = Console(record=True, width=COLUMNS, file=open(os.devnull, "w"), force_terminal=True)  # noqa: SIM115
    console.print(half_fetched())
    svg = console.export_svg(title="podkit")
    svg = re.sub(
        r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL
    )  # fonts of another site; there are others
    (ROOT / "docs/terminal.svg").write_text(svg, encoding="utf-8")
    subprocess.run(stop, check=True)


if __name__ == "__main__":
    main()
