"""A voice that gives each letter a tone of its own: python tiny_model.py FOLDER.

For tests, the sandbox and the image's build without weights: the real engine loads it, and its
recordings show which letters were spoken, in which order. Needs the onnx package, which the worker
does not.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from worker_core.model_card import ModelCard, write_card

RATE = 16_000
SAMPLES_PER_LETTER = 800
LETTERS = ["_", " ", "'", "-", *"abcdefghijklmnopqrstuvwxyzàâçèéêëîïôùûüœãẽĩõũ\u025b\u0269\u028b"]
"""The first is the blank between letters, a tone too. The space is silent."""


def write_tiny_model(folder: Path) -> None:
    """Fills `folder` with a voice that sherpa-onnx loads."""
    folder.mkdir(parents=True, exist_ok=True)
    # Whole periods of each tone: one ends where the next begins, and only joints can click.
    time = numpy.arange(SAMPLES_PER_LETTER) / RATE
    tones = numpy.zeros((len(LETTERS), SAMPLES_PER_LETTER), dtype=numpy.float32)
    tones[0] = 0.4 * numpy.cos(2 * numpy.pi * 100 * time)
    for number in range(2, len(LETTERS)):
        tones[number] = 0.4 * numpy.cos(2 * numpy.pi * (200 + 40 * number) * time)
    onnx.save(_model(tones), str(folder / "model.onnx"))
    lines = [f"{letter} {number}\n" for number, letter in enumerate(LETTERS)]
    (folder / "tokens.txt").write_text("".join(lines), encoding="utf-8")
    card = ModelCard(
        repo="podkit/sandbox-tones",
        revision="0" * 40,
        quantization="float32",
        licence="MIT",
    )
    write_card(folder, card, note="a tone for each letter: no speech")


def _model(tones: numpy.ndarray) -> onnx.ModelProto:
    inputs = [
        helper.make_tensor_value_info("x", TensorProto.INT64, [1, "letters"]),
        helper.make_tensor_value_info("x_length", TensorProto.INT64, [1]),
    ]
    for name in ("noise_scale", "length_scale", "noise_scale_w"):
        inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]))
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["tones", "x"], ["rows"], axis=0),
            helper.make_node("Reshape", ["rows", "shape"], ["y"]),
        ],
        "tones",
        inputs,
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, "samples"])],
        initializer=[
            numpy_helper.from_array(tones, "tones"),
            numpy_helper.from_array(numpy.array([1, 1, -1], dtype=numpy.int64), "shape"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    facts = {
        "model_type": "vits",
        "comment": "mms",
        "url": "",
        "add_blank": 1,
        "language": "mos",
        "frontend": "characters",
        "n_speakers": 0,
        "sample_rate": RATE,
    }
    helper.set_model_props(model, {name: str(value) for name, value in facts.items()})
    return model


if __name__ == "__main__":
    write_tiny_model(Path(sys.argv[1]))
