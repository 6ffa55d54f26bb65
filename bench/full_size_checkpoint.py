"""Writes a checkpoint of the size of NLLB-200-distilled-600M with random weights:
full_size_checkpoint.py FOLDER.

Its shape is that model's config.json; its tokenizer has a few hundred words and as many entries
without a word as it takes. 2.5 GB. Runs in a venv with torch, transformers and ctranslate2.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from transformers import M2M100Config
from transformers.models.m2m_100 import M2M100ForConditionalGeneration

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests/services"))

from checkpoint_script import LANGUAGES, write_tokenizer


def main(folder: Path) -> None:
    write_tokenizer(folder, LANGUAGES)
    torch.manual_seed(3)
    config = M2M100Config(
        vocab_size=256_206,
        d_model=1024,
        encoder_layers=12,
        decoder_layers=12,
        encoder_attention_heads=16,
        decoder_attention_heads=16,
        encoder_ffn_dim=4096,
        decoder_ffn_dim=4096,
        max_position_embeddings=1024,
        scale_embedding=True,
        tokenizer_class="NllbTokenizer",
    )
    M2M100ForConditionalGeneration(config).save_pretrained(str(folder))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
