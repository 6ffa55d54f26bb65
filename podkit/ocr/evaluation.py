"""Whether a pod reads pages well: page images whose text is known, and how much of it comes back.

The built-in pages are drawn here, the same on every machine. A page that lies on its side or upside
down is not among them: the olmOCR toolkit turns those and asks again, one question to the model
does not. An answer that is missing or cut off must never make a page look better: what did not come
back counts as errors.
"""

from __future__ import annotations

import hashlib
import html
import re
import subprocess
import textwrap
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from pathlib import Path

import jiwer
import requests
from PIL import Image, ImageDraw, ImageFont

from podkit.errors import UsageError
from podkit.ocr.poppler import program
from podkit.pods.access import Access
from podkit.pods.chat import answer

GOOD_WER = 0.05
MOST_WER = 0.10
"""Word error rates of all cases: below the first the OCR works, above the second something is
broken.
"""
QUESTION = "Return the text of this page in reading order, tables row by row, and nothing else."
MOST_TOKENS = 4096
"""Of an answer; a dense page has about 2,000, and a model that repeats itself must come to an end.
"""
WIDTH = 995
HEIGHT = 1288
"""A4 in pixels; the longest side is the olmOCR toolkit's (olmocr 0.4.27)."""
MARGIN = 80
CELL = 210
FINER = 3  # drawn so many times larger, then reduced: letters stand as evenly as in a PDF
SANS, SERIF = (
    Path(str(files(package))) / "files" for package in ("font_roboto", "font_source_serif_pro")
)


@dataclass(frozen=True)
class Case:
    """A document: its page images in order, and the text that is on them."""

    name: str
    images: tuple[Path, ...]
    text: str


@dataclass(frozen=True)
class Score:
    """Errors in answers, after plain(): word and character error rate are the wrong, missing and
    added ones, as a
    share of those expected; 0 is perfect, and more than 1 is possible."""

    name: str
    words: int
    wer: float
    cer: float


def draw_page(
    file: Path,
    *,
    text: str = "prose",
    font: Path = SANS / "Roboto-Regular.ttf",
    size: int = 20,
    columns: int = 1,
    degrees: int = 0,
    noise: float = 0,
) -> str:
    """Draw a page in grey into `file`, the same every time, and return what is written on it:
    pages/`text`.txt.

    A line there is a paragraph, or with tabs a row of a table. `degrees` lays the page askew;
    `noise` is the share of the image that is noise, and leaves the rest less contrast.
    """
    image = Image.new("L", (WIDTH * FINER, HEIGHT * FINER), "white")
    face = ImageFont.truetype(str(font), size * FINER, layout_engine=ImageFont.Layout.BASIC)
    written = (Path(__file__).parent / f"pages/{text}.txt").read_text("utf-8")
    column = (WIDTH - MARGIN) // columns
    letters = int((column - MARGIN) / size / 0.55)  # the mean width of one is half its height
    wrap = textwrap.TextWrapper(letters, expand_tabs=False, replace_whitespace=False).wrap
    lines = []
    for paragraph in written.splitlines():
        lines += wrap(paragraph) or [""]
    rows = -(-len(lines) // columns)
    for number, line in enumerate(lines):
        left = MARGIN + number // rows * column
        top = MARGIN + number % rows * size * 1.6
        for place, cell in enumerate(line.split("\t")):
            ImageDraw.Draw(image).text(
                ((left + place * CELL) * FINER, top * FINER), cell, "black", face
            )
    image = image.resize((WIDTH, HEIGHT)).rotate(
        degrees, Image.Resampling.BICUBIC, fillcolor="white"
    )
    grain = Image.frombytes("L", image.size, hashlib.shake_128().digest(WIDTH * HEIGHT))
    Image.blend(image, grain, noise).save(file)
    return written


LOOKS: dict[str, Callable[[Path], str]] = {
    "sans": draw_page,
    "serif": partial(draw_page, font=SERIF / "SourceSerifPro-Regular.ttf", size=22),
    "bold italic": partial(draw_page, font=SANS / "Roboto-BoldItalic.ttf"),
    "small print": partial(draw_page, font=SERIF / "SourceSerifPro-Regular.ttf", size=14),
    "two columns": partial(draw_page, columns=2),
    "table": partial(draw_page, text="table"),
    "skewed": partial(draw_page, degrees=2),
    "noise": partial(draw_page, noise=0.35),
}
"""How each built-in page looks: sizes in pixels of the page."""


def built_in(folder: Path) -> list[Case]:
    """The cases that podkit brings, their images drawn into `folder`."""
    cases = []
    for name, draw in LOOKS.items():
        image = folder / f"{name}.png"
        cases.append(Case(name, (image,), draw(image)))
    return cases


def pair_cases(folder: Path, scratch: Path, say: Callable[[str], None]) -> list[Case]:
    """The user's own cases: a PDF or image, and the text of the same name; PDFs are rendered below
    `scratch`.

    Says which files have no partner. Raises UsageError if none has one, or for a file that cannot
    be used.
    """
    there = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    texts: dict[str, Path] = {}
    pages: dict[str, Path] = {}
    for path in there:
        if path.suffix.lower() in (".txt", ".md"):
            texts[path.stem] = path
        if path.suffix.lower() in (".pdf", ".png", ".jpg", ".jpeg", ".webp"):
            pages[path.stem] = path
    pairs = []
    used = set()
    for name in sorted(texts.keys() & pages.keys()):
        pairs.append((texts[name], pages[name]))
        used |= {texts[name], pages[name]}
    if left := [path.name for path in there if path not in used]:
        say(f"left out, without a partner: {', '.join(left)}")
    if not pairs:
        raise UsageError(
            f"no document in {folder} has its text beside it", "put NAME.pdf and NAME.txt there"
        )
    cases = []
    for text, page in pairs:
        cases.append(Case(page.stem, _images(page, scratch / page.stem), _text(text)))
    return cases


def _text(file: Path) -> str:
    try:
        if plain(text := file.read_text("utf-8-sig")):
            return text
    except (OSError, UnicodeError) as error:
        raise UsageError(f"cannot read {file}: {error}", "it must be text in UTF-8") from None
    raise UsageError(f"there are no words in {file}", "put the text of the document into it")


def _images(document: Path, folder: Path) -> tuple[Path, ...]:
    if document.suffix.lower() != ".pdf":
        return (document,)
    folder.mkdir()
    command = [
        program("pdftoppm"),
        "-png",
        "-scale-to",
        str(HEIGHT),
        str(document.resolve()),
        str(folder / "page"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    images = tuple(sorted(folder.iterdir()))
    if done.returncode or not images:
        raise UsageError(
            f"cannot render {document}: {done.stderr.strip()}",
            "fix it, or take it out of the folder",
        )
    return images


def score_cases(
    session: requests.Session, where: Access, cases: Sequence[Case], say: Callable[[str], None]
) -> list[Score]:
    """Sends the pages of each case to the pod: a score for each, and at the end one for all."""
    got = []
    for number, case in enumerate(cases, 1):
        say(f"{number} of {len(cases)}: {case.name}")
        got.append(read(session, where, case.images))
    scores = []
    for case, text in zip(cases, got, strict=True):
        scores.append(score(case.name, [case.text], [text]))
    return [*scores, score("all", [case.text for case in cases], got)]


def read(session: requests.Session, where: Access, images: Iterable[Path]) -> str:
    """The pod's answers for these pages, without olmOCR's front matter. Raises PodkitError where it
    gives none.
    """
    pages = []
    for image in images:
        page = answer(session, where, QUESTION, [image], temperature=0, max_tokens=MOST_TOKENS)
        pages.append(re.sub(r"(?s)\A---\n.*?\n---(\n|\Z)", "", "".join(page)))
    return "\n".join(pages)


def plain(text: str) -> str:
    """The words of a text or Markdown, one space between them, for a comparison that counts what a
    reader would.

    Taken away: HTML tags (olmOCR's tables), links to images, and all marks but a point or comma
    before a digit, so that 128.4 is not 1284. Evened out: case, and the forms of one character
    (NFKC). Kept: order and accents.
    """
    text = html.unescape(re.sub(r"!\[[^]]*\]\([^)]*\)|</?[A-Za-z][^>]*>", " ", text))
    return " ".join(
        re.findall(r"[^\W_]+(?:[.,]\d[^\W_]*)*", unicodedata.normalize("NFKC", text).lower())
    )


def score(name: str, expected: Iterable[str], got: Iterable[str]) -> Score:
    """How far answers are from the texts expected; each text counts by its length, and must hold a
    word.
    """
    texts = [plain(text) for text in expected]
    answers = [plain(text) for text in got]
    return Score(
        name, len(" ".join(texts).split()), jiwer.wer(texts, answers), jiwer.cer(texts, answers)
    )
