"""`serverless eval`: scores of outputs whose quality is known by how they were made."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from tests.podkit.commands.desk import failed
from tests.podkit.commands.serverless.shop import Shop
from tests.podkit.commands.serverless.test_json import DOCUMENTED
from tests.podkit.commands.test_documented_json import field_names

FRENCH = [
    "Le marché ouvre à huit heures du matin.",
    "Les enfants vont à l'école avec leurs livres.",
    "Il pleut beaucoup cette nuit dans le village.",
]
SHOUTED = [sentence.upper() for sentence in FRENCH]
"""Stands for another language, so that no test has to know one."""
PAIR = ("--from", "fra_Latn", "--to", "mos_Latn")


def shout(given: Any) -> dict[str, Any]:
    """A service that translates perfectly from French, and gives the source back to it."""
    if given["src_lang"] == "fra_Latn":
        return {"output": {"translations": [text.upper() for text in given["text"]]}}
    return {"output": {"translations": given["text"]}}


@pytest.fixture
def served(shop: Shop) -> Shop:
    shop.cloud.make()
    shop.cloud.answers = shout
    rows = [f"{one}\t{other}" for one, other in zip(FRENCH, SHOUTED, strict=True)]
    (shop.root / "pairs.tsv").write_text("\n".join([*rows, ""]))
    return shop


def tsv(shop: Shop) -> tuple[str, ...]:
    return ("eval", "--tsv", str(shop.root / "pairs.tsv"), *PAIR)


def test_a_perfect_direction_scores_100_and_one_that_changes_nothing_little(served: Shop) -> None:
    told = served.done(*tsv(served), "--json").json
    there, back = told["scores"]
    assert (there["way"], there["score"], there["cases"]) == ("fra_Latn-mos_Latn", 100, 3)
    assert there["beside"]["bleu"] == 100
    assert "nc:6|nw:2" in there["signature"]
    assert back["score"] < 30
    kept = (Path(told["kept"]) / "fra_Latn-mos_Latn.jsonl").read_text().splitlines()
    assert json.loads(kept[0]) == {"given": FRENCH[0], "wanted": SHOUTED[0], "got": SHOUTED[0]}


def test_a_score_below_the_floor_fails_and_its_outputs_are_kept(served: Shop) -> None:
    ended = failed(served.run, 1, "serverless", *tsv(served), "--floor", "40", "--json")
    assert "below the floor of 40: mos_Latn-fra_Latn" in ended.err
    assert len(ended.json["scores"]) == 2
    assert served.done(*tsv(served), "--floor", "40", "--one-way")


def test_two_releases_are_compared_on_the_same_inputs(served: Shop) -> None:
    before = served.done(*tsv(served), "--one-way", "--json").json["kept"]

    def worse(given: Any) -> dict[str, Any]:
        said = shout(given)
        said["output"]["translations"][1] = "?"
        return said

    served.cloud.answers = worse
    ended = served.done(*tsv(served), "--one-way", "--against", before, "--json")
    (changed,) = ended.json["changed"]
    assert (changed["cases"], changed["share"]) == (3, 0.3333)
    assert changed["difference"] < 0
    assert changed["examples"] == [[SHOUTED[1], "?"]]
    assert ended.json["kept"] != before
    assert field_names(ended.json) <= DOCUMENTED


def test_a_job_without_an_output_counts_as_wrong_and_is_told(served: Shop) -> None:
    served.cloud.answers = lambda _: {"error": "too long"}
    ended = served.done(*tsv(served), "--one-way", "--json")
    assert ended.json["scores"][0]["score"] == 0
    assert "counted as wrong" in ended.err


def test_flores_is_read_as_its_publisher_packs_it(served: Shop) -> None:
    folder = served.root / "flores200_dataset/devtest"
    folder.mkdir(parents=True)
    (folder / "fra_Latn.devtest").write_text("\n".join(FRENCH))
    (folder / "mos_Latn.devtest").write_text("\n".join(SHOUTED))
    asked = ("eval", "--flores", str(folder), *PAIR, "--limit", "2", "--json")
    assert [score["cases"] for score in served.done(*asked).json["scores"]] == [2, 2]
    (folder / "mos_Latn.devtest").write_text("ONE")
    assert "3 sentences" in failed(served.run, 2, "serverless", *asked).err


def test_the_words_of_recordings_are_counted_as_they_are_heard(served: Shop) -> None:
    folder = served.root / "recordings"
    folder.mkdir()
    for name, words in (("a", "Il est huit heures."), ("b", "Bonne nuit, à demain !")):
        (folder / f"{name}.wav").write_bytes(name.encode())
        (folder / f"{name}.txt").write_text(words)

    def hear(given: Any) -> dict[str, Any]:
        said = {b"a": "il est huit heures", b"b": "bonne nuit à deux mains"}
        return {"output": {"text": said[base64.b64decode(given["audio_base64"])]}}

    served.cloud.answers = hear
    told = served.done("eval", "--recordings", str(folder), "--json").json
    (score,) = told["scores"]
    assert (score["name"], score["cases"], score["beside"]["wer"]) == ("words", 2, 0.25)
    assert score["score"] == 75


def test_a_voice_is_heard_by_a_transcription_service(served: Shop) -> None:
    listener = served.cloud.make("ears")
    (served.root / "sentences.txt").write_text("\n".join(FRENCH))

    def say_or_hear(given: Any) -> dict[str, Any]:
        if "text" in given:
            sound = base64.b64encode(given["text"].encode()).decode()
            return {"output": {"audio_base64": sound}}
        return {"output": {"text": base64.b64decode(given["audio_base64"]).decode()}}

    served.cloud.answers = say_or_hear
    asked = ("eval", "--sentences", str(served.root / "sentences.txt"))
    told = served.done(*asked, "translation_endpoint", "--through", listener, "--json").json
    assert (told["scores"][0]["way"], told["scores"][0]["score"]) == ("text-speech-text", 100)
    assert "--through" in failed(served.run, 2, "serverless", *asked).err


@pytest.mark.parametrize(
    ("text", "words"), [("one column\n", "line 1"), ("\n", "nothing"), ("a\tb\n\tc\n", "line 2")]
)
def test_a_file_of_pairs_that_cannot_be_is_refused_with_its_lines(
    served: Shop, text: str, words: str
) -> None:
    (served.root / "pairs.tsv").write_text(text)
    assert words in failed(served.run, 2, "serverless", *tsv(served)).err


def test_what_is_to_be_compared_is_asked_for(served: Shop) -> None:
    assert "--tsv" in failed(served.run, 2, "serverless", "eval").err
    (served.root / "test_input.json").write_text('{"input": {"n": 1}}')
    asked = ("serverless", "eval", "--tsv", str(served.root / "pairs.tsv"))
    assert "--from" in failed(served.run, 2, *asked).err
    hint = failed(served.run, 2, *asked, *PAIR, "--against", str(served.root)).err
    assert "no folder that an evaluation kept" in hint
