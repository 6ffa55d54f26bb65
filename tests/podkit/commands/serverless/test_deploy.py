"""`serverless deploy`: one endpoint of a name, changed in place, so that its id stays."""

from __future__ import annotations

import json
import signal

import pytest
import requests

from podkit.errors import Interrupted
from podkit.lock import hold_lock
from podkit_sandbox.account import Answer, Call
from podkit_sandbox.serverless import endpoints
from tests import contract
from tests.podkit.commands.desk import failed, failed_as
from tests.podkit.commands.serverless.shop import BLOCK, CHANGE, CREATE, LOOK, TOKEN, Shop
from tests.podkit.serverless.cloud import API


def test_a_deploy_makes_the_endpoint_tries_a_job_and_prints_its_id_and_urls(shop: Shop) -> None:
    ended = shop.done("deploy")
    endpoint = shop.cloud.only()
    endpoint_id, run, status = ended.out.splitlines()
    assert endpoint_id == endpoint.id
    assert run == f"run     https://api.runpod.ai/v2/{endpoint.id}/run"
    assert status.startswith("status")
    assert "licence of the model: CC-BY-NC-4.0" in ended.err
    assert "version 1 serves; the first job took" in ended.err
    assert endpoint.settings["env"]["HF_TOKEN"] == TOKEN


def test_a_second_deploy_sends_no_write_and_says_why_a_push_would_change_nothing(
    shop: Shop,
) -> None:
    endpoint_id = shop.deployed()
    before = len(shop.cloud.writes())
    ended = shop.done("deploy", "--json")
    assert len(shop.cloud.writes()) == before
    assert ended.json["action"] == "unchanged"
    assert ended.json["endpoint"]["id"] == endpoint_id
    assert f"a push to {BLOCK['image']} changes nothing: give it a new tag" in ended.err


def test_a_changed_image_is_one_patch_of_the_image_alone_at_the_same_id(shop: Shop) -> None:
    endpoint_id = shop.deployed()
    shop.write(image="ghcr.io/me/translation:2")
    ended = shop.done("deploy", "--json")
    path = f"/v2/serverless/{endpoint_id}"
    assert shop.cloud.writes()[1:] == [("PATCH", path, {"image": "ghcr.io/me/translation:2"})]
    assert (ended.json["endpoint"]["id"], ended.json["version"]) == (endpoint_id, 2)
    assert ended.json["job"]["seconds"] > 0


def test_a_changed_variable_is_sent_with_all_others_and_the_creates_own_text(shop: Shop) -> None:
    shop.deployed()
    made = dict(shop.cloud.only().settings["env"])
    shop.write(env={"HF_TOKEN": "${HF_TOKEN}", "BEAM_SIZE": "5"})
    shop.deployed()
    (_, _, body) = shop.cloud.writes()[-1]
    assert body == {"env": {**made, "BEAM_SIZE": "5"}}


UNCLEAR = [
    {"fault": "500", "effect": True},
    {"fault": "502", "effect": True},
    {"fault": "html502", "effect": True},
    {"fault": "reset-after"},
    {"fault": "truncate"},
    {"fault": "garbage"},
]


@pytest.mark.parametrize("fault", UNCLEAR, ids=lambda fault: str(fault["fault"]))
@pytest.mark.parametrize("lag", [0.0, 10.0])
def test_the_endpoint_of_an_unclear_create_is_found_by_its_name_and_text_and_taken(
    shop: Shop, fault: dict[str, object], lag: float
) -> None:
    once = {"call": CREATE, "times": 1}
    shop.cloud.obey({**once, "fault": "list-lag", "seconds": lag}, {**once, **fault})
    ended = shop.done("deploy")
    assert ended.out.split()[0] == shop.cloud.only().id
    assert "the answer to the create is unclear" in ended.err
    assert [method for method, _, _ in shop.cloud.writes()] == ["POST"]


def test_a_create_that_made_nothing_is_sent_once_more_with_a_text_of_its_own(shop: Shop) -> None:
    shop.cloud.obey({"call": CREATE, "fault": "503", "times": 1})
    ended = shop.done("deploy")
    assert ended.out.split()[0] == shop.cloud.only().id
    texts = {body["env"]["PODKIT_DEPLOY"] for _, _, body in shop.cloud.writes()}
    assert len(texts) == 2


def test_a_second_create_that_is_refused_leaves_the_first_one_in_mind(shop: Shop) -> None:
    once = {"call": CREATE, "times": 1}
    lag = {**once, "fault": "list-lag", "seconds": 60}
    refused = {"call": CREATE, "fault": "403", "after": 1}
    shop.cloud.obey(lag, {**once, "fault": "500", "effect": True}, refused)
    ended = failed(shop.verb, 1, "deploy")
    assert len(shop.cloud.endpoints) == 1
    assert "an endpoint named translation may exist: ./podkit.sh serverless plan" in ended.err


def test_a_create_without_a_clear_answer_is_given_up_after_the_second(shop: Shop) -> None:
    shop.cloud.obey({"call": CREATE, "fault": "503"})
    failed_as(shop.verb, "endpoint-unclear", "deploy")
    assert len(shop.cloud.writes()) == 2


def test_a_look_up_that_fails_says_that_an_endpoint_may_exist(shop: Shop) -> None:
    lost = {"call": LOOK, "fault": "503", "after": 1}
    shop.cloud.obey({"call": CREATE, "fault": "reset-after"}, lost)
    failed_as(shop.verb, "endpoint-unclear", "deploy")
    shop.cloud.obey()
    assert shop.deployed() == shop.cloud.only().id


def test_a_twin_is_named_and_never_deleted(shop: Shop) -> None:
    shop.cloud.obey({"call": CREATE, "fault": "twin", "times": 1})
    ended = shop.done("deploy", "--json")
    first, twin = shop.cloud.endpoints
    assert {ended.json["endpoint"]["id"], *ended.json["twins"]} == {first, twin}
    told = ended.json["twins"][0]
    assert f"./podkit.sh serverless delete {told} --yes" in ended.err
    again = failed_as(shop.verb, "several-endpoints", "deploy")
    assert first in again.err
    assert twin in again.err
    assert shop.done("deploy", "--id", first).out.split()[0] == first


@pytest.mark.parametrize("fault", UNCLEAR, ids=lambda fault: str(fault["fault"]))
def test_an_unclear_change_is_judged_by_the_endpoint_and_makes_one_release(
    shop: Shop, fault: dict[str, object]
) -> None:
    shop.deployed()
    shop.write(image="ghcr.io/me/translation:2")
    shop.cloud.obey({"call": CHANGE, "times": 1, **fault})
    assert shop.done("deploy", "--json").json["version"] == 2
    assert len(shop.cloud.only().releases) == 2


def test_a_change_that_was_not_carried_out_is_sent_again(shop: Shop) -> None:
    shop.deployed()
    shop.write(image="ghcr.io/me/translation:2")
    shop.cloud.obey({"call": CHANGE, "times": 1, "fault": "503"})
    assert shop.done("deploy", "--json").json["version"] == 2


def test_a_change_by_somebody_else_at_the_same_time_is_said(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint_id = shop.deployed()
    shop.write(image="ghcr.io/me/translation:2")
    handle = shop.cloud.account.handle

    def meddle(call: Call) -> Answer:
        answer = handle(call)
        if call.method == "PATCH":
            shop.cloud.endpoints[endpoint_id].settings["disk"] = 77
        return answer

    monkeypatch.setattr(shop.cloud.account, "handle", meddle)
    ended = shop.done("deploy")
    assert "somebody else changed it at the same time: disk" in ended.err


def test_a_storm_of_refusals_for_too_many_requests_is_waited_out(shop: Shop) -> None:
    shop.cloud.obey({"call": "*", "fault": "429", "retry_after": 2, "times": 4})
    assert shop.deployed() == shop.cloud.only().id
    assert 2.0 in shop.cloud.naps


def test_what_cannot_be_changed_is_refused_unless_a_second_endpoint_is_asked_for(
    shop: Shop,
) -> None:
    shop.write(scaling={"max_workers": 2})
    old = shop.deployed()
    shop.write("cpu", gpu_types=["NVIDIA RTX A4000"], scaling={"max_workers": 2})
    ended = failed(shop.verb, 2, "deploy")
    assert "compute of translation cannot be changed" in ended.err
    assert "--replace" in ended.err
    replaced = shop.done("deploy", "--replace", "--json")
    new = replaced.json["endpoint"]["id"]
    assert new != old
    assert {*shop.cloud.endpoints} == {old, new}
    assert replaced.json["job"]
    assert replaced.json["twins"] == []
    assert replaced.err.count(f"./podkit.sh serverless delete {old} --yes") == 1


def test_a_replacement_that_does_not_serve_is_to_be_deleted_and_not_the_old_one(
    shop: Shop,
) -> None:
    shop.write(scaling={"max_workers": 2})
    old = shop.deployed()
    bad = "ghcr.io/me/translation:2"
    shop.cloud.crashing.add(bad)
    gpu = ["NVIDIA RTX A4000"]
    shop.write("cpu", gpu_types=gpu, image=bad, scaling={"max_workers": 2})
    ended = failed(shop.verb, 1, "deploy", "--replace")
    (new,) = {*shop.cloud.endpoints} - {old}
    assert f"./podkit.sh serverless logs {new} shows more" in ended.err
    assert f"./podkit.sh serverless delete {new} --yes" in ended.err
    assert old not in ended.err.partition("crashing")[2]
    assert shop.verb("logs", new).code == 0


def test_an_endpoint_of_that_name_that_podkit_did_not_make_is_left_alone(shop: Shop) -> None:
    theirs = shop.cloud.make()
    ended = failed(shop.verb, 2, "deploy")
    assert f"endpoint {theirs} is named translation, and podkit did not make it" in ended.err
    assert shop.cloud.writes() == []
    assert shop.done("deploy", "--adopt").out.split()[0] == theirs
    assert shop.cloud.only().settings["image"] == BLOCK["image"]


def test_a_name_of_the_time_of_flashboot_is_found_and_kept_current(shop: Shop) -> None:
    old = shop.cloud.make("translation -fb", env={"PODKIT_SERVICE": "translation_endpoint"})
    assert shop.done("deploy").out.split()[0] == old
    assert shop.cloud.only().settings["name"] == "translation"


def test_without_waiting_nothing_is_tried(shop: Shop) -> None:
    ended = shop.done("deploy", "--no-wait", "--json")
    assert (ended.json["version"], ended.json["job"]) == (None, None)


def test_a_dry_run_needs_no_key_sends_nothing_and_shows_no_secret(shop: Shop) -> None:
    (shop.root / ".env").write_text(f"HF_TOKEN={TOKEN}\n")
    shop.write("cpu", gpu_types=["NVIDIA RTX A4000", "NVIDIA RTX A6000"])
    ended = shop.done("deploy", "--dry-run", "--json")
    (request,) = ended.json["requests"]
    assert TOKEN not in ended.out + ended.err
    assert request["body"]["gpu"]["pools"] == ["AMPERE_16", "AMPERE_48"]
    excluded = request["body"]["gpu"]["excludedTypes"]
    assert "NVIDIA A40" in excluded
    assert "NVIDIA RTX A4500" in excluded
    assert shop.cloud.calls == []


def test_every_request_and_answer_is_one_that_the_providers_document_allows(shop: Shop) -> None:
    document = contract.needed()
    shop.deployed()
    shop.write(image="ghcr.io/me/translation:2", scaling={"max_workers": 2})
    shop.deployed()
    for verb in ("plan", "releases", "rollback", "pause", "resume"):
        shop.done(verb)
    shop.done("delete", "--yes")
    checked = 0
    for sent, status, answer in shop.cloud.calls:
        if str(sent.url).startswith(API):
            contract.check_request(document, sent)
            if status != 204 and "/logs" not in str(sent.url):
                path = str(sent.path_url).removeprefix("/v2").partition("?")[0]
                body = json.loads(answer)
                contract.check_answer(document, str(sent.method), path, body, status)
            checked += 1
    assert checked > 20


def test_a_dry_runs_body_is_one_that_the_providers_document_allows(shop: Shop) -> None:
    document = contract.needed()
    ended = shop.done("deploy", "--dry-run", "--json")
    (request,) = ended.json["requests"]
    headers = {"Authorization": "Bearer rpa_any"}
    sent = requests.Request(request["method"], request["url"], headers, json=request["body"])
    contract.check_request(document, sent.prepare())


def test_an_interrupt_after_the_create_says_what_is_left_and_how_to_delete_it(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt() -> None:
        raise Interrupted(signal.SIGINT)

    monkeypatch.setattr(shop.cloud, "work", interrupt)
    ended = shop.verb("deploy")
    assert ended.code == 130
    endpoint_id = shop.cloud.only().id
    assert f"endpoint {endpoint_id} (translation) is there, with at most 3 workers" in ended.err
    assert f"./podkit.sh serverless delete {endpoint_id} --yes; its first job" in ended.err
    (job,) = shop.cloud.only().queue.waiting()
    assert f"./podkit.sh serverless jobs cancel {job.id} {endpoint_id}" in ended.err


def test_a_failure_after_the_create_says_what_is_left(shop: Shop) -> None:
    shop.cloud.obey({"call": "GET /serverless/{id}/releases", "fault": "403"})
    ended = failed(shop.verb, 1, "deploy")
    endpoint_id = shop.cloud.only().id
    assert f"endpoint {endpoint_id} (translation) is there, with at most 3 workers" in ended.err


def test_a_first_job_that_waits_for_a_host_says_so(shop: Shop) -> None:
    shop.cloud.obey({"call": CREATE, "fault": "throttled", "seconds": 60})
    ended = shop.done("deploy")
    assert "1 worker is waiting for a host" in ended.err


def test_without_a_licence_or_a_first_job_the_config_is_asked_to_have_them(shop: Shop) -> None:
    shop.write("licence", "test_payload")
    ended = shop.done("deploy")
    assert "put that of the model into translation_endpoint.licence" in ended.err
    assert "no job was tried, as the config has no test_payload" in ended.err


def test_old_workers_with_long_jobs_are_not_waited_for(shop: Shop) -> None:
    slow = {"scaling": {"min_workers": 1, "max_workers": 2}, "execution_timeout": 36_000}
    shop.write(**slow)
    endpoint_id = shop.deployed()
    answers = shop.cloud.answers
    long = {"text": "a long one"}
    shop.cloud.answers = lambda given: None if given == long else answers(given)
    job = shop.cloud.ask("POST", f"/{endpoint_id}/run", {"input": long})["id"]
    shop.cloud.sleep(5)
    shop.write(image="ghcr.io/me/translation:2", **slow)
    ended = shop.done("deploy")
    assert "old workers finish their jobs first; new jobs go to new ones" in ended.err
    state = shop.cloud.ask("GET", f"/{endpoint_id}/status/{job}")
    assert state["status"] == "IN_PROGRESS"


def test_a_pause_waits_for_no_deploy_of_this_checkout(shop: Shop) -> None:
    shop.deployed()
    with hold_lock(shop.root / ".podkit/serverless.lock", lambda: None):
        assert "is paused" in shop.done("pause").err


def test_a_change_for_which_the_service_makes_no_release_is_not_waited_for_forever(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.deployed()
    monkeypatch.setattr(endpoints.Endpoints, "_release", lambda *_: None)
    shop.write(flashboot=False)
    ended = shop.done("deploy", "--json")
    assert ended.json["version"] == 1
    assert sum(shop.cloud.naps) < 120
