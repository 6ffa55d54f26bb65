"""Which pods stop ends, and what it asks before."""

from __future__ import annotations

from collections.abc import Callable

import requests_mock as mocking

from tests.podkit.commands.desk import ONE, Run, account, failed
from tests.podkit.samples import FOREIGN, POD, problem


def test_stop_ends_what_it_was_told_and_leaves_foreign_pods(api: mocking.Mocker, run: Run) -> None:
    account(api, POD, FOREIGN)
    api.delete(ONE, status_code=204)
    api.get(ONE, **problem(404))
    ended = run("stop", "abc1", "--json")
    assert ended.code == 0
    assert ended.json == {"schema": 1, "ok": True, "command": "stop", "pods": [POD["id"]]}
    assert "is gone and no longer billed" in ended.err
    assert run("stop", "--all", "--yes").code == 0
    assert {sent.url for sent in api.request_history if sent.method != "GET"} == {ONE}


def test_stop_of_all_asks_a_person_and_takes_only_yes_for_an_answer(
    api: mocking.Mocker, run: Run, typing: Callable[[str], None]
) -> None:
    account(api, POD)
    api.delete(ONE, status_code=204)
    api.get(ONE, **problem(404))
    for answer in ("n", "why"):
        typing(answer)
        ended = run("stop", "--all")
        assert ended.code == 2
        assert "end these 1 pods? [y/N]" in ended.err
        assert "nothing was done" in ended.err
    assert {sent.method for sent in api.request_history} <= {"GET"}
    typing("y")
    assert run("stop", "--all").code == 0
    assert [sent.url for sent in api.request_history if sent.method == "DELETE"] == [ONE]


def test_stop_of_what_is_not_there_is_a_failure_with_the_list(
    api: mocking.Mocker, run: Run
) -> None:
    account(api, POD)
    assert POD["name"] in failed(run, 1, "stop", "nothing").err
