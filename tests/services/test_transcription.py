"""The transcription worker: the real handler, SDK, engine and voice detector, and a Whisper with
random weights.

Its words mean nothing; what is compared is form and time.
"""

from __future__ import annotations

import base64
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from .spoken import seconds_of, speak
from .workers import SERVICES, Worker, make_venv

pytestmark = pytest.mark.slow
SERVICE = SERVICES / "transcription"
SENTENCE = "Le marché du village ouvre à huit heures, et les enfants vont à l'école."


@pytest.fixture(scope="module")
def python() -> Path:
    return make_venv(SERVICE / "requirements.txt")


@pytest.fixture(scope="module")
def speech() -> bytes:
    """Three seconds of silence, a sentence, three seconds of silence."""
    return speak(SENTENCE, before=3, after=3)


def hear(worker: Worker, audio: bytes, **given: object) -> dict[str, Any]:
    encoded = base64.b64encode(audio).decode()
    answer = worker.api.run({"audio_base64": encoded, "beam_size": 1, **given}, timeout=120)
    assert "output" in answer, answer
    output: dict[str, Any] = answer["output"]
    return output


def refusal(worker: Worker, **given: object) -> dict[str, Any]:
    answer = worker.api.run(given)
    assert "output" not in answer
    told: dict[str, Any] = json.loads(answer["error"])
    return told


def test_speech_is_heard_where_it_is_and_silence_is_not(worker: Worker, speech: bytes) -> None:
    heard = hear(worker, speech)
    length = seconds_of(speech)
    assert heard["duration"] == pytest.approx(length, abs=0.01)
    assert heard["segments"]
    assert heard["text"] == " ".join(segment["text"] for segment in heard["segments"])
    for segment in heard["segments"]:
        assert 2.0 < segment["start"] <= segment["end"] < length - 2.0
    assert heard["model"]["repo"] == "podkit/sandbox-random"


def test_nothing_is_kept_for_a_call_to_the_maker_of_the_voice_detector(
    worker: Worker, speech: bytes
) -> None:
    hear(worker, speech)
    assert list(worker.home.rglob("Microsoft")) == []


def test_a_language_is_detected_unless_it_is_given(worker: Worker, speech: bytes) -> None:
    """The tiny model takes all speech for French, and says other words under another language."""
    detected = hear(worker, speech)
    assert detected["language"] == "fr"
    assert 0.5 < detected["language_probability"] < 1
    given = hear(worker, speech, language="français")
    assert (given["language"], given["language_probability"]) == ("fr", 1)
    assert given["segments"] == detected["segments"]
    english = hear(worker, speech, language="en")
    assert (english["language"], english["language_probability"]) == ("en", 1)
    assert english["segments"] != detected["segments"]


def test_a_recording_of_several_windows_is_heard_to_its_end(worker: Worker) -> None:
    """Whisper hears 30 seconds at once."""
    audio = speak(f"{SENTENCE} " * 24)
    assert seconds_of(audio) > 60
    heard = hear(worker, audio)
    starts = [segment["start"] for segment in heard["segments"]]
    assert starts == sorted(starts)
    assert starts[-1] > 50
    texts = [segment["text"] for segment in heard["segments"]]
    fours = zip(texts, texts[1:], texts[2:], texts[3:], strict=False)
    assert not [four for four in fours if len(set(four)) == 1]


def test_silence_has_no_text(worker: Worker) -> None:
    heard = hear(worker, speak("", after=4), subtitles="srt")
    assert (heard["text"], heard["segments"], heard["srt"]) == ("", [], "")


@pytest.mark.parametrize("ending", ["mp3", "m4a", "ogg", "flac", "webm"])
def test_every_format_is_heard(
    worker: Worker, python: Path, speech: bytes, tmp_path: Path, ending: str
) -> None:
    source = tmp_path / "speech.wav"
    target = tmp_path / f"speech.{ending}"
    source.write_bytes(speech)
    script = Path(__file__).with_name("encode_script.py")
    subprocess.run([str(python), str(script), str(source), str(target)], check=True)
    heard = hear(worker, target.read_bytes())
    assert heard["duration"] == pytest.approx(seconds_of(speech), abs=0.15)
    assert heard["segments"]


def test_words_have_times_within_their_segment(worker: Worker, speech: bytes) -> None:
    words = []
    for segment in hear(worker, speech, words=True)["segments"]:
        words += segment.get("words", [])
    assert words
    times = [word["start"] for word in words]
    assert times == sorted(times)
    assert all(0 <= word["probability"] <= 1 for word in words)


def test_subtitles_come_as_srt_or_vtt(worker: Worker, speech: bytes) -> None:
    clock = r"\d\d:\d\d:\d\d[,.]\d{3}"
    srt = hear(worker, speech, subtitles="srt")["srt"]
    assert re.match(rf"1\n{clock} --> {clock}\n.+\n", srt)
    vtt = hear(worker, speech, subtitles="vtt")["vtt"]
    assert re.match(rf"WEBVTT\n\n{clock} --> {clock}\n.+\n", vtt)


def test_progress_is_told_before_the_result_and_never_after(worker: Worker, speech: bytes) -> None:
    encoded = base64.b64encode(speech).decode()
    for _ in range(3):  # the SDK's thread that tells it may stall longer than the result waits
        job = worker.api.submit({"audio_base64": encoded, "beam_size": 1})
        worker.api.wait(job)
        told = list(worker.api.seen.progress[job])
        silent = worker.api.submit({"audio_base64": encoded, "beam_size": 1, "progress": False})
        worker.api.wait(silent)
        assert worker.api.seen.progress[silent] == []
        if told and worker.api.seen.progress[job] == told:
            break
    assert told
    assert 0 < told[0]["progress"] <= 1
    assert worker.api.seen.progress[job] == told


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"language": "en"}, "bad-input"),
        ({"audio_base64": "not base64!"}, "bad-input"),
        ({"audio_base64": "AAAA", "audio_url": "https://example.org/a.wav"}, "bad-input"),
        ({"audio_base64": "AAAA", "langauge": "en"}, "bad-input"),
        ({"audio_base64": "AAAA", "beam_size": 11}, "bad-input"),
        ({"audio_base64": "AAAA", "subtitles": "sub"}, "bad-input"),
        ({"audio_base64": "AAAA", "language": "zz"}, "unsupported-language"),
        ({"audio_base64": "AAAA", "language": "moore"}, "unsupported-language"),
        ({"audio_base64": "AAAA"}, "bad-audio"),
        (
            {"audio_base64": base64.b64encode(b"#EXTM3U\nfile:///etc/passwd\n").decode()},
            "bad-audio",
        ),
        ({"audio_base64": base64.b64encode(b"RIFF\0\0\0\0WAVEfmt ").decode()}, "bad-audio"),
        ({"audio_url": "http://example.org/a.wav"}, "bad-url"),
        ({"audio_url": "file:///etc/passwd"}, "bad-url"),
        ({"audio_url": "https://127.0.0.1/a.wav"}, "bad-url"),
        ({"audio_url": "https://169.254.169.254/latest/meta-data"}, "bad-url"),
    ],
)
def test_what_cannot_be_heard_is_refused_with_a_code(
    worker: Worker, given: dict[str, Any], code: str
) -> None:
    told = refusal(worker, **given)
    assert told["code"] == code
    assert "passwd" not in told["message"]
    assert worker.is_alive()


def test_the_log_tells_of_jobs_and_nothing_of_what_was_said(worker: Worker, speech: bytes) -> None:
    heard = hear(worker, speech)
    log = worker.log()
    assert '"outcome": "done", "seconds"' in log
    assert heard["segments"][0]["text"] not in log


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
