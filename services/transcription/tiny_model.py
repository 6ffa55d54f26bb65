"""A Whisper of 0.2 MB with random weights: python tiny_model.py FOLDER.

For tests, the sandbox and the image's build without weights. It has the files, tokens and behaviour
of the real one; what it hears means nothing, and its card says so.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy
import tokenizers
from ctranslate2.specs import WhisperSpec
from faster_whisper.tokenizer import _LANGUAGE_CODES

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from worker_core.model_card import ModelCard, write_card

WIDTH = 16
MELS = 80
WORDS = [
    "la",
    "pluie",
    "tombe",
    "sur",
    "le",
    "village",
    "et",
    "nous",
    "marchons",
    "ensemble",
    "vers",
    "the",
    "rain",
    "falls",
]
MARKS = ["<|translate|>", "<|transcribe|>", "<|startoflm|>", "<|startofprev|>", "<|nospeech|>"]


def vocabulary() -> list[str]:
    """A few words, all letters, and Whisper's special tokens in its order.

    The empty token is in multilingual vocabularies only, and the engine knows them by it
    (ctranslate2 4.8.5).
    """
    words = [f"Ġ{word}" for word in WORDS]
    letters = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    languages = [f"<|{code}|>" for code in _LANGUAGE_CODES]
    times = [f"<|{number * 0.02:.2f}|>" for number in range(1501)]
    head = [*words, *letters, "", "<|endoftext|>", "<|startoftranscript|>"]
    return [*head, *languages, *MARKS, "<|notimestamps|>", *times]


def write_tiny_model(folder: Path) -> None:
    """Fills `folder` with a model that faster-whisper loads."""
    folder.mkdir(parents=True, exist_ok=True)
    tokens = vocabulary()
    spec = WhisperSpec(1, 2, 1, 2)
    fill(spec, tokens)
    spec.register_vocabulary(tokens)
    first = tokens.index("<|startoftranscript|>") + 1
    spec.config.lang_ids = list(range(first, first + len(_LANGUAGE_CODES)))
    spec.config.suppress_ids = []
    spec.config.suppress_ids_begin = []
    spec.config.alignment_heads = [[0, 0], [0, 1]]
    spec.validate()
    spec.optimize("int8")
    spec.save(str(folder))
    write_tokenizer(folder / "tokenizer.json", tokens)
    features = {"feature_size": MELS, "sampling_rate": 16000, "hop_length": 160, "n_fft": 400}
    (folder / "preprocessor_config.json").write_text(json.dumps(features))
    card = ModelCard(
        repo="podkit/sandbox-random",
        revision="0" * 40,
        quantization="int8",
        licence="MIT",
    )
    write_card(folder, card, note="random weights: its words mean nothing")


def write_tokenizer(path: Path, tokens: list[str]) -> None:
    model = tokenizers.models.BPE(
        vocab={token: number for number, token in enumerate(tokens)},
        merges=[],
    )
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    tokenizer.add_special_tokens([token for token in tokens if token.startswith("<|")])
    tokenizer.save(str(path))


def fill(spec: WhisperSpec, tokens: list[str]) -> None:
    random = numpy.random.default_rng(11)

    def weights(*shape: int) -> numpy.ndarray:
        return (random.standard_normal(shape) * 0.3).astype(numpy.float32)

    def linear(layer: object, width: int, depth: int) -> None:
        layer.weight = weights(width, depth)
        layer.bias = numpy.zeros(width, dtype=numpy.float32)

    def norm(layer: object) -> None:
        layer.gamma = numpy.ones(WIDTH, dtype=numpy.float32)
        layer.beta = numpy.zeros(WIDTH, dtype=numpy.float32)

    def attention(layer: object, joint: list[int]) -> None:
        norm(layer.layer_norm)
        for part, width in zip(layer.linear, joint, strict=True):
            linear(part, width, WIDTH)

    for side, positions in ((spec.encoder, 1500), (spec.decoder, 448)):
        side.position_encodings.encodings = weights(positions, WIDTH)
        norm(side.layer_norm)
        for layer in side.layer:
            attention(layer.self_attention, [3 * WIDTH, WIDTH])
            norm(layer.ffn.layer_norm)
            linear(layer.ffn.linear_0, 4 * WIDTH, WIDTH)
            linear(layer.ffn.linear_1, WIDTH, 4 * WIDTH)
    for layer in spec.decoder.layer:
        attention(layer.attention, [WIDTH, 2 * WIDTH, WIDTH])
    spec.encoder.conv1.weight = weights(WIDTH, MELS, 3)
    spec.encoder.conv1.bias = weights(WIDTH)
    spec.encoder.conv2.weight = weights(WIDTH, WIDTH, 3)
    spec.encoder.conv2.bias = weights(WIDTH)
    spec.decoder.embeddings.weight = weights(len(tokens), WIDTH)
    spec.decoder.projection.weight = weights(len(tokens), WIDTH)
    spec.decoder.projection.weight[: len(WORDS)] *= 9
    spec.decoder.projection.bias = preference(tokens)


def preference(tokens: list[str]) -> numpy.ndarray:
    """Makes WORDS, times and the end likely and all other tokens not, so that the model is sure
    of what it says; and of the languages French, so that it is sure of what it detects.
    """
    wanted = numpy.full(len(tokens), -30.0, dtype=numpy.float32)
    wanted[: len(WORDS)] = 2.0
    wanted[tokens.index("<|endoftext|>")] = 13.0
    wanted[tokens.index("<|startoftranscript|>") + 1 : tokens.index("<|translate|>")] = 0.0
    wanted[tokens.index("<|fr|>")] = 9.0
    wanted[tokens.index("<|0.00|>") :] = -8.0
    return wanted


if __name__ == "__main__":
    write_tiny_model(Path(sys.argv[1]))
