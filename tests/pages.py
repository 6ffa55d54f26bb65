"""A page image whose words are known, so that a test can count how many of them come back."""

from collections import Counter
from io import BytesIO
from itertools import chain
from pathlib import Path

import font_roboto
from PIL import Image, ImageDraw, ImageFont

FONTS = Path(font_roboto.__file__).parent / "files"
SIZE = (995, 1288)  # A4, as the olmOCR toolkit renders it
FINER = 3  # drawn so many times larger, then reduced: letters stand as evenly as in a PDF
TITLE = "Rapport de mesures du réseau hydraulique"
PARAGRAPHS = [
    "Les débits relevés cet été à la frontière étaient inférieurs aux valeurs prévues par l'étude",
    "préalable. Après vérification, les capteurs défectueux ont été remplacés à Besançon,",
    "puis étalonnés : l'écart résiduel est désormais négligeable. Où que l'on se place, la",
    "méthode reste sûre, et les crues de février n'ont causé aucun dégât près du château.",
    "The next campaign starts in March 2027 with twelve new stations along the river.",
]
TABLE = [
    ["Station", "Débit", "Écart"],
    ["Besançon", "128,4", "2,5 %"],
    ["Évian", "96,0", "0,8 %"],
    ["Nîmes", "74,2", "1,9 %"],
    ["Total", "298,6", "1,7 %"],
]


def page() -> tuple[bytes, list[str]]:
    """A PNG with a title, a paragraph in French and English and a ruled table;
    and its words in order.
    """
    image = Image.new("L", (SIZE[0] * FINER, SIZE[1] * FINER), "white")
    draw = ImageDraw.Draw(image)

    def write(left: int, top: int, text: str, style: str, size: int) -> None:
        font = ImageFont.truetype(str(FONTS / f"Roboto-{style}.ttf"), size * FINER)
        draw.text((left * FINER, top * FINER), text, "black", font)

    write(80, 80, TITLE, "Bold", 34)
    for n, line in enumerate(PARAGRAPHS):
        write(80, 160 + 36 * n, line, "Regular", 20)
    for row, cells in enumerate(TABLE):
        for column, cell in enumerate(cells):
            box = (80 + 270 * column, 400 + 56 * row, 350 + 270 * column, 456 + 56 * row)
            draw.rectangle([edge * FINER for edge in box], outline="black", width=FINER)
            write(box[0] + 12, box[1] + 14, cell, "Regular" if row else "Bold", 22)
    image = image.resize(SIZE, Image.Resampling.LANCZOS)
    png = BytesIO()
    image.save(png, "PNG")
    text = " ".join([TITLE, *PARAGRAPHS, *chain.from_iterable(TABLE)])
    return png.getvalue(), text.split()


def share(words: list[str], text: str) -> float:
    """The share, 0 to 1, of `words` that are in `text`, each as often as it should be."""
    return (Counter(words) & Counter(text.split())).total() / len(words)
