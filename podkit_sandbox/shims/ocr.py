"""Reads an image's words in reading order, on the CPU, for the stand-in model server."""

import base64
import threading
from collections import namedtuple
from typing import Any

from rapidocr import RapidOCR

Line = namedtuple("Line", "left right middle height text")  # in pixels
# use_cls takes upright lines of a JPEG for inverted ones and loses them; a batch of 1 saves time and 100 MiB
_engine: Any = RapidOCR(
    params={"Global.log_level": "critical", "Global.use_cls": False, "Rec.rec_batch_num": 1}
)
_one_at_a_time = threading.Lock()


def read(url: str) -> str:
    """The text of the image in a base64 `data:` URL, one row a line. Raises ValueError if it is no such image."""
    try:
        with _one_at_a_time:
            found = _engine(base64.b64decode(url.partition(";base64,")[2]))
    except OSError as error:
        raise ValueError(
            "Failed to load image: the sandbox takes base64 data: URLs only"
        ) from error
    lines = []
    for box, text in zip(found.boxes, found.txts, strict=True) if found.txts else ():
        (left, top), (right, bottom) = box.min(axis=0), box.max(axis=0)
        lines.append(Line(left, right, (top + bottom) / 2, bottom - top, text))
    return "\n".join(rows(lines, found.img.shape[1] / 2)) if lines else ""


def rows(lines: list[Line], centre: float) -> list[str]:
    """The rows from the top down; between lines that cross the centre, of two columns the left one first."""
    crossing = [line for line in lines if line.left < centre < line.right]
    wide = [line for line in lines if line.right - line.left > centre / 2 and line not in crossing]
    lefts = sum(line.left < centre for line in wide)
    two_columns = min(lefts, len(wide) - lefts) > 3  # else it is a table

    def place(line: Line) -> tuple[int, int]:
        column = 2 if line in crossing else int(line.left > centre)
        return (
            (sum(other.middle < line.middle for other in crossing), column)
            if two_columns
            else (0, 0)
        )

    found: list[list[Line]] = []
    for line in sorted(lines, key=lambda line: (place(line), line.middle)):
        first = found[-1][0] if found else None
        if first and place(first) == place(line) and line.middle - first.middle <= first.height / 2:
            found[-1].append(line)
        else:
            found.append([line])
    return [" ".join(line.text for line in sorted(row)) for row in found]
