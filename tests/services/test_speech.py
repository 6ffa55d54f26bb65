"""The speech worker: the real handler, SDK and engine, and a voice that gives each letter a
tone.

The tones show which letters were spoken, in which order; that a real voice is understood they do
not show.
"""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from .workers import SERVICES, Worker, make_venv

pytestmark = pytest.mark.slow
SERVICE = SERVICES / "speech"
BLANK = 100
"""Hz of what the engine puts between letters."""
LETTERS = "_ '-abcdefghijklmnopqrstuvwxyzàâçèéêëîïôùûüœãẽĩõũ"


@pytest.fixture(scope="module")
def python() -> Path:
    return make_venv(SERVICE / "requirements.txt", SERVICE / "requirements-tiny.txt")


def speak(worker: Worker, **given: object) -> dict[str, Any]:
    answer = worker.api.run(given)
    assert "output" in answer, answer
    output: dict[str, Any] = answer["output"]
    return output


def facts(python: Path, folder: Path, spoken: dict[str, Any]) -> dict[str, Any]:
    path = folder / f"speech.{spoken['format']}"
    path.write_bytes(base64.b64decode(spoken["audio_base64"]))
    script = Path(__file__).with_name("sound_script.py")
    told = subprocess.run([str(python), str(script), str(path)], capture_output=True, check=True)
    found: dict[str, Any] = json.loads(told.stdout)
    found["tones"] = [tone for tone in found["tones"] if tone > BLANK]
    return found


def tones_of(text: str) -> list[int]:
    return [200 + 40 * LETTERS.index(letter) for letter in text if letter not in " _"]


def test_a_text_is_spoken_letter_by_letter_and_says_which_voice_spoke(
    worker: Worker, python: Path, tmp_path: Path
) -> None:
    spoken = speak(worker, text="Ne y windiga", format="wav")
    heard = facts(python, tmp_path, spoken)
    assert heard["tones"] == tones_of("neywindiga")
    assert spoken["sentences"] == ["ne y windiga"]
    assert heard["seconds"] == pytest.approx(spoken["duration"], abs=0.01)
    assert heard["rate"] == spoken["sample_rate"] == 16_000
    assert spoken["model"]["repo"] == "podkit/sandbox-tones"


@pytest.mark.parametrize(("name", "container"), [("wav", "WAV"), ("mp3", "MP3"), ("ogg", "OGG")])
def test_each_format_holds_the_whole_recording(
    worker: Worker, python: Path, tmp_path: Path, name: str, container: str
) -> None:
    heard = facts(python, tmp_path, speak(worker, text="Bonjour. " * 20, format=name))
    assert heard["format"] == container
    assert heard["seconds"] == pytest.approx(20 * (17 * 0.05 + 0.35), abs=0.2)


def test_sentences_are_joined_without_a_click_and_never_too_loud(
    worker: Worker, python: Path, tmp_path: Path
) -> None:
    heard = facts(python, tmp_path, speak(worker, text="Aa. Bb! Cc ?\n\nDd.", format="wav"))
    assert heard["tones"] == tones_of("aabbccdd")
    assert heard["jump_at_silence"] < 0.02
    assert heard["ends"] < 0.001
    assert heard["loudest"] <= 1.0


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("12 chèvres", "douze chèvres"),
        ("1 250 000 FCFA", "un million deux cent cinquante mille francs c f a"),
        ("3,5 km", "trois virgule cinq kilomètres"),
        ("-5 °C", "moins cinq degrés"),
        ("80 %", "quatre-vingts pour cent"),
        ("à 8 h 30", "à huit heures trente"),
        ("à 1h", "à une heure"),
        ("le 1/05/2024", "le premier mai deux mille vingt-quatre"),
        ("le 21e jour", "le vingt et unième jour"),
        ("la 1re fois", "la première fois"),
        ("M. Zongo et Mme Kaboré", "monsieur zongo et madame kaboré"),
        ("art. 5, n° 7", "article cinq numéro sept"),
        ("le code 007", "le code zéro zéro sept"),
        ("MARCHÉ d\u2019ici", "marché d'ici"),
    ],
)
def test_what_french_writes_short_is_read_as_words(worker: Worker, text: str, read: str) -> None:
    assert speak(worker, text=text)["sentences"] == [read]


def test_numbers_may_be_left_alone_and_lost_letters_are_counted(worker: Worker) -> None:
    spoken = speak(worker, text="Ω 12 b", read_numbers=False)
    assert spoken["sentences"] == ["b"]
    assert spoken["warnings"] == [{"code": "unknown-letters", "count": 3}]
    assert speak(worker, text="douze")["warnings"] == []


def test_a_long_sentence_is_spoken_in_parts_and_whole(worker: Worker) -> None:
    text = ("la pluie tombe sur le village, " * 30).strip(", ")
    parts = speak(worker, text=text)["sentences"]
    assert len(parts) > 2
    assert all(len(part) <= 300 for part in parts)
    assert " ".join(parts) == text.replace(",", "")


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"txet": "a"}, "bad-input"),
        ({"text": " \n"}, "bad-input"),
        ({"text": 5}, "bad-input"),
        ({"text": "a", "format": "aiff"}, "bad-input"),
        ({"text": "a", "speed": 3}, "bad-input"),
        ({"text": "a", "speed": True}, "bad-input"),
        ({"text": "a" * 5_001}, "too-long"),
        ({"text": "ΩΩΩ"}, "not-speakable"),
        ({"text": "a" * 4_900, "format": "wav"}, "too-long"),
    ],
)
def test_what_cannot_be_spoken_is_refused_with_a_code(
    worker: Worker, given: dict[str, Any], code: str
) -> None:
    answer = worker.api.run(given)
    assert "output" not in answer
    assert json.loads(answer["error"])["code"] == code
    assert worker.is_alive()


def test_the_log_tells_of_jobs_and_nothing_of_their_texts(worker: Worker) -> None:
    speak(worker, text="Zaksoba confie un secret Ω")
    log = worker.log()
    assert '"outcome": "done", "seconds"' in log
    assert "zaksoba" not in log.casefold()
    assert "codepoint" not in log


def test_the_image_test_input_is_answered_without_the_platform(python: Path, model: Path) -> None:
    ended = subprocess.run(
        [str(python), "src/handler.py"],
        cwd=SERVICE,
        env={"PATH": "/usr/bin:/bin", "MODEL_DIR": str(model), "HOME": str(model)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert '"outcome": "done"' in ended.stdout
