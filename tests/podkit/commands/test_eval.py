"""What `eval` sends, prints and ends with; the pod is one that answers what a test tells it to."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
import requests_mock as mocking
from click.testing import CliRunner, Result

from podkit import ROOT
from podkit.commands.app import App
from podkit.commands.cli import cli
from podkit.commands.result import failure
from podkit.errors import PodkitError
from tests.podkit.samples import API, CLIENT_KEY, KEY, POD

CHAT = f"https://{POD['id']}-8000.proxy.runpod.net/v1/chat/completions"
FRONT_MATTER = "---\nprimary_language: en\nis_table: False\n---\n"
TEXT = (
    "one two three four five six seven eight "
    "nine ten eleven twelve thirteen fourteen fifteen sixteen"
)
Evaluate = Callable[..., Result]


@pytest.fixture
def evaluate(api: mocking.Mocker, tmp_path: Path) -> Evaluate:
    """Runs `eval` on two images whose texts are TEXT and "one two three four", with these answers
    of the pod.
    """
    api.get(f"{API}/pods", json={"pods": [POD]})
    for name, text in {"long": TEXT, "short": "one two three four"}.items():
        (tmp_path / f"{name}.png").write_bytes(b"\x89PNG")
        (tmp_path / f"{name}.txt").write_text(text)

    def run(*answers: str, options: tuple[str, ...] = (), **refusal: Any) -> Result:
        pieces = [json.dumps({"choices": [{"delta": {"content": answer}}]}) for answer in answers]
        api.post(
            CHAT, [{"text": f"data: {piece}\n\ndata: [DONE]\n\n"} for piece in pieces] or [refusal]
        )
        ended = CliRunner().invoke(
            cli,
            ["eval", "--folder", str(tmp_path), *options],
            obj=App(ROOT, {"RUNPOD_API_KEY": KEY}),
        )
        assert not [
            secret for secret in (KEY, CLIENT_KEY) if secret in ended.output + str(ended.exception)
        ]
        return ended

    return run


def test_the_table_has_a_row_a_case_and_one_for_all_of_them(evaluate: Evaluate) -> None:
    ended = evaluate(FRONT_MATTER + TEXT, "One two three for")
    assert ended.exception is None, ended.exception
    assert ended.stdout.splitlines() == [
        "CASE   WORDS  WER    CER",
        "long   16     0.0%   0.0%",
        "short  4      25.0%  5.6%",
        "all    20     5.0%   0.9%",
    ]
    *progress, verdict = ended.stderr.splitlines()
    assert progress == ["1 of 2: long", "2 of 2: short"]
    assert verdict == "the OCR works, but not well: 5.0% of the words are wrong"


def test_each_page_is_one_question_that_leaves_nothing_to_chance(
    evaluate: Evaluate, api: mocking.Mocker
) -> None:
    assert "the OCR works: 0.0%" in evaluate(TEXT, "one two three four").stderr
    sent = [request.json() for request in api.request_history if request.url == CHAT]
    assert [(one["model"], one["temperature"], one["max_tokens"]) for one in sent] == [
        ("olmocr", 0, 4096)
    ] * 2
    kinds = [[part["type"] for part in one["messages"][0]["content"]] for one in sent]
    assert kinds == [["text", "image_url"]] * 2


def test_above_ten_percent_the_command_fails_after_its_table(evaluate: Evaluate) -> None:
    ended = evaluate(TEXT, "one two")
    assert ended.exception is None, "10 % are still allowed"
    ended = evaluate(TEXT, "one")
    assert ended.stdout.splitlines()[-1].startswith("all    20     15.0%")
    assert isinstance(ended.exception, PodkitError)
    assert ended.exception.exit_code == 1
    assert ended.exception.message == "the OCR is not as it should be: 15.0% of the words are wrong"


@pytest.mark.parametrize(("short", "ok"), [("one two three four", True), ("", False)])
def test_programs_get_every_figure_whether_it_is_good_or_bad(
    evaluate: Evaluate, short: str, ok: bool
) -> None:
    ended = evaluate(TEXT, short, options=("--json",))
    printed = ended.stdout
    if not ok:
        assert isinstance(ended.exception, PodkitError)
        printed = failure(ended.exception)
    shown = json.loads(printed)
    wrong = 0.0 if ok else 1.0
    long = {"name": "long", "words": 16, "wer": 0.0, "cer": 0.0}
    assert (shown["ok"], shown["model"]) == (ok, "olmocr")
    assert shown["cases"] == [long, {"name": "short", "words": 4, "wer": wrong, "cer": wrong}]
    assert (shown["total"]["name"], shown["total"]["words"], shown["total"]["wer"]) == (
        "all",
        20,
        wrong / 5,
    )


REFUSALS: dict[str, dict[str, Any]] = {
    r"refuses \(401\)": {
        "status_code": 401,
        "json": {"error": {"message": "The API key is wrong."}},
    },
    r"refuses \(404\)": {
        "status_code": 404,
        "json": {"error": {"message": "The model does not exist."}},
    },
    r"not up \(HTTP 502\)": {"status_code": 502, "text": "<html>Bad gateway</html>"},
    "does not answer": {"exc": requests.ConnectionError},
    "broke off": {"text": "data: {}\n\n"},
}


@pytest.mark.parametrize("what", REFUSALS)
def test_a_pod_that_does_not_answer_is_no_score(evaluate: Evaluate, what: str) -> None:
    ended = evaluate(**REFUSALS[what])
    assert ended.stdout == ""
    assert isinstance(ended.exception, PodkitError)
    assert re.search(what, ended.exception.message)
    assert ended.exception.hint
