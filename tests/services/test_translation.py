"""The translation worker: the real handler, SDK and engine, and a model with random weights.

What that model says means nothing; no test here takes it for a translation.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .workers import SERVICES, Worker, make_venv, running_worker

pytestmark = pytest.mark.slow
SERVICE = SERVICES / "translation"
FRENCH_TO_MOORE = {"src_lang": "fra_Latn", "tgt_lang": "mos_Latn"}
SECRET = "Zaksoba confie un secret"


@pytest.fixture(scope="module")
def python() -> Path:
    return make_venv(SERVICE / "requirements.txt")


def translate(worker: Worker, **given: object) -> dict[str, Any]:
    output: dict[str, Any] = worker.api.run({**FRENCH_TO_MOORE, **given})["output"]
    return output


def refusal(worker: Worker, **given: object) -> dict[str, Any]:
    answer = worker.api.run(given)
    assert "output" not in answer
    told: dict[str, Any] = json.loads(answer["error"])
    return told


def test_one_text_gives_one_translation_and_says_which_model_spoke(worker: Worker) -> None:
    answer = translate(worker, text="Bonjour à tous.")
    assert len(answer["translations"]) == 1
    assert answer["translations"][0].strip()
    assert answer["sentences"] == 1
    assert (answer["src_lang"], answer["tgt_lang"]) == ("fra_Latn", "mos_Latn")
    assert answer["model"] == {
        "repo": "podkit/sandbox-random",
        "revision": "0" * 40,
        "quantization": "int8",
    }


def test_several_texts_keep_their_number_and_order(worker: Worker) -> None:
    texts = ["Le marché ouvre.", "La pluie tombe.", "", "Les enfants lisent."]
    together = translate(worker, text=texts, beam_size=1)["translations"]
    alone = [translate(worker, text=text, beam_size=1)["translations"][0] for text in texts]
    assert together == alone
    assert len(set(together)) == 4


def test_a_worker_takes_sixteen_jobs_at_once(worker: Worker) -> None:
    jobs = [
        worker.api.submit({**FRENCH_TO_MOORE, "text": f"Le marché ouvre à {number} heures."})
        for number in range(32)
    ]
    answers = [worker.api.wait(job)["output"]["translations"] for job in jobs]
    assert all(answer[0].strip() for answer in answers)
    assert 16 in worker.api.seen.batch_sizes
    assert 1 < worker.api.seen.most_in_flight <= 17  # the SDK asks for more before it counts


def test_blank_lines_indents_and_blank_texts_come_back_as_they_were(worker: Worker) -> None:
    text = "  Le marché ouvre. La pluie tombe.\n\n \t\n\tLes enfants lisent.\r\n\r\n-- 🙂 --\n"
    answer = translate(worker, text=[text, " \n ", ""])
    first, second, third = answer["translations"]
    assert (second, third) == (" \n ", "")
    assert re.fullmatch(r"  \S.*\n\n \t\n\t\S.*\r\n\r\n-- 🙂 --\n", first)
    assert answer["sentences"] == 3


def test_an_abbreviation_ends_no_sentence(worker: Worker) -> None:
    text = "M. Kaboré et Mme. Sawadogo lisent l'art. 5 de la loi. Le Dr. Zongo dort."
    assert translate(worker, text=text)["sentences"] == 2


def test_without_splitting_a_line_is_one_sentence(worker: Worker) -> None:
    answer = translate(worker, text="La pluie tombe. Il dort.\nElle lit. Il dort.", split=False)
    assert answer["sentences"] == 2


def test_a_sentence_too_long_for_the_model_is_cut_into_parts_and_that_is_said(
    worker: Worker,
) -> None:
    long = "la pluie tombe, " * 60 + "et le vent souffle."
    answer = translate(worker, text=["Il dort.", long])
    assert answer["sentences"] > 3
    cut = [each for each in answer["warnings"] if each["code"] == "long-sentence-cut"]
    assert {each["text"] for each in cut} == {1}
    unbroken = translate(worker, text="pluie" * 400)
    assert "long-sentence-cut" in {each["code"] for each in unbroken["warnings"]}


def test_a_loop_in_the_output_is_translated_again_and_said(worker: Worker) -> None:
    """Random weights turn in circles at once, so this model shows it in every longer sentence."""
    answer = translate(worker, text="Nous cultivons le mil, le sorgho et le maïs.")
    assert "repetition" in {each["code"] for each in answer["warnings"]}


def test_the_models_marks_are_no_part_of_a_translation(worker: Worker) -> None:
    texts = [f"Les enfants lisent {number} livres et jouent." for number in range(40)]
    words = " ".join(translate(worker, text=texts)["translations"])
    assert not re.search(r"<\w+>|\w{3}_Latn|⁇", words)


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"src_lang": "fr", "tgt_lang": "MOORE"}, ("fra_Latn", "mos_Latn")),
        ({"src_lang": "mooré", "tgt_lang": "fra"}, ("mos_Latn", "fra_Latn")),
        ({"src_lang": "moo_Latn", "tgt_lang": "en"}, ("mos_Latn", "eng_Latn")),
        ({"src_lang": "moor_Latn", "tgt_lang": "fr"}, ("mos_Latn", "fra_Latn")),
    ],
)
def test_aliases_stand_for_the_codes_that_the_model_has(
    worker: Worker,
    given: dict[str, str],
    code: tuple[str, str],
) -> None:
    answer = translate(worker, text="Bonjour.", **given)
    assert (answer["src_lang"], answer["tgt_lang"]) == code


def test_a_language_that_the_model_lacks_is_refused_with_those_it_has(worker: Worker) -> None:
    told = refusal(worker, text="Bonjour.", src_lang="fra_Latn", tgt_lang="bam_Latn")
    assert told["code"] == "unsupported-language"
    assert told["languages"] == ["eng_Latn", "fra_Latn", "mos_Latn"]
    assert "moore" in told["aliases"]


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"txet": "Bonjour."}, "bad-input"),
        ({"text": None}, "bad-input"),
        ({"text": []}, "bad-input"),
        ({"text": ["a", 1]}, "bad-input"),
        ({"text": "Bonjour.", "src_lang": 1}, "bad-input"),
        ({"text": "Bonjour.", "beam_size": 6}, "bad-input"),
        ({"text": "Bonjour.", "beam_size": True}, "bad-input"),
        ({"text": "Bonjour.", "split": "no"}, "bad-input"),
        ({"text": "Bonjour.", "tgt_lang": "fr"}, "same-language"),
        ({"text": ["a"] * 300}, "too-long"),
        ({"text": "a" * 200_000}, "too-long"),
        ({"text": "Il dort. " * 2_500}, "too-long"),
    ],
)
def test_what_cannot_be_done_is_refused_with_a_code_and_the_worker_goes_on(
    worker: Worker,
    given: dict[str, Any],
    code: str,
) -> None:
    told = refusal(worker, **{**FRENCH_TO_MOORE, **given})
    assert told["code"] == code
    assert told["message"]
    assert worker.is_alive()


@pytest.mark.parametrize("given", [["a list"], "a string", 7])
def test_an_input_that_is_no_object_is_refused(worker: Worker, given: object) -> None:
    answer = worker.api.run(given)
    assert json.loads(answer["error"])["code"] == "bad-input"


def test_a_cancelled_job_ends_and_others_go_on(worker: Worker) -> None:
    sentences = "".join(f"Les {number} enfants vont à l'école. " for number in range(1_500))
    book = worker.api.submit({**FRENCH_TO_MOORE, "text": sentences, "beam_size": 5})
    worker.api.wait_until_taken(book)
    greeting = worker.api.submit({**FRENCH_TO_MOORE, "text": "Bonjour.", "beam_size": 1})
    assert worker.api.wait(greeting)["output"]["translations"]
    worker.api.cancel(book)
    for _ in range(100):
        assert translate(worker, text="Bonjour à tous.")["translations"]
        if '"outcome": "cancelled"' in worker.log():
            return
    raise AssertionError("the job was not cancelled")


def test_the_log_tells_of_jobs_and_nothing_of_their_texts(worker: Worker) -> None:
    translated = translate(worker, text=SECRET)["translations"][0]
    refusal(worker, text=SECRET, src_lang="fr", tgt_lang="fr")
    refusal(worker, text=SECRET, **{SECRET: 1})
    log = worker.log()
    assert '"outcome": "done", "texts": 1, "sentences": 1' in log
    assert "Zaksoba" not in log
    assert translated not in log


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: (folder / "model.json").unlink(), "model.json"),
        (lambda folder: (folder / "model.bin").write_bytes(b"short"), "should have"),
        (lambda folder: replace_in_vocabulary(folder, "mos_Latn", "mos_latn"), "mos_Latn"),
    ],
)
def test_a_worker_whose_model_is_broken_takes_no_job(
    python: Path, model: Path, tmp_path: Path, damage: Callable[[Path], object], said: str
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(model, folder)
    damage(folder)
    with running_worker("translation", python, folder, tmp_path) as worker:
        assert worker.process.wait(timeout=60) == 1
        assert said in worker.log()
        assert worker.api.seen.most_in_flight == 0


def replace_in_vocabulary(folder: Path, old: str, new: str) -> None:
    path = folder / "shared_vocabulary.json"
    path.write_text(path.read_text().replace(old, new))


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
