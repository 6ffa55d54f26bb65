"""A translation model of 0.5 MB with random weights: python tiny_model.py FOLDER.

For tests, the sandbox and the image's build without weights. It has the files, tokens and behaviour
of the real one; what it says means nothing, and its card says so.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy
import sentencepiece
from ctranslate2.specs import TransformerSpec, common_spec

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from worker_core.model_card import ModelCard, write_card

LANGUAGE_CODES = ["eng_Latn", "fra_Latn", "mos_Latn"]
WIDTH = 32
SENTENCES = [
    "Bonjour à tous. Comment allez-vous ce matin ?",
    "Le marché du village ouvre à huit heures.",
    "Les enfants vont à l'école avec leurs livres.",
    "La pluie tombe depuis trois jours ; la rivière déborde.",
    "Nous cultivons le mil, le sorgho et le maïs.",
    "M. Ouédraogo parle au téléphone avec Mme Kaboré.",
    "Le médecin a dit : buvez de l'eau, et reposez-vous.",
    "Ne y windiga, ne y zaabre, ne y yibeoogo.",
    "Fo kãngame, m kãngame, tõnd fãa kãngame.",
    "Wakat a yiibu poore, b leb n waa zaka.",
    "The teacher writes the lesson on the board.",
    "Please read the first page and answer the questions.",
    "1, 2, 3, 4, 5, 6, 7, 8, 9, 10 : voilà dix nombres !",
    "Quel âge a votre grand-mère ? Elle a quatre-vingts ans.",
    "On vend des tissus, des paniers et des poteries.",
]


def write_tiny_model(folder: Path) -> None:
    """Fills `folder` with a model that `Engine` loads. The same bytes each time."""
    folder.mkdir(parents=True, exist_ok=True)
    pieces = train_sentencepiece(folder / "sentencepiece.bpe.model")
    vocabulary = ["<s>", "<pad>", "</s>", "<unk>", *pieces, *LANGUAGE_CODES]
    spec = TransformerSpec.from_config(
        (2, 2),
        4,
        pre_norm=True,
        activation=common_spec.Activation.RELU,
    )
    _fill(spec, len(vocabulary))
    spec.register_source_vocabulary(vocabulary)
    spec.register_target_vocabulary(vocabulary)
    spec.config.add_source_bos = False
    spec.config.add_source_eos = False
    spec.config.decoder_start_token = spec.config.eos_token
    spec.validate()
    spec.optimize("int8")
    spec.save(str(folder))
    card = ModelCard(
        repo="podkit/sandbox-random",
        revision="0" * 40,
        quantization="int8",
        licence="MIT",
    )
    write_card(folder, card, note="random weights: its words mean nothing")


def train_sentencepiece(path: Path) -> list[str]:
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES),
        model_writer=model,
        vocab_size=220,
        model_type="bpe",
        character_coverage=1.0,
        minloglevel=2,
    )
    path.write_bytes(model.getvalue())
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    return [processor.id_to_piece(number) for number in range(3, processor.get_piece_size())]


def _fill(spec: TransformerSpec, vocabulary_size: int) -> None:
    random = numpy.random.default_rng(7)

    def weights(*shape: int) -> numpy.ndarray:
        return (random.standard_normal(shape) * 0.3).astype(numpy.float32)

    def linear(layer: common_spec.LinearSpec, width: int, depth: int) -> None:
        layer.weight = weights(width, depth)
        layer.bias = numpy.zeros(width, dtype=numpy.float32)

    def norm(layer: common_spec.LayerNormSpec) -> None:
        layer.gamma = numpy.ones(WIDTH, dtype=numpy.float32)
        layer.beta = numpy.zeros(WIDTH, dtype=numpy.float32)

    def feed_forward(layer: object) -> None:
        norm(layer.layer_norm)
        linear(layer.linear_0, 4 * WIDTH, WIDTH)
        linear(layer.linear_1, WIDTH, 4 * WIDTH)

    def attention(layer: object, joint: list[int]) -> None:
        norm(layer.layer_norm)
        for part, width in zip(layer.linear, joint, strict=True):
            linear(part, width, WIDTH)

    for side in (spec.encoder, spec.decoder):
        embeddings = side.embeddings[0] if isinstance(side.embeddings, list) else side.embeddings
        embeddings.weight = weights(vocabulary_size, WIDTH)
        side.position_encodings.encodings = weights(1024, WIDTH)
        side.scale_embeddings = True
        norm(side.layer_norm)
        for layer in side.layer:
            attention(layer.self_attention, [3 * WIDTH, WIDTH])
            feed_forward(layer.ffn)
    for layer in spec.decoder.layer:
        attention(layer.attention, [WIDTH, 2 * WIDTH, WIDTH])
    linear(spec.decoder.projection, vocabulary_size, WIDTH)


if __name__ == "__main__":
    write_tiny_model(Path(sys.argv[1]))
