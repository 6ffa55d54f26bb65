"""Reads an image's words in reading order, on the CPU, for the stand-in model server.

RapidOCR and its models are loaded by the first image, or by `engine()`, never by importing this module.
"""

import base64
import threading
from functools import cache
from statistics import median
from typing import Any, NamedTuple

_one_at_a_time = threading.Lock()


class Line(NamedTuple):
    """A run of text and its upright box, in pixels; sorts from the top down."""

    middle: float
    height: float
    left: float
    right: float
    text: str


@cache
def engine() -> Any:
    """The OCR engine, on two threads and silent; kept once loaded."""
    from rapidocr import RapidOCR

    params = {"Global.log_level": "critical", "EngineConfig.onnxruntime.intra_op_num_threads": 2}
    params["Global.use_cls"] = False  # it takes upright lines of a JPEG for inverted ones, and loses them
    params["Rec.rec_batch_num"] = 1  # a third faster on two cores, and less memory
    return RapidOCR(params=params)


def decode(url: str) -> Any:
    """The pixels, height x width x 3, of a base64 `data:` URL. Raises ValueError if it is no such image."""
    import cv2
    import numpy

    scheme, _, data = url.partition(";base64,")
    if not scheme.startswith("data:"):
        raise ValueError("the sandbox takes images as base64 data: URLs only")
    pixels = cv2.imdecode(numpy.frombuffer(base64.b64decode(data) or b"-", numpy.uint8), cv2.IMREAD_COLOR)
    if pixels is None:
        raise ValueError("cannot identify image file")
    return pixels


def read(pixels: Any) -> str:
    """The image's text, one row a line; empty if there is none."""
    with _one_at_a_time:
        found = engine()(pixels)
    lines = []
    for text, box in zip(found.txts or (), () if found.boxes is None else found.boxes.tolist(), strict=True):
        (left, right), (top, bottom) = ((min(axis), max(axis)) for axis in zip(*box, strict=True))
        lines.append(Line((top + bottom) / 2, bottom - top, left, right, text))
    return "\n".join(reading_order(lines, pixels.shape[1]))


def reading_order(lines: list[Line], width: float) -> list[str]:
    """The rows of a page `width` pixels wide, from the top down; of two columns, the left one first."""
    centre = [width * n / 20 for n in range(7, 14)]
    gutter = min(centre, key=lambda x: sum(line.left < x < line.right for line in lines))
    ordered: list[list[Line]] = []
    band: list[list[Line]] = []
    for row in _rows(lines):
        if any(line.left < gutter < line.right for line in row):
            ordered += [*_columns(band, gutter, width), row]
            band = []
        else:
            band.append(row)
    ordered += _columns(band, gutter, width)
    return [" ".join(line.text for line in row) for row in ordered]


def _rows(lines: list[Line]) -> list[list[Line]]:
    rows: list[list[Line]] = []
    for line in sorted(lines):
        if not rows or line.middle - rows[-1][0].middle > rows[-1][0].height / 2:
            rows.append([])
        rows[-1].append(line)
    return [sorted(row, key=lambda line: line.left) for row in rows]


def _columns(band: list[list[Line]], gutter: float, width: float) -> list[list[Line]]:
    """Rows that nothing crosses: running text column by column, anything else (a table) row by row."""
    sides = [[line for row in band for line in row if (line.left < gutter) is left] for left in (True, False)]
    if all(len(side) > 3 and median(line.right - line.left for line in side) > width / 4 for side in sides):
        return [row for side in sides for row in _rows(side)]
    return band
