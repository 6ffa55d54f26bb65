"""Reads the words of images in reading order, on the CPU: a process of its own, so that its memory
can be given back.

It takes images on stdin and answers on stdout, each with its length before it, until stdin ends. It
must never hold more memory than the two processes that a pod may run have a right to together: 1.5
GB, whatever image comes.
"""

import os
import struct
import sys
from functools import cache
from io import BytesIO
from typing import IO, Any, NamedTuple

import psutil
from PIL import Image, ImageOps
from PIL.ImageFile import ImageFile

MOST_DECODED = 220_000_000
"""Bytes: an image that takes more to decode is refused."""
PNG_BYTES = {"L": 1, "1": 2, "RGB": 4}
"""Bytes a pixel, by the mode of a PNG; of the rest 8, as it is copied once."""
READ_PIXELS = 1_660_000
"""What is looked at, as much as olmOCR looks at; memory grows by about 170 MiB with each million
(rapidocr 3.10.0).
"""
LONGEST = 3
"""How many times longer than wide the image that is looked at may be: a narrow one would be made
many times larger.
"""
LONGEST_SIDE = int((READ_PIXELS * LONGEST) ** 0.5)
SMALLEST_SIDE = 64
REPLACED_MIB = 450
"""A process that has kept more memory than this after a page ends, and another takes its place."""
FRAME = struct.Struct("!?I")
"""Before each answer: whether the image could be read, and the bytes of the text or of the reason
why not.
"""
LENGTH = struct.Struct("!I")
"""Before each image: its bytes."""


class Line(NamedTuple):
    """A line of text and where it stands, in pixels."""

    left: float
    right: float
    middle: float
    height: float
    text: str


@cache
def engine() -> Any:
    """The OCR engine with its models, loaded at the first image (about a second)."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # else onnxruntime calls its maker, since 1.29
    from rapidocr import RapidOCR

    settings = {
        "Global.log_level": "critical",
        "Global.use_cls": False,  # it takes upright lines of a JPEG for inverted ones
        "Rec.rec_batch_num": 1,  # saves time and 100 MiB
        "EngineConfig.onnxruntime.intra_op_num_threads": 1,  # more only wait for each other
    }
    return RapidOCR(params=settings)


def size(data: bytes) -> tuple[int, int]:
    """Width and height in pixels, from the head of an image file.

    Raises ValueError if it is none, or takes too much memory to decode.
    """
    try:
        with Image.open(BytesIO(data)) as image:
            width, height = image.size
            decoded = decoded_bytes(image)
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"Failed to load image: {error}") from error
    if decoded > MOST_DECODED:
        raise ValueError("Failed to load image: it is too large for the sandbox")
    return width, height


def decoded_bytes(image: ImageFile) -> int:
    """At most how many bytes it takes to decode an opened image and make it smaller (Pillow 12)."""
    width, height = image.size
    if image.format == "PNG":
        return width * height * PNG_BYTES.get(image.mode, 8)
    if image.format != "JPEG":
        return width * height * 16
    whole = width * height * 6 if "progressive" in image.info else 0
    image.draft("RGB", (LONGEST_SIDE, LONGEST_SIDE))  # a JPEG can be decoded smaller than it is
    return whole + image.width * image.height * 8


def prepare(data: bytes) -> tuple[Image.Image, float]:
    """The image as it is looked at, and the x of the middle of what it shows.

    Raises ValueError if it is damaged.
    """
    width, height = size(data)
    wide, high = canvas_size(width, height)
    scale = min(1.0, (READ_PIXELS / (wide * high)) ** 0.5)
    try:
        with Image.open(BytesIO(data)) as opened:
            opened.draft("RGB", (LONGEST_SIDE, LONGEST_SIDE))
            image: Image.Image = opened
            if image.mode == "1":
                image = image.convert("L")
            elif image.mode not in ("L", "RGB", "RGBA"):
                image = image.convert("RGBA" if "transparency" in image.info else "RGB")
            image.thumbnail((max(1, int(width * scale)), max(1, int(height * scale))))
            image = ImageOps.exif_transpose(image)
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(f"Failed to load image: {error}") from error
    canvas = Image.new("RGB", canvas_size(*image.size), "white")
    canvas.paste(image, mask=image.getchannel("A") if image.mode == "RGBA" else None)
    return canvas, image.width / 2


def canvas_size(width: int, height: int) -> tuple[int, int]:
    """The size of the white paper for an image of this size: not too long, not too small."""
    shortest = max(-(-max(width, height) // LONGEST), SMALLEST_SIDE)
    return max(width, shortest), max(height, shortest)


def read(data: bytes) -> str:
    """The text of an image file, one row a line; empty for a page without text. Raises ValueError
    if it is no image.
    """
    import numpy

    image, centre = prepare(data)
    found = engine()(numpy.asarray(image)[:, :, ::-1])
    if not found.txts:
        return ""
    lines = []
    for box, text in zip(found.boxes, found.txts, strict=True):
        left, top = box.min(axis=0)
        right, bottom = box.max(axis=0)
        lines.append(Line(left, right, (top + bottom) / 2, bottom - top, text))
    return "\n".join(rows(lines, centre))


def rows(lines: list[Line], centre: float) -> list[str]:
    """The rows from the top down; between lines that cross the centre, of two columns the left one
    first.
    """
    crossing: list[Line] = []
    wide_left = 0
    wide_right = 0
    for line in lines:
        if line.left < centre < line.right:
            crossing.append(line)
        elif line.right - line.left > centre / 2:
            wide_left += line.left < centre
            wide_right += line.left >= centre
    two_columns = min(wide_left, wide_right) > 3  # else it is a table

    def place(line: Line) -> tuple[int, int]:
        if not two_columns:
            return 0, 0
        above = sum(other.middle < line.middle for other in crossing)
        if line in crossing:
            return above, 2
        return above, int(line.left > centre)

    found: list[list[Line]] = []
    for line in sorted(lines, key=lambda line: (place(line), line.middle)):
        first = found[-1][0] if found else None
        if first and place(first) == place(line) and line.middle - first.middle <= first.height / 2:
            found[-1].append(line)
        else:
            found.append([line])
    return [" ".join(line.text for line in sorted(row)) for row in found]


def answer(data: bytes) -> bytes:
    """The frame that answers an image."""
    readable = True
    try:
        text = read(data)
    except (ValueError, MemoryError) as error:
        text = str(error) or "Failed to load image: out of memory"
        readable = False
    encoded = text.encode()
    return FRAME.pack(readable, len(encoded)) + encoded


def main(images: IO[bytes], answers: IO[bytes]) -> None:
    """Answers image after image, until there are no more or too much memory was kept."""
    while head := images.read(LENGTH.size):
        answers.write(answer(images.read(*LENGTH.unpack(head))))
        answers.flush()
        if psutil.Process().memory_info().rss > REPLACED_MIB * 2**20:
            return


if __name__ == "__main__":
    own_stdout = os.dup(1)
    os.dup2(2, 1)  # what a library prints must not be taken for an answer
    with os.fdopen(own_stdout, "wb") as out:
        main(sys.stdin.buffer, out)
