"""Shows that CTranslate2 carries the language model of Spark-TTS: check_spark.py [full]

A small Qwen2 with the heads of Qwen2.5-0.5B learns to answer prompts of Spark-TTS's form with sound
tokens; transformers, CTranslate2 and CTranslate2 in int8 must then give the same ones. With `full`:
how many tokens a CPU second a random one of full size gives; a second of sound is 50. Runs in a
venv with torch, transformers and ctranslate2.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import ctranslate2
import torch
from ctranslate2.converters import TransformersConverter
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

END = "<|im_end|>"
MARKS = [
    "<|endoftext|>",
    END,
    "<|task_tts|>",
    "<|start_content|>",
    "<|end_content|>",
    "<|start_global_token|>",
    "<|end_global_token|>",
    "<|start_semantic_token|>",
]
SPEAKER = [f"<|bicodec_global_{number}|>" for number in range(32)]
SOUNDS = [f"<|bicodec_semantic_{number}|>" for number in range(128)]
VOCABULARY = [*MARKS, *sorted(pre_tokenizers.ByteLevel.alphabet()), *SPEAKER, *SOUNDS]
TEXTS = ["bonjour", "il pleut", "ne y windiga"]
FULL_VOCABULARY = 166_000
TOKENS = 150


def prompt_of(text: str) -> list[str]:
    letters = [character.replace(" ", "Ġ") for character in text]
    head = ["<|task_tts|>", "<|start_content|>", *letters, "<|end_content|>"]
    return [*head, "<|start_global_token|>", *SPEAKER, "<|end_global_token|>"]


def sound_of(text: str) -> list[str]:
    """Two tokens a letter: what the model is to learn."""
    sound = []
    for letter in text:
        sound += [SOUNDS[ord(letter)]] * 2
    return ["<|start_semantic_token|>", *sound, END]


def write_tokenizer(folder: Path) -> None:
    numbers = {token: number for number, token in enumerate(VOCABULARY)}
    tokenizer = Tokenizer(models.BPE(vocab=numbers, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([*MARKS, *SPEAKER, *SOUNDS])
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        unk_token=MARKS[0],
    )
    wrapped.save_pretrained(str(folder))


def new_model(width: int, layers: int, inner: int, vocabulary: int) -> Qwen2ForCausalLM:
    torch.manual_seed(1)
    config = Qwen2Config(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=14,
        num_key_value_heads=2,
        tie_word_embeddings=True,
        eos_token_id=VOCABULARY.index(END),
    )
    return Qwen2ForCausalLM(config)


def train(model: Qwen2ForCausalLM) -> None:
    steps = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(300):
        worst = 0.0
        for text in TEXTS:
            prompt = [VOCABULARY.index(token) for token in prompt_of(text)]
            sound = [VOCABULARY.index(token) for token in sound_of(text)]
            labels = [-100] * len(prompt) + sound
            loss = model(
                input_ids=torch.tensor([prompt + sound]),
                labels=torch.tensor([labels]),
            ).loss
            loss.backward()
            worst = max(worst, loss.item())
        steps.step()
        steps.zero_grad()
        if worst < 0.01:
            break
    model.eval()


def by_transformers(model: Qwen2ForCausalLM, text: str) -> list[str]:
    prompt = torch.tensor([[VOCABULARY.index(token) for token in prompt_of(text)]])
    found = model.generate(prompt, max_new_tokens=60, do_sample=False)[0][prompt.shape[1] :]
    return [VOCABULARY[number] for number in found if number < len(VOCABULARY)]


def by_ctranslate2(
    generator: ctranslate2.Generator,
    text: str,
    least: int = 0,
    most: int = 60,
) -> list[str]:
    found = generator.generate_batch(
        [prompt_of(text)],
        max_length=most,
        min_length=least,
        sampling_topk=1,
        include_prompt_in_result=False,
        end_token=END,
        return_end_token=True,
    )
    tokens: list[str] = found[0].sequences[0]
    return tokens


def converted(folder: Path, quantization: str) -> ctranslate2.Generator:
    target = str(folder / quantization)
    TransformersConverter(str(folder)).convert(target, quantization=quantization)
    return ctranslate2.Generator(target, device="cpu", intra_threads=1)


def check(folder: Path) -> None:
    write_tokenizer(folder)
    model = new_model(56, 2, 112, len(VOCABULARY) + 16)
    train(model)
    model.save_pretrained(str(folder))
    for quantization in ("float32", "int8"):
        generator = converted(folder, quantization)
        for text in TEXTS:
            wanted = by_transformers(model, text)
            same = by_ctranslate2(generator, text) == wanted == sound_of(text)
            print(f"{quantization}: {text}: {'the same' if same else 'DIFFERENT'}")


def measure(folder: Path) -> None:
    write_tokenizer(folder)
    new_model(896, 24, 4864, FULL_VOCABULARY).save_pretrained(str(folder))
    generator = converted(folder, "int8")
    by_ctranslate2(generator, TEXTS[0], 1, 1)
    started = time.process_time()
    by_ctranslate2(generator, TEXTS[0], TOKENS, TOKENS)
    print(f"{TOKENS / (time.process_time() - started):.1f} tokens a CPU second")


if __name__ == "__main__":
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        if sys.argv[1:] == ["full"]:
            measure(Path(place))
        else:
            check(Path(place))
