"""What can be said without a GPU of the workers on one: which libraries they bring, what they ask
of the engine, and that a worker without its GPU does not go on without a word.
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from .workers import SERVICES, make_venv, running_worker

BOTH = ["translation", "transcription"]
OF_THE_DRIVER = "libcuda.so.1"
BROUGHT_BY = {"nvidia-cublas-cu12": "libcublas.so.12"}
"""The library for which a package is there; nvrtc comes along with cuBLAS."""
WHAT_THE_ENGINE_IS_ASKED = {
    "translation": """
import ctranslate2
ctranslate2.Translator = tell
from engine import Engine
Engine(folder, "cuda", 1)
""",
    "transcription": """
import faster_whisper
faster_whisper.WhisperModel = tell
from listening import Listener
Listener(folder, "cuda", 1)
""",
}


@pytest.mark.parametrize("service", BOTH)
def test_a_gpu_image_has_all_that_the_other_has(service: str) -> None:
    plain = pins_of(SERVICES / service / "requirements.txt")
    with_gpu = pins_of(SERVICES / service / "requirements-gpu.txt")
    assert plain < with_gpu
    assert {pin.partition("-")[0] for pin in with_gpu - plain} == {"nvidia"}


@pytest.mark.slow
@pytest.mark.parametrize("service", BOTH)
def test_a_gpu_image_has_the_libraries_of_cuda_that_the_engine_looks_for(service: str) -> None:
    python = make_venv(SERVICES / service / "requirements.txt")
    (engine,) = python.parents[1].glob(
        "lib/python3*/site-packages/ctranslate2.libs/libctranslate2*"
    )
    found = set(re.findall(rb"lib(?:cu|nv)[a-zA-Z_]+\.so\.\d+", engine.read_bytes()))
    wanted = {name.decode() for name in found} - {OF_THE_DRIVER}
    asked = (SERVICES / service / "requirements-gpu.in").read_text(encoding="utf-8")
    brought = {BROUGHT_BY[name] for name in re.findall(r"^(nvidia-[\w-]+)==", asked, re.MULTILINE)}
    assert brought == wanted


@pytest.mark.slow
@pytest.mark.parametrize("service", BOTH)
def test_a_gpu_counts_in_16_bits_with_weights_of_8(service: str, tmp_path: Path) -> None:
    """int8_float16: compute capability 7.0 and above (CTranslate2's release notes, 2.3.0)."""
    python, model = make_tiny(service, tmp_path)
    script = f"""
import json, pathlib, sys
sys.path[:0] = {[str(SERVICES), str(SERVICES / service / "src")]!r}
folder = pathlib.Path({str(model)!r})
def tell(*_, **given):
    print(json.dumps(given))
{WHAT_THE_ENGINE_IS_ASKED[service]}
"""
    told = subprocess.run([str(python), "-c", script], check=True, capture_output=True, text=True)
    given = json.loads(told.stdout)
    assert (given["device"], given["compute_type"]) == ("cuda", "int8_float16")


@pytest.mark.slow
@pytest.mark.parametrize("service", BOTH)
def test_a_worker_whose_gpu_is_not_there_takes_no_job(service: str, tmp_path: Path) -> None:
    python, model = make_tiny(service, tmp_path)
    hidden = {"CUDA_VISIBLE_DEVICES": "", "DEVICE": "cuda"}
    with running_worker(service, python, model, tmp_path, **hidden) as worker:
        assert worker.process.wait(timeout=120) == 1
        assert '"outcome": "model-not-loaded"' in worker.log()
        assert "CUDA" in worker.log()


def pins_of(file: Path) -> set[str]:
    text = file.read_text(encoding="utf-8")
    return set(re.findall(r"^[a-z0-9_.-]+==\S+", text, re.MULTILINE))


def make_tiny(service: str, folder: Path) -> tuple[Path, Path]:
    """The worker's Python and its tiny model."""
    python = make_venv(SERVICES / service / "requirements.txt")
    model = folder / "model"
    maker = SERVICES / service / "tiny_model.py"
    subprocess.run([str(python), str(maker), str(model)], check=True)
    return python, model
