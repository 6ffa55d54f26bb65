"""The translation handler that a first guide to serverless workers shows: one job at a time, one
text at a time, transformers on the CPU. Only here to be compared with.
"""

from __future__ import annotations

import os

import runpod
import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

torch.set_num_threads(int(os.environ["THREADS"]))
TOKENIZER = AutoTokenizer.from_pretrained(os.environ["MODEL_DIR"], src_lang="fra_Latn")
MODEL = AutoModelForSeq2SeqLM.from_pretrained(os.environ["MODEL_DIR"]).eval()


def handler(job: dict[str, dict[str, str]]) -> dict[str, list[str]]:
    given = job["input"]
    encoded = TOKENIZER(given["text"], return_tensors="pt", truncation=True)
    target = TOKENIZER.convert_tokens_to_ids(given["tgt_lang"])
    with torch.no_grad():
        found = MODEL.generate(
            **encoded,
            forced_bos_token_id=target,
            num_beams=1,
            max_length=int(os.environ.get("MAX_LENGTH", "256")),
        )
    return {"translations": TOKENIZER.batch_decode(found, skip_special_tokens=True)}


runpod.serverless.start({"handler": handler})
