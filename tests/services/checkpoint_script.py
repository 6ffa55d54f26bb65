"""Writes a tiny NLLB checkpoint as transformers would, and compares it with its conversion.

Runs in the venv of the conversion, not in that of the tests.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, M2M100Config, NllbTokenizer
from transformers.models.m2m_100 import M2M100ForConditionalGeneration

SERVICE = Path(__file__).resolve().parents[2] / "services/translation"
sys.path[:0] = [str(SERVICE), str(SERVICE / "src"), str(SERVICE.parent)]

from engine import Engine, Sentence  # noqa: E402
from tiny_model import SENTENCES, train_sentencepiece  # noqa: E402

LANGUAGES = ["eng_Latn", "fra_Latn", "mos_Latn"]


def write_tokenizer(folder: Path, languages: list[str]) -> NllbTokenizer:
    """Writes the files of a tokenizer with a few hundred tokens and these languages."""
    folder.mkdir()
    pieces = train_sentencepiece(folder / "sentencepiece.bpe.model")
    vocabulary = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3}
    for piece in pieces:
        vocabulary[piece] = len(vocabulary)
    tokenizer = NllbTokenizer(
        vocab=vocabulary,
        merges=merges_of(pieces),
        extra_special_tokens=languages,
    )
    tokenizer.save_pretrained(str(folder))
    return tokenizer


def write(folder: Path, languages: list[str]) -> None:
    tokenizer = write_tokenizer(folder, languages)
    torch.set_num_threads(1)
    torch.manual_seed(3)
    config = M2M100Config(
        vocab_size=len(tokenizer) + 2,  # as NLLB's has two more than its words
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        dropout=0.0,
        attention_dropout=0.0,
        activation_dropout=0.0,
        encoder_layerdrop=0.0,
        decoder_layerdrop=0.0,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        max_position_embeddings=256,
        tokenizer_class="NllbTokenizer",
    )
    model = M2M100ForConditionalGeneration(config)
    if "mos_Latn" in languages:
        train(model, tokenizer)
    model.save_pretrained(str(folder))


def train(model: M2M100ForConditionalGeneration, tokenizer: NllbTokenizer) -> None:
    """Has the model learn to answer each sentence with the next one: what it then says is no
    chance.
    """
    tokenizer.src_lang = "fra_Latn"
    tokenizer.tgt_lang = "mos_Latn"
    batch = tokenizer(SENTENCES[:4], text_target=SENTENCES[1:5], padding=True, return_tensors="pt")
    labels = batch["labels"]
    batch["labels"] = labels.masked_fill(labels == tokenizer.pad_token_id, -100)
    steps = torch.optim.Adam(model.parameters(), lr=1e-2)
    model.train()
    for _ in range(200):
        loss = model(**batch).loss
        loss.backward()
        steps.step()
        steps.zero_grad()
        if loss.item() < 0.05:
            break
    model.eval()


def merges_of(pieces: list[str]) -> list[tuple[str, str]]:
    """The pairs that a BPE joins, in the order in which SentencePiece learnt their pieces."""
    known = set(pieces)
    merges = []
    for piece in pieces:
        for cut in range(1, len(piece)):
            if piece[:cut] in known and piece[cut:] in known:
                merges.append((piece[:cut], piece[cut:]))
    return merges


def compare(snapshot: Path, converted: Path) -> dict[str, list[list[str]]]:
    tokenizer = AutoTokenizer.from_pretrained(str(snapshot), src_lang="fra_Latn")
    model = AutoModelForSeq2SeqLM.from_pretrained(str(snapshot)).eval()
    engine = Engine(converted, "cpu", 1)
    by_torch = []
    by_converted = []
    for text in SENTENCES[:4]:
        encoded = tokenizer(text, return_tensors="pt")
        start = tokenizer.convert_tokens_to_ids("mos_Latn")
        found = model.generate(
            **encoded, forced_bos_token_id=start, num_beams=1, do_sample=False, max_new_tokens=40
        )
        words = tokenizer.convert_ids_to_tokens(found[0])[2:]
        by_torch.append([word for word in words if word != "</s>"])
        sentence = Sentence(engine.tokens(text), "fra_Latn", "mos_Latn")
        by_converted.append(engine.hypotheses([sentence], 1, 0)[0])
    return {"torch": by_torch, "converted": by_converted}


if __name__ == "__main__":
    action = sys.argv[1]
    if action == "compare":
        print(json.dumps(compare(Path(sys.argv[2]), Path(sys.argv[3]))))
    else:
        write(Path(sys.argv[2]), LANGUAGES if action == "write" else LANGUAGES[:1])
