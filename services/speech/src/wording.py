"""French as it is read aloud: numbers, dates, hours and abbreviations become words, by num2words.

A voice reads letters. What its alphabet lacks, digits among it, it would leave out without a word.
"""

from __future__ import annotations

import re

from num2words import num2words

_ABBREVIATIONS = {
    r"MM\.": "messieurs",
    r"M\.": "monsieur",
    r"Mmes\b\.?": "mesdames",
    r"Mme\b\.?": "madame",
    r"Mlle\b\.?": "mademoiselle",
    r"Dr\b\.?": "docteur",
    r"Pr\b\.?": "professeur",
    r"[Aa]rt\.": "article",
    r"[Ee]tc\.": "et cetera",
    r"[Cc]f\.": "voir",
    r"p\.(?=\s*\d)": "page",
    r"[Nn]°": "numéro",
    r"F\s?CFA\b|FCFA\b": "francs C F A",
}
_UNITS = {
    "%": "pour cent",
    "€": "euros",
    "km": "kilomètres",
    "kg": "kilogrammes",
    "cm": "centimètres",
    "mm": "millimètres",
    "m": "mètres",
    "°C": "degrés",
}
_MONTHS = [
    "janvier",
    "février",
    "mars",
    "avril",
    "mai",
    "juin",
    "juillet",
    "août",
    "septembre",
    "octobre",
    "novembre",
    "décembre",
]
_SPACE = "[ \u00a0\u202f]"
_NUMBER = rf"\d{{1,3}}(?:{_SPACE}\d{{3}})+(?!\d)|\d+"
_MOST_DIGITS = 15
"""Longer ones are no amounts but codes, which are read digit by digit."""


def read_aloud(text: str) -> str:
    """`text` with words for what French writes short."""
    for short, word in _ABBREVIATIONS.items():
        text = re.sub(rf"(?<!\w){short}", f"{word} ", text)
    text = re.sub(r"\b(\d{1,2})/(\d{1,2})/(\d{4})\b", _date, text)
    text = re.sub(r"\b(\d{1,2})\s?h(?:\s?(\d{2}))?\b", _hour, text)
    text = re.sub(r"\b(\d+)(er|re|ère|e|ème)\b", _ordinal, text)
    units = "|".join(re.escape(unit) for unit in _UNITS)
    amount = rf"({_NUMBER})(?:,(\d+))?(?:{_SPACE}?({units})(?!\w))?"
    text = re.sub(rf"(?<!\w)-(?={amount})", "moins ", text)
    return re.sub(r"[ \t]{2,}", " ", re.sub(amount, _amount, text)).strip()


def _words(digits: str) -> str:
    if len(digits) > _MOST_DIGITS or (len(digits) > 1 and digits.startswith("0")):
        return " ".join(num2words(int(digit), lang="fr") for digit in digits)
    return str(num2words(int(digits), lang="fr"))


def _amount(found: re.Match[str]) -> str:
    words = _words(re.sub(r"\D", "", found[1]))
    if found[2]:
        words += f" virgule {_words(found[2])}"
    if found[3]:
        words += f" {_UNITS[found[3]]}"
    return words


def _date(found: re.Match[str]) -> str:
    month = int(found[2])
    if not 1 <= month <= len(_MONTHS):
        return found[0]
    day = "premier" if int(found[1]) == 1 else _words(str(int(found[1])))
    return f"{day} {_MONTHS[month - 1]} {_words(found[3])}"


def _hour(found: re.Match[str]) -> str:
    hour = int(found[1])
    words = "une" if hour == 1 else _words(str(hour))
    words += " heure" if hour < 2 else " heures"
    if found[2] and int(found[2]):
        words += f" {_words(str(int(found[2])))}"
    return words


def _ordinal(found: re.Match[str]) -> str:
    if found[1] == "1" and found[2] in ("re", "ère"):
        return "première"
    return str(num2words(int(found[1]), lang="fr", to="ordinal"))
