"""From a checkpoint as Hugging Face's library writes it to the worker's model: the same tokens
come out, and the same words are heard.

Needs torch: the CPU build where pip is shown one, or else gigabytes of CUDA that nothing here uses.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path

import pytest

from podkit.lock import hold_lock

from .spoken import speak
from .workers import ROOT, SERVICES, make_venv, running_worker

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
HEARD = {
    "la pluie tombe sur le village": "fr",
    "nous marchons ensemble": "fr",
    "the rain falls": "en",
}
"""What is spoken, in which language, in words that tiny_model.py has."""


@pytest.fixture(scope="module")
def converting_python() -> Path:
    """Python of a venv with what the image's build converts with, made once."""
    folder = ROOT / ".podkit/services/convert"
    python = folder / "bin/python"
    with hold_lock(folder.with_suffix(".lock"), lambda: None):  # each worker of a run comes here
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


@pytest.mark.slow
def test_a_converted_whisper_hears_the_words_and_the_language_that_it_has_learnt(
    converting_python: Path, tmp_path: Path
) -> None:
    recordings = []
    for text, language in HEARD.items():
        file = tmp_path / f"{text}.wav"
        file.write_bytes(speak(text, voice=language))
        recordings.append({"file": str(file), "text": text, "language": language})
    worker_python = make_venv(SERVICES / "transcription/requirements.txt")
    tiny, snapshot, model = (tmp_path / name for name in ("tiny", "snapshot", "model"))
    run(worker_python, SERVICES / "transcription/tiny_model.py", tiny)
    script = HERE / "whisper_checkpoint_script.py"
    run(converting_python, script, tiny, snapshot, given=json.dumps(recordings))
    run(converting_python, SERVICES / "transcription/convert.py", model, snapshot)
    found = {}
    with running_worker("transcription", worker_python, model, tmp_path, THREADS="1") as worker:
        for recording in recordings:
            audio = base64.b64encode(Path(recording["file"]).read_bytes()).decode()
            output = worker.api.run({"audio_base64": audio}, timeout=120)["output"]
            found[output["text"]] = output["language"]
    assert found == HEARD


def run(python: Path, script: Path, *arguments: object, given: str = "") -> str:
    done = subprocess.run(
        [str(python), str(script), *map(str, arguments)],
        input=given,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout
