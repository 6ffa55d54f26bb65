"""What docs/jobs.md shows of podkit.jobs happens: its examples run against a platform on paper."""

from __future__ import annotations

import doctest
import json
import re
from typing import Any

import pytest
import requests

import podkit
from podkit.errors import UsageError
from podkit.jobs import JobProblem, SubmitUnclear, client
from tests.podkit.samples import KEY
from tests.podkit.serverless.cloud import Cloud

PAGE = podkit.ROOT / "docs/jobs.md"


class Busy(Cloud):
    """One whose workers work while it is called, as the page's examples keep their own time."""

    def send(
        self, request: requests.PreparedRequest, *rest: Any, **options: Any
    ) -> requests.Response:
        self.sleep(1.0)
        return super().send(request, *rest, **options)


def answer(given: Any) -> dict[str, Any]:
    """What the page's service says; no model is asked."""
    if given["tgt_lang"] != "mos_Latn":
        return {"error": json.dumps({"code": "unsupported-language", "message": "..."})}
    return {"output": {"translations": ["Ne y windiga"]}}


def test_the_examples_of_the_page_do_what_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = Busy()
    cloud.answers = answer
    endpoint = cloud.make()
    monkeypatch.setattr(client, "_new_session", cloud.session)
    monkeypatch.setenv("TRANSLATION_ENDPOINT_ID", endpoint)
    monkeypatch.setenv("RUNPOD_API_KEY", KEY)
    text = PAGE.read_text(encoding="utf-8").replace("4m7x2k9q", endpoint)
    page = doctest.DocTestParser().get_doctest(text, {"key": KEY}, PAGE.name, str(PAGE), 0)
    assert len(page.examples) > 8
    told: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    runner.run(page, out=told.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(told)


def test_every_code_of_the_library_is_on_its_page() -> None:
    codes = {SubmitUnclear.code}
    for kind in JobProblem.__subclasses__():
        codes.add(kind.code)
    shown = set(re.findall(r"`([a-z]+(?:-[a-z]+)+)`", PAGE.read_text(encoding="utf-8")))
    assert codes <= shown


def test_a_variable_that_is_not_set_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in (client.Jobs, client.AsyncJobs):
        with pytest.raises(UsageError, match="TRANSLATION_ENDPOINT_ID"):
            kind.from_env("TRANSLATION", {"RUNPOD_API_KEY": KEY})
        with pytest.raises(UsageError, match="RUNPOD_API_KEY") as caught:
            kind.from_env("TRANSLATION", {"TRANSLATION_ENDPOINT_ID": "ep1"})
        assert "serverless env" not in str(caught.value.hint)  # it prints no key
