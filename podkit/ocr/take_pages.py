"""Writes some pages of a PDF into another: `take_pages.py PDF TARGET 3,4,5`.

It runs in the toolkit's environment, with the library with which the toolkit itself reads PDFs, so
the pages look as they do in the whole. This must never import podkit, which is not there.
"""

from __future__ import annotations

import sys

if __name__ == "__main__":
    from pypdf import PdfReader, PdfWriter  # type: ignore[import-not-found]

    source, target, pages = sys.argv[1:]
    reader = PdfReader(source)
    writer = PdfWriter()
    for page in pages.split(","):
        writer.add_page(reader.pages[int(page) - 1])
    writer.write(target)
