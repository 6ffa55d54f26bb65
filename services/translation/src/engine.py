"""CTranslate2 and SentencePiece: sentences in, sentences out, in batches. Knows nothing of jobs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import ctranslate2
import sentencepiece

TOKENS_AT_ONCE = 1024
LONGEST_OUTPUT = 512
"""Tokens. NLLB-200 was trained on sequences of up to 512 (model card of
facebook/nllb-200-distilled-600M).
"""
_LOOP = 4
"""A hypothesis that repeats one sequence of three tokens more often than this has got stuck."""


@dataclass(frozen=True)
class Sentence:
    """One sentence to translate: its tokens, without those of languages and of the end."""

    tokens: tuple[str, ...]
    source: str
    target: str

    @property
    def longest_output(self) -> int:
        return min(LONGEST_OUTPUT, 2 * len(self.tokens) + 32)


@dataclass(frozen=True)
class Translated:
    """`is_retried`: the first hypothesis was a loop or had no end. `is_cut`: and so was the
    second.
    """

    text: str
    is_retried: bool = False
    is_cut: bool = False


class Engine:
    """A loaded model. `translate` is called from one thread at a time."""

    def __init__(self, folder: Path, device: str, threads: int) -> None:
        self._sentencepiece = sentencepiece.SentencePieceProcessor(
            model_file=str(folder / "sentencepiece.bpe.model"),
        )
        self._model = ctranslate2.Translator(
            str(folder),
            device=device,
            compute_type="int8" if device == "cpu" else "int8_float16",
            intra_threads=threads,
        )

    def tokens(self, text: str) -> tuple[str, ...]:
        return tuple(self._sentencepiece.encode(text, out_type=str))

    def translate(self, sentences: Sequence[Sentence], beam_size: int) -> list[Translated]:
        """One Translated for each of `sentences`, in their order."""
        found = self.hypotheses(sentences, beam_size, no_repeat_ngram_size=0)
        stuck = []
        for number, (sentence, tokens) in enumerate(zip(sentences, found, strict=True)):
            if is_stuck(tokens, sentence.longest_output):
                stuck.append(number)
        done = [Translated(self._text(tokens)) for tokens in found]
        if stuck:
            again = self.hypotheses([sentences[number] for number in stuck], beam_size, 3)
            for number, tokens in zip(stuck, again, strict=True):
                is_cut = is_stuck(tokens, sentences[number].longest_output)
                done[number] = Translated(self._text(tokens), is_retried=True, is_cut=is_cut)
        return done

    def hypotheses(
        self,
        sentences: Sequence[Sentence],
        beam_size: int,
        no_repeat_ngram_size: int,
    ) -> list[list[str]]:
        """Output tokens, without the target language's, of each sentence and at most its longest
        output.
        """
        source = []
        target = []
        for sentence in sentences:
            source.append([sentence.source, *sentence.tokens, "</s>"])
            target.append([sentence.target])
        results = self._model.translate_batch(
            source,
            target_prefix=target,
            max_batch_size=TOKENS_AT_ONCE,
            batch_type="tokens",
            beam_size=beam_size,
            max_decoding_length=1 + max(sentence.longest_output for sentence in sentences),
            max_input_length=0,
            no_repeat_ngram_size=no_repeat_ngram_size,
            disable_unk=True,
        )
        found = []
        for sentence, result in zip(sentences, results, strict=True):
            found.append(result.hypotheses[0][1 : sentence.longest_output + 1])
        return found

    def _text(self, tokens: Sequence[str]) -> str:
        """The words of `tokens`. Tokens that SentencePiece does not have are the model's marks, no
        words.
        """
        unknown = self._sentencepiece.unk_id()
        words = []
        for token in tokens:
            if self._sentencepiece.piece_to_id(token) != unknown:
                words.append(token)
        return str(self._sentencepiece.decode(words)).strip()


def is_stuck(tokens: Sequence[str], longest: int) -> bool:
    """Whether an output has no end of its own, or turns in a circle."""
    threes = Counter(zip(tokens, tokens[1:], tokens[2:], strict=False))
    return len(tokens) >= longest or max(threes.values(), default=0) > _LOOP
