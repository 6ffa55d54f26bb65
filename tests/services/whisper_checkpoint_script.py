"""Writes a Whisper checkpoint as transformers would, that has learnt some recordings by heart:
whisper_checkpoint_script.py TINY_MODEL FOLDER, and on stdin [{"file", "text", "language"}, ...].

Vocabulary and tokenizer are those of tiny_model.py. Runs in the venv of the conversion.
"""

from __future__ import annotations

import json
import sys
import wave
from pathlib import Path
from typing import Any

import numpy
import torch
from transformers import (
    GenerationConfig,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperTokenizer,
)

RATE = 16_000
FRAMES = 3_000
LOUDER = 8
"""The sound must weigh more than the places in the random encoder, or all recordings look alike."""
SHIFTS = (0.0, 0.4)
"""Seconds of silence before a recording: the worker's voice detector leaves more or less of it."""


def samples_of(path: str) -> numpy.ndarray:
    with wave.open(path) as reader:
        sound = numpy.frombuffer(reader.readframes(reader.getnframes()), dtype=numpy.int16)
        rate = reader.getframerate()
    places = numpy.arange(int(len(sound) * RATE / rate)) * rate / RATE
    found: numpy.ndarray = numpy.interp(places, numpy.arange(len(sound)), sound) / 32768
    return found.astype(numpy.float32)


def labels_of(vocabulary: list[str], recording: dict[str, Any], seconds: float) -> torch.Tensor:
    """What is to follow <|startoftranscript|>: language, task, words between two times, end."""
    end = round(seconds / 0.02) * 0.02
    words = [f"Ġ{word}" for word in recording["text"].split()]
    marks = [f"<|{recording['language']}|>", "<|transcribe|>", "<|0.00|>"]
    tokens = [*marks, *words, f"<|{end:.2f}|>", "<|endoftext|>"]
    return torch.tensor([vocabulary.index(token) for token in tokens])


def features_of(extractor: WhisperFeatureExtractor, samples: numpy.ndarray) -> torch.Tensor:
    """As faster-whisper has them: nothing, and not silence, stands behind the end."""
    found = extractor(samples, sampling_rate=RATE, padding="do_not_pad", return_tensors="pt")
    features: torch.Tensor = found.input_features[0]
    return torch.nn.functional.pad(features, (0, FRAMES - features.shape[1]))


def new_model(vocabulary: list[str]) -> WhisperForConditionalGeneration:
    start = vocabulary.index("<|startoftranscript|>")
    end = vocabulary.index("<|endoftext|>")
    torch.manual_seed(3)
    config = WhisperConfig(
        vocab_size=len(vocabulary),
        d_model=64,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=128,
        decoder_ffn_dim=128,
        decoder_start_token_id=start,
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=end,
    )
    model = WhisperForConditionalGeneration(config)
    for convolution in (model.model.encoder.conv1, model.model.encoder.conv2):
        convolution.weight.data *= LOUDER
    languages = vocabulary[start + 1 : vocabulary.index("<|translate|>")]
    model.generation_config = GenerationConfig(
        alignment_heads=[[0, 0], [0, 1]],
        begin_suppress_tokens=[],
        decoder_start_token_id=start,
        eos_token_id=end,
        lang_to_id={language: vocabulary.index(language) for language in languages},
        suppress_tokens=[],
    )
    return model


def train(
    model: WhisperForConditionalGeneration,
    features: torch.Tensor,
    labels: torch.Tensor,
) -> None:
    """Has the decoder learn the labels. The encoder stays as it is: random features are enough to
    tell a few recordings from one another, and need to be counted only once.
    """
    with torch.no_grad():
        heard = model.model.encoder(features)
    steps = torch.optim.Adam(model.model.decoder.parameters(), lr=5e-3)
    model.train()
    for _ in range(400):
        loss = model(encoder_outputs=heard, labels=labels).loss
        loss.backward()
        steps.step()
        steps.zero_grad()
        if loss.item() < 0.01:
            break
    model.eval()


def main(tiny: Path, folder: Path, recordings: list[dict[str, Any]]) -> None:
    folder.mkdir()
    torch.set_num_threads(1)
    vocabulary = json.loads((tiny / "vocabulary.json").read_text(encoding="utf-8"))
    tokenizer = WhisperTokenizer(tokenizer_file=str(tiny / "tokenizer.json"))
    tokenizer.save_pretrained(str(folder))
    extractor = WhisperFeatureExtractor(feature_size=80)
    extractor.save_pretrained(str(folder))
    sounds = []
    labels = []
    for recording in recordings:
        samples = samples_of(recording["file"])
        for shift in SHIFTS:
            silence = numpy.zeros(int(shift * RATE), dtype=numpy.float32)
            sounds.append(numpy.concatenate([silence, samples]))
            seconds = len(sounds[-1]) / RATE
            labels.append(labels_of(vocabulary, recording, seconds))
    features = torch.stack([features_of(extractor, sound) for sound in sounds])
    padded = torch.nn.utils.rnn.pad_sequence(labels, batch_first=True, padding_value=-100)
    model = new_model(vocabulary)
    train(model, features, padded)
    model.save_pretrained(str(folder))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), json.load(sys.stdin))
