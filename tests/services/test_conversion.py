"""From a checkpoint as Hugging Face's library writes it to the worker's model: the same tokens
come out.

Needs torch: the CPU build where pip is shown one, or else gigabytes of CUDA that nothing here uses.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from .workers import ROOT, SERVICES

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def converting_python() -> Path:
    """Python of a venv with what the image's build converts with, made once."""
    folder = ROOT / ".podkit/services/convert"
    python = folder / "bin/python"
    if not (folder / "ready").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        wanted = SERVICES / "translation/requirements-convert.in"
        install = [str(python), "-m", "pip", "install", "--quiet", "--requirement", str(wanted)]
        subprocess.run(install, check=True)
        (folder / "ready").touch()
    return python


def test_a_converted_checkpoint_gives_the_tokens_that_it_gave_before(
    converting_python: Path, tmp_path: Path
) -> None:
    snapshot = tmp_path / "snapshot"
    target = tmp_path / "model"
    script = HERE / "checkpoint_script.py"
    run(converting_python, script, "write", snapshot)
    run(converting_python, SERVICES / "translation/convert.py", target, snapshot)
    card = json.loads((target / "model.json").read_text())
    assert card["quantization"] == "int8"
    assert card["files"]["model.bin"]["sha256"]
    compared = json.loads(run(converting_python, script, "compare", snapshot, target))
    assert compared["torch"] == compared["converted"]
    assert all(len(tokens) > 1 for tokens in compared["torch"])


def test_a_checkpoint_without_the_languages_of_model_env_is_not_converted(
    converting_python: Path, tmp_path: Path
) -> None:
    snapshot = tmp_path / "snapshot"
    run(converting_python, HERE / "checkpoint_script.py", "write-without-languages", snapshot)
    done = subprocess.run(
        [
            str(converting_python),
            str(SERVICES / "translation/convert.py"),
            str(tmp_path / "model"),
            str(snapshot),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "mos_Latn" in done.stderr or "tokens were converted" in done.stderr


def run(python: Path, script: Path, *arguments: object) -> str:
    done = subprocess.run(
        [str(python), str(script), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout
