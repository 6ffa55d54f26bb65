"""`serverless test`: a service that keeps its promises, and services that break one each."""

from __future__ import annotations

import base64
import json
import signal
from collections.abc import Callable
from typing import Any

import pytest

from podkit.errors import Interrupted
from podkit.serverless.acceptance import kind_of
from tests.podkit.commands.desk import failed
from tests.podkit.commands.serverless.shop import Shop
from tests.podkit.commands.serverless.test_json import DOCUMENTED
from tests.podkit.commands.test_documented_json import field_names

MODEL = {"repo": "me/model", "revision": "0123"}
TRANSLATE = {"text": "Bonjour", "src_lang": "fra_Latn", "tgt_lang": "mos_Latn"}
TRANSCRIBE = {"audio_base64": base64.b64encode(b"RIFF").decode()}
SPEAK = {"text": "Bonjour"}
Answer = Callable[[dict[str, Any]], dict[str, Any]]


def refused(code: str) -> dict[str, Any]:
    return {"error": json.dumps({"code": code, "message": "no"})}


def translation(given: dict[str, Any]) -> dict[str, Any]:
    """A service that turns each text around."""
    if set(given) - {"text", "src_lang", "tgt_lang"}:
        return refused("bad-input")
    if given["tgt_lang"] == "zzz_Zzzz":
        return refused("unsupported-language")
    texts = [given["text"]] if isinstance(given["text"], str) else given["text"]
    turned = [text[::-1] for text in texts]
    sentences = sum(text.count(".") for text in texts)
    return {"output": {"translations": turned, "sentences": sentences, "model": MODEL}}


def transcription(given: dict[str, Any]) -> dict[str, Any]:
    if set(given) - {"audio_base64"}:
        return refused("bad-input")
    if given != TRANSCRIBE:
        return refused("bad-audio")
    segments = [{"start": 0.0, "end": 1.5, "text": "a"}, {"start": 1.5, "end": 2.0, "text": "b"}]
    return {"output": {"text": "a b", "segments": segments, "duration": 2.0, "model": MODEL}}


def speech(given: dict[str, Any]) -> dict[str, Any]:
    if set(given) - {"text", "format"} or not given["text"]:
        return refused("bad-input")
    sound = base64.b64encode(b"RIFF....WAVE").decode()
    return {"output": {"audio_base64": sound, "duration": 1.0, "model": MODEL}}


SERVICES: dict[str, tuple[dict[str, Any], Answer, int]] = {
    "translation": (TRANSLATE, translation, 11),
    "transcription": (TRANSCRIBE, transcription, 9),
    "speech": (SPEAK, speech, 9),
    "other": ({"n": 1}, lambda given: {"output": given}, 5),
}


def placed(shop: Shop, payload: dict[str, Any], answers: Callable[[Any], Any]) -> None:
    """An endpoint with this test input, whose workers say this."""
    shop.cloud.make(workers={"min": 0, "max": 3, "idleTimeout": 5})
    (shop.root / "test_input.json").write_text(json.dumps({"input": payload}))
    shop.cloud.answers = answers


@pytest.mark.parametrize("kind", list(SERVICES))
def test_a_service_that_keeps_its_promises_passes_every_check(shop: Shop, kind: str) -> None:
    payload, answers, checks = SERVICES[kind]
    placed(shop, payload, answers)
    *events, told = [json.loads(line) for line in shop.done("test", "--json").out.splitlines()]
    outcomes = {one["name"]: one["outcome"] for one in told["verdicts"]}
    assert set(outcomes.values()) <= {"ok", "skipped"}, told["verdicts"]
    assert {name for name, outcome in outcomes.items() if outcome == "skipped"} <= {"cancel"}
    assert (told["kind"], len(outcomes), len(events)) == (kind, checks, checks)
    assert kind_of(payload) == kind
    assert field_names(told) <= DOCUMENTED


def changed(**more: Any) -> Answer:
    """The translation service with another output."""

    def answer(given: dict[str, Any]) -> dict[str, Any]:
        said = translation(given)
        if "output" in said:
            said["output"] |= more
        return said

    return answer


def in_another_order(given: dict[str, Any]) -> dict[str, Any]:
    said = translation(given)
    if "output" in said:
        said["output"]["translations"].sort()
    return said


def never_refusing(given: dict[str, Any]) -> dict[str, Any]:
    fine = {name: given[name] for name in ("text", "src_lang")}
    return translation({**fine, "tgt_lang": "mos_Latn"})


BROKEN: dict[str, tuple[Answer, set[str]]] = {
    "loses one of a list": (changed(translations=["only"]), {"list"}),
    "mixes up a list": (in_another_order, {"list"}),
    "drops sentences": (changed(sentences=1), {"paragraph"}),
    "names no model": (changed(model={}), {"model"}),
    "takes any language": (never_refusing, {"unknown language", "unknown field"}),
}


@pytest.mark.parametrize(("answers", "names"), BROKEN.values(), ids=list(BROKEN))
def test_each_broken_promise_is_a_failed_check_of_its_own(
    shop: Shop, answers: Answer, names: set[str]
) -> None:
    placed(shop, TRANSLATE, answers)
    ended = failed(shop.run, 1, "serverless", "test", "--json")
    found = {one["name"] for one in ended.json["verdicts"] if one["outcome"] == "failed"}
    assert found == names
    assert "Bonjour" not in ended.err


def test_a_service_that_fails_its_first_job_is_not_asked_more(shop: Shop) -> None:
    placed(shop, TRANSLATE, lambda _: {"error": "no model"})
    ended = failed(shop.run, 1, "serverless", "test")
    assert "smoke: job" in ended.err
    assert ended.err.count("the smoke test failed") == 9
    assert len(shop.cloud.only().queue.waiting()) == 0


def test_an_interrupt_leaves_no_job_that_starts_workers(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    placed(shop, TRANSLATE, translation)
    queue = shop.cloud.only().queue

    def interrupt() -> None:
        assert queue.waiting()
        raise Interrupted(signal.SIGINT)

    monkeypatch.setattr(shop.cloud, "work", interrupt)
    assert shop.verb("test").code == 130
    assert queue.waiting() == []


def test_a_model_other_than_the_config_names_is_found(shop: Shop) -> None:
    placed(shop, TRANSLATE, translation)
    shop.write(env={"MODEL_REPO": "me/model", "MODEL_REVISION": "4567"})
    ended = failed(shop.run, 1, "serverless", "test")
    assert "the model's revision is 0123, the config wants 4567" in ended.err


def test_it_stops_before_it_spends_more_than_it_may(shop: Shop) -> None:
    placed(shop, TRANSLATE, translation)
    ended = failed(shop.run, 1, "serverless", "test", "--cost-limit", "0.000001", "--json")
    skipped = [one for one in ended.json["verdicts"] if "--cost-limit" in one["detail"]]
    assert len(skipped) >= 8
    assert shop.cloud.only().queue.completed <= 2
