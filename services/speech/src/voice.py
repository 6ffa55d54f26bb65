"""sherpa-onnx with a VITS voice: a sentence in, samples out."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy
import sherpa_onnx


class Voice:
    """A loaded voice. `speak` is called from one thread at a time."""

    def __init__(self, folder: Path, threads: int) -> None:
        tokens = folder / "tokens.txt"
        self._alphabet = alphabet_of(tokens)
        vits = sherpa_onnx.OfflineTtsVitsModelConfig(
            model=str(folder / "model.onnx"),
            tokens=str(tokens),
        )
        model = sherpa_onnx.OfflineTtsModelConfig(vits=vits, num_threads=threads)
        self._engine = sherpa_onnx.OfflineTts(sherpa_onnx.OfflineTtsConfig(model=model))

    @property
    def rate(self) -> int:
        """Samples a second."""
        return int(self._engine.sample_rate)

    def spell(self, text: str) -> tuple[str, int]:
        """`text` in the voice's own letters, and how many letters and digits it has none for.

        sherpa-onnx would leave those out and write them to its log.
        """
        letters = []
        lost = 0
        plain = unicodedata.normalize("NFC", text).casefold().replace("\u2019", "'")
        for character in plain:
            if character in self._alphabet:
                letters.append(character)
            elif character.isalnum():
                lost += 1
            else:
                letters.append(" ")
        return " ".join("".join(letters).split()), lost

    def speak(self, text: str, speed: float) -> numpy.ndarray:
        """The samples of `text`, which `spell` has returned."""
        spoken = self._engine.generate(text, sid=0, speed=speed)
        return numpy.asarray(spoken.samples, dtype=numpy.float32)


def alphabet_of(tokens: Path) -> frozenset[str]:
    """The characters in tokens.txt: one a line, before its number; the space stands as itself."""
    found = {" "}
    for line in tokens.read_text(encoding="utf-8").splitlines():
        token = line.rpartition(" ")[0]
        if len(token) == 1:
            found.add(token)
    return frozenset(found)
