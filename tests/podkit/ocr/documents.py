"""PDFs whose words are known: set pages, a scanned-looking one, one that asks for a password."""

from __future__ import annotations

from functools import cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from tests.pages import FONTS, PARAGRAPHS, TABLE, TITLE
from tests.pages import page as scanned

if TYPE_CHECKING:
    from fpdf import FPDF

SHORT = "Cette page porte le numéro {} et rien de plus."


@cache
def pdf_of(*texts: str, password: str = "") -> bytes:
    """A PDF with a page for each text, one line high."""
    pdf = _new()
    for text in texts:
        pdf.add_page()
        pdf.set_font("Roboto", size=20)
        pdf.cell(text=text)
    if password:
        pdf.set_encryption(owner_password="owner", user_password=password)
    return bytes(pdf.output())


def short_pages(count: int) -> bytes:
    return pdf_of(*(SHORT.format(number) for number in range(1, count + 1)))


def report() -> tuple[bytes, list[str]]:
    """Four pages: text, a ruled table, two columns, and a scan, a little turned and grey; and their
    words.
    """
    pdf = _new()
    pdf.add_page()
    pdf.set_font("Roboto", "B", 22)
    pdf.cell(text=TITLE, new_x="LMARGIN", new_y="NEXT")
    pdf.set_font("Roboto", size=13)
    for line in PARAGRAPHS:
        pdf.cell(text=line, h=9, new_x="LMARGIN", new_y="NEXT")
    pdf.add_page()
    with pdf.table(line_height=10) as table:
        for cells in TABLE:
            table.row(cells)
    pdf.add_page()
    with pdf.text_columns(ncols=2, gutter=15, line_height=1.4) as columns:
        for line in PARAGRAPHS:
            columns.write(line + "\n\n")
        columns.new_column()
        for line in reversed(PARAGRAPHS):
            columns.write(line + "\n\n")
    png, scan_words = scanned()
    scan = Image.open(BytesIO(png)).rotate(
        0.7, fillcolor="white", resample=Image.Resampling.BICUBIC
    )
    scan = scan.point([90 + value * 150 // 255 for value in range(256)])
    pdf.add_page()
    pdf.image(scan, x=0, y=0, w=pdf.w)
    in_cells: list[str] = []
    for row in TABLE:
        in_cells += row
    return bytes(pdf.output()), " ".join(
        [TITLE, *PARAGRAPHS, *in_cells, *PARAGRAPHS * 2, *scan_words]
    ).split()


def _new() -> FPDF:
    from fpdf import FPDF

    pdf = FPDF()
    for style in ("Regular", "Bold"):
        pdf.add_font(
            "Roboto", style.replace("Regular", "")[:1], Path(FONTS) / f"Roboto-{style}.ttf"
        )
    return pdf
