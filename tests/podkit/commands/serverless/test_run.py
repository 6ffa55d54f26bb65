"""`serverless run` and `serverless jobs`: every end of a job, and why it waits."""

from __future__ import annotations

import io
import json
import signal
import sys
from collections.abc import Callable
from typing import Any

import click
import pytest

from podkit.errors import Interrupted
from podkit.jobs import SubmitUnclear
from podkit.jobs import client as jobs_client
from tests.podkit.commands.desk import Ended, failed
from tests.podkit.commands.serverless.shop import BLOCK, Shop

NAME = "translation_endpoint"
GIVEN = {"text": "Bonjour"}
Verb = Callable[..., Ended]


@pytest.fixture
def served(shop: Shop) -> Shop:
    """A checkout whose service is there, as its config wants it."""
    shop.cloud.make(env={"PODKIT_SERVICE": NAME}, workers={"min": 0, "max": 1, "idleTimeout": 5})
    return shop


def pause(shop: Shop) -> None:
    shop.cloud.ask("PATCH", f"/serverless/{shop.cloud.only().id}", {"workers": {"max": 0}})


def test_a_job_is_submitted_waited_for_and_its_output_printed(served: Shop) -> None:
    ended = served.done("run", NAME, "--input", json.dumps(GIVEN))
    assert json.loads(ended.out) == {"was": GIVEN}
    assert "IN_QUEUE" in ended.err
    assert "COMPLETED" in ended.err


def test_without_an_input_the_services_own_test_is_sent(served: Shop) -> None:
    assert json.loads(served.done("run").out) == {"was": {"text": "Bonjour"}}


def test_an_input_comes_from_a_file_or_from_standard_input(
    served: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    (served.root / "given.json").write_text('{"n": 1}')
    ended = served.done("run", "--file", str(served.root / "given.json"))
    assert json.loads(ended.out) == {"was": {"n": 1}}
    monkeypatch.setattr(sys, "stdin", io.StringIO('{"n": 2}'))
    assert json.loads(served.done("run", NAME, "--file", "-").out) == {"was": {"n": 2}}


@pytest.mark.parametrize("given", ["{", "[]", "{}", "3"])
def test_an_input_that_cannot_be_is_refused_before_anything_is_sent(
    served: Shop, given: str
) -> None:
    before = len(served.cloud.sent)
    ended = failed(served.run, 2, "serverless", "run", "--input", given)
    assert "input" in ended.err
    assert not [sent for sent in served.cloud.sent[before:] if sent.method == "POST"]


def test_text_is_printed_as_it_is(served: Shop) -> None:
    served.cloud.answers = lambda _: {"output": "Ne y windiga"}
    assert served.done("run").out == "Ne y windiga\n"


def test_an_endpoint_that_is_in_no_config_is_called_by_its_id(served: Shop) -> None:
    other = served.cloud.make("other")
    ended = served.done("run", other, "--input", '{"n": 3}')
    assert json.loads(ended.out) == {"was": {"n": 3}}


def test_what_is_not_deployed_names_the_command_that_deploys_it(shop: Shop) -> None:
    ended = failed(shop.run, 1, "serverless", "run", NAME)
    assert "./podkit.sh serverless deploy translation_endpoint" in ended.err


ENDS: dict[str, tuple[Any, str, str]] = {
    "raises": (
        {"error": json.dumps({"error_type": "ValueError", "error_message": "no such language"})},
        "job-failed",
        "no such language",
    ),
    "refuses": ({"error": "too long"}, "job-failed", "too long"),
    "gives nothing": ({}, "no-output", "without output"),
}


@pytest.mark.parametrize(("said", "code", "words"), ENDS.values(), ids=list(ENDS))
def test_each_end_without_an_output_has_its_code_and_its_next_command(
    served: Shop, said: Any, code: str, words: str
) -> None:
    served.cloud.answers = lambda _: said
    ended = failed(served.run, 1, "serverless", "run", "--json")
    assert (ended.json["error"]["code"], ended.json["ok"]) == (code, False)
    assert words in ended.err
    assert "./podkit.sh serverless logs translation_endpoint --job" in ended.err


def test_a_job_over_its_time_is_told_with_what_helps(served: Shop) -> None:
    served.cloud.only().settings["timeout"] = 30_000
    served.cloud.answers = lambda _: None
    ended = failed(served.run, 1, "serverless", "run", "--json")
    assert ended.json["error"]["code"] == "job-timed-out"
    assert "execution_timeout" in ended.err
    assert "no JSON" in ended.err


def test_a_job_whose_workers_die_twice_fails_as_such(served: Shop) -> None:
    endpoint = served.cloud.only()

    def die(_: Any) -> None:
        for worker in endpoint.living():
            served.cloud.account.platform.end_worker(endpoint, worker)

    served.cloud.answers = die
    ended = failed(served.run, 1, "serverless", "run", "--json")
    assert "job timed out after 1 retries" in ended.json["error"]["message"]


def test_a_job_that_was_cancelled_says_so(served: Shop) -> None:
    endpoint = served.cloud.only()

    def cancel(_: Any) -> None:
        for job in endpoint.queue.running():
            endpoint.queue.cancel(job, served.cloud())

    served.cloud.answers = cancel
    ended = failed(served.run, 1, "serverless", "run", "--json")
    assert ended.json["error"]["code"] == "job-cancelled"


def test_a_job_that_has_expired_is_gone(served: Shop) -> None:
    endpoint = served.cloud.only()
    job = served.done("jobs", "submit").out.strip()
    endpoint.queue.find(job, served.cloud()).ttl = 10  # type: ignore[union-attr]
    served.cloud.now += 3600
    ended = failed(served.run, 1, "serverless", "jobs", "wait", job, NAME, "--json")
    assert ended.json["error"]["code"] == "job-gone"
    assert "30 minutes" in ended.err


def test_a_paused_endpoint_is_named_as_the_reason_and_a_resumed_one_serves(served: Shop) -> None:
    served.done("pause")
    ended = served.verb("run", NAME, "--timeout", "5", "--json")
    assert ended.code == 75
    shown = ended.json
    assert shown["error"]["code"] == "wait-timeout"
    assert "the endpoint is paused" in shown["error"]["message"]
    assert "./podkit.sh serverless resume translation_endpoint" in shown["error"]["hint"]
    assert shown["finding"]["code"] == "paused"
    served.done("resume")
    done = served.done("jobs", "wait", shown["job"], NAME)
    assert json.loads(done.out) == {"was": GIVEN}


def test_a_crash_loop_is_told_with_its_last_lines_while_the_job_waits(served: Shop) -> None:
    served.cloud.crashing.add("ghcr.io/them/theirs:1")
    ended = served.verb("run", NAME, "--timeout", "60")
    assert ended.code == 75
    assert "not a matter of capacity" in ended.err
    assert "ImportError: no such module" in ended.err
    assert "./podkit.sh serverless rollback translation_endpoint" in ended.err


def test_events_come_before_the_one_result(served: Shop) -> None:
    lines = [json.loads(line) for line in served.done("run", "--json").out.splitlines()]
    *events, result = lines
    assert {event["event"] for event in events} == {"job"}
    assert [event["status"] for event in events if event["finding"] is None] == [
        "IN_QUEUE",
        "COMPLETED",
    ]
    assert result["ok"]
    assert result["output"] == {"was": GIVEN}
    assert result["job"]["delay_ms"] >= 0


def test_ctrl_c_leaves_the_job_and_names_it_with_both_commands(
    served: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise Interrupted(2)

    monkeypatch.setattr(jobs_client.Jobs, "wait", interrupted)
    ended = served.verb("run", NAME, "--json")
    assert ended.code == 130
    job = ended.json["job"]
    assert f"jobs wait {job} {NAME}" in ended.json["error"]["hint"]
    assert f"jobs cancel {job} {NAME}" in ended.json["error"]["hint"]
    assert len(served.cloud.only().queue.waiting()) == 1


@pytest.mark.parametrize("verb", [("run",), ("jobs", "submit"), ("bench",)])
def test_ctrl_c_during_a_submit_names_the_job_that_came_of_it(
    served: Shop, monkeypatch: pytest.MonkeyPatch, verb: tuple[str, ...]
) -> None:
    submit = jobs_client.Jobs.submit

    def submit_and_interrupt(jobs: jobs_client.Jobs, content: Any) -> str:
        job = submit(jobs, content)
        click.get_current_context().obj.interrupts._on_signal(signal.SIGINT, None)
        return job

    monkeypatch.setattr(jobs_client.Jobs, "submit", submit_and_interrupt)
    ended = served.verb(*verb, NAME, "--json")
    assert ended.code == 130
    (job,) = served.cloud.only().queue.waiting()
    assert ended.json["job"] == job.id
    assert f"jobs cancel {job.id} {NAME}" in ended.json["error"]["hint"]


def test_ctrl_c_during_a_submit_without_an_answer_says_that_a_job_may_be_there(
    served: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose_the_answer(_: jobs_client.Jobs, __: Any) -> str:
        interrupts = click.get_current_context().obj.interrupts
        assert f"may have been submitted to {NAME}" in interrupts.report()
        interrupts._on_signal(signal.SIGINT, None)
        raise SubmitUnclear("no answer")

    monkeypatch.setattr(jobs_client.Jobs, "submit", lose_the_answer)
    ended = served.verb("run", NAME, "--json")
    assert ended.code == 130
    assert f"may have been submitted to {NAME}" in ended.json["error"]["message"]
    assert f"serverless status {NAME}" in ended.json["error"]["hint"]


def test_a_submit_without_an_answer_is_no_reason_to_submit_again_unseen(
    served: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose_the_answer(_: jobs_client.Jobs, __: Any) -> str:
        raise SubmitUnclear("no answer", "repeat_unclear=True submits again")

    monkeypatch.setattr(jobs_client.Jobs, "submit", lose_the_answer)
    ended = served.verb("run", NAME, "--json")
    assert ended.json["error"]["code"] == "submit-unclear"
    assert f"serverless status {NAME}" in ended.json["error"]["hint"]


@pytest.mark.parametrize(
    ("verb", "sends_many"),
    [
        ("bench", "podkit.serverless.timing.time_jobs"),
        ("test", "podkit.serverless.acceptance.verdicts"),
    ],
)
def test_who_leaves_many_jobs_at_once_is_told_that_they_may_go_on(
    served: Shop, monkeypatch: pytest.MonkeyPatch, verb: str, sends_many: str
) -> None:
    told = []

    def interrupted(*_: Any) -> None:
        told.append(click.get_current_context().obj.interrupts.report())
        raise Interrupted(2)

    monkeypatch.setattr(sends_many, interrupted)
    assert served.verb(verb, NAME).code == 130
    assert f"jobs of {NAME} may go on" in told[0]
    assert f"jobs purge {NAME} --yes" in told[0]


def test_jobs_are_submitted_looked_at_cancelled_and_purged_one_by_one(served: Shop) -> None:
    pause(served)
    first = served.done("jobs", "submit", NAME, "--input", '{"n": 1}').out.strip()
    assert served.done("jobs", "status", first, NAME).out == "IN_QUEUE\n"
    served.done("jobs", "cancel", first, NAME)
    assert served.done("jobs", "status", first, NAME).out == "CANCELLED\n"
    served.done("jobs", "submit", NAME)
    assert failed(served.run, 2, "serverless", "jobs", "purge", NAME)
    assert served.done("jobs", "purge", NAME, "--yes", "--json").json["removed"] == 1


def test_a_job_that_failed_is_retried_under_its_id(served: Shop) -> None:
    served.cloud.answers = lambda _: {"error": "once"}
    job = failed(served.run, 1, "serverless", "run", "--json").json["job"]
    served.cloud.answers = lambda given: {"output": given}
    served.done("jobs", "retry", job, NAME)
    assert json.loads(served.done("jobs", "wait", job, NAME).out) == GIVEN


def test_a_stream_is_printed_part_by_part(served: Shop) -> None:
    job = served.done("jobs", "submit", NAME).out.strip()
    endpoint = served.cloud.only()
    found = endpoint.queue.find(job, served.cloud())
    assert found
    found.stream += [{"part": 1}, {"part": 2}]
    assert served.done("jobs", "stream", job, NAME).out == '{"part": 1}\n{"part": 2}\n'


def test_a_config_that_is_missing_is_no_matter_for_an_endpoint_named_by_id(served: Shop) -> None:
    (served.root / "runpod-config.json").unlink()
    endpoint = served.cloud.only()
    assert served.done("run", endpoint.id, "--input", '{"n": 1}')
    assert BLOCK["endpoint_name"] == endpoint.settings["name"]
    assert served.done("run", "translation", "--input", '{"n": 1}')
