"""The log of a pod as its command prints it."""

from __future__ import annotations

import json

import requests_mock as mocking

from tests.podkit.commands.desk import ONE, Run, account, failed
from tests.podkit.samples import POD


def test_a_log_is_printed_as_it_is(api: mocking.Mocker, run: Run) -> None:
    account(api, POD)
    api.get(
        f"{ONE}/logs",
        text='id: 2026-06-01T12:02:03Z/1\ndata: {"line": "one"}\n\ndata: {"line": "two"}\n\n',
    )
    assert run("logs").out == "one\ntwo\n"


def test_a_log_has_as_many_lines_as_wanted_each_with_its_time(
    api: mocking.Mocker, run: Run
) -> None:
    account(api, POD)
    line = '{"ts": "2026-06-01T12:02:03Z", "source": "container", "line": "one"}'
    api.get(f"{ONE}/logs", text=f"id: 2026-06-01T12:02:03Z\ndata: {line}\n\n")
    assert run("logs", "--tail", "20", "--timestamps").out == "2026-06-01T12:02:03Z  one\n"
    assert api.request_history[-1].qs["tail"] == ["20"]


def test_a_log_ends_with_the_last_line_that_was_wanted(api: mocking.Mocker, run: Run) -> None:
    """The stream stays open: waiting for it to fall silent would take seconds."""
    account(api, POD)
    lines = ["one", "two", "three, written since"]
    api.get(f"{ONE}/logs", text="".join(f'data: {{"line": "{line}"}}\n\n' for line in lines))
    assert run("logs", "--tail", "2").out == "one\ntwo\n"


def test_the_log_of_a_pod_that_is_gone_is_what_was_seen_of_it(
    api: mocking.Mocker, run: Run
) -> None:
    account(api, POD)
    api.get(f"{ONE}/logs", text='data: {"source": "container", "line": "its last words"}\n\n')
    run("logs")
    account(api)
    ended = run("logs", POD["id"][:6])
    assert ended.out == "its last words\n"
    assert f"pod {POD['id']} is gone" in ended.err
    assert "no pod" in failed(run, 1, "logs", "another").err


def test_what_a_boot_taught_is_looked_for_in_its_log_until_it_is_known(
    api: mocking.Mocker, run: Run
) -> None:
    account(api, POD)
    memory = {"gpu": "NVIDIA L40S", "gpu_mib": 46068, "utilization": 0.9, "vllm": "0.32.1"}
    memory |= {"flags": "f", "weights_gib": 9.5, "kv_gib": 27.1}
    lesson = {"at": "2026-06-01T12:02:03Z", "pod": POD["id"], "model": "mine", "memory": memory}
    for line in ("podkit: phase=vllm event=start t=9", f"podkit: learned {json.dumps(lesson)}"):
        log = api.get(f"{ONE}/logs", text=f"data: {json.dumps({'line': line})}\n\n")
        boots = run("fit", "--learned", "--json").json["boots"]
    assert [boot["pod"] for boot in boots] == [POD["id"]]
    assert run("fit", "--learned", "--json").json["boots"] == boots
    assert log.call_count == 1
