"""`plan`, `pause`, `resume` and `delete`: what differs and why, and an end that is certain."""

from __future__ import annotations

import pytest

from tests.podkit.commands.desk import failed
from tests.podkit.commands.serverless.shop import BLOCK, Shop

DAY = 86_400.0
DELETE = "DELETE /serverless/{id}"


def test_a_plan_changes_nothing_and_its_exit_code_tells_whether_there_is_something_to_do(
    shop: Shop,
) -> None:
    assert "is not there: a deploy makes it" in shop.done("plan").out
    assert shop.verb("plan", "--exit-code").code == 3
    assert shop.cloud.writes() == []
    shop.deployed()
    assert "nothing to do" in shop.done("plan", "--exit-code").out


def test_a_plan_shows_each_field_with_its_effect_and_no_value_of_a_variable(shop: Shop) -> None:
    shop.deployed()
    shop.write(
        image="ghcr.io/me/translation:2",
        execution_timeout=60,
        env={"BEAM_SIZE": "5", "NEW": "1"},
    )
    shown = shop.done("plan").out
    assert "  ~ env.BEAM_SIZE: ***(changed)   (new release, workers replaced)" in shown
    assert "  - env.HF_TOKEN: ***   (new release" in shown
    assert "  + env.NEW: ***   (new release" in shown
    assert f"  ~ image: {BLOCK['image']} -> ghcr.io/me/translation:2" in shown
    assert "  ~ timeout: 300000 -> 60000   (at once)" in shown
    assert "quota: 3 max workers here, 3 in all endpoints" in shown
    assert "cost: a worker costs at most $" in shown


def test_max_workers_that_the_platform_lowered_are_drift_and_a_deploy_restores_them(
    shop: Shop,
) -> None:
    shop.deployed()
    shop.cloud.now += 4 * DAY
    shop.cloud.work()
    shown = shop.done("plan").out
    assert "workers.max: 2 -> 3   (at once)" in shown
    assert "drift: workers.max is 2: the platform lowers it to 2 after 3 days" in shown
    shop.deployed()
    assert shop.cloud.only().settings["workers"]["max"] == 3
    assert len(shop.cloud.only().releases) == 1


def test_what_somebody_else_changed_is_drift_and_what_the_config_changed_is_not(shop: Shop) -> None:
    shop.deployed()
    shop.cloud.ask("PATCH", f"/serverless/{shop.cloud.only().id}", {"disk": 50})
    shop.write(image="ghcr.io/me/translation:2")
    drift = shop.done("plan", "--json").json["drift"]
    assert drift == ["disk was changed by somebody else since the last deploy from here"]


def test_a_pause_lets_jobs_wait_and_resume_serves_them(shop: Shop) -> None:
    endpoint_id = shop.deployed()
    shop.done("pause")
    assert shop.cloud.only().settings["workers"] == {"min": 0, "max": 0, "idleTimeout": 5}
    job = shop.cloud.ask("POST", f"/{endpoint_id}/run", {"input": {"text": "Bonjour"}})["id"]
    for _ in range(5):
        shop.cloud.sleep(5)
    path = f"/{endpoint_id}/status/{job}"
    assert shop.cloud.ask("GET", path)["status"] == "IN_QUEUE"
    assert "was paused already; nothing was sent" in shop.done("pause", endpoint_id).err
    shop.done("resume")
    shop.cloud.sleep(5)
    shop.cloud.sleep(5)
    assert shop.cloud.ask("GET", path)["status"] == "COMPLETED"
    assert len(shop.cloud.only().releases) == 1


def test_with_a_config_of_another_name_each_command_that_is_said_names_it(shop: Shop) -> None:
    other = shop.root / "my config.json"
    (shop.root / "runpod-config.json").rename(other)
    option = ("--config", str(other))
    said = failed(shop.verb, 1, "releases", "translation_endpoint", *option).err
    assert f"./podkit.sh serverless deploy --config '{other}' translation_endpoint" in said
    told = failed(shop.verb, 1, "releases", "translation_endpoint", *option, "--json").json
    assert f"--config '{other}'" in told["error"]["hint"]
    shop.done("deploy", *option)
    said = shop.done("pause", "translation_endpoint", *option).err
    assert f"./podkit.sh serverless resume --config '{other}' translation_endpoint" in said


def test_of_two_endpoints_of_a_name_the_newest_is_proposed_for_deletion(shop: Shop) -> None:
    ours = {"PODKIT_SERVICE": "translation_endpoint"}
    old = shop.cloud.make(env=ours)
    shop.cloud.sleep(60)
    new = shop.cloud.make(env=ours)
    shop.cloud.endpoints[old] = shop.cloud.endpoints.pop(old)  # the list is in no order
    for verb in ("deploy", "pause", "delete", "releases"):
        ended = failed(shop.verb, 1, verb)
        assert f"choose one with --id, and delete another: ./podkit.sh serverless delete {new}" in (
            ended.err
        )
    assert "VERSION" in shop.done("releases", "--id", old).out
    shop.done("delete", "--id", new, "--yes")
    assert [*shop.cloud.endpoints] == [old]


def test_workers_that_always_run_are_named_wherever_an_endpoint_is_left(shop: Shop) -> None:
    shop.write(scaling={"min_workers": 1, "max_workers": 2})
    assert "min_workers 1: so many run all the time, and are billed" in shop.done("deploy").err
    header, row = shop.done("list").out.splitlines()
    assert header.split()[:4] == ["ID", "NAME", "MIN", "MAX"]
    assert row.split()[2:4] == ["1", "2"]
    shop.cloud.crashing.add("ghcr.io/me/translation:2")
    shop.write(image="ghcr.io/me/translation:2", scaling={"min_workers": 1, "max_workers": 2})
    ended = failed(shop.verb, 1, "deploy")
    assert "with at most 2 workers, of which 1 always run and are billed" in ended.err


def test_the_way_back_of_a_pause_by_id_works_as_it_is_said(shop: Shop) -> None:
    endpoint_id = shop.deployed()
    theirs = shop.cloud.make("theirs", workers={"min": 0, "max": 1})
    said = shop.done("pause", endpoint_id).err
    assert "./podkit.sh serverless resume translation_endpoint" in said
    assert "./podkit.sh serverless resume translation_endpoint" in shop.done("status").out
    shop.done("resume", "translation_endpoint")
    said = shop.done("pause", theirs).err
    assert "it had 0 to 1 workers" in said
    assert "resume" not in said


@pytest.mark.parametrize(
    "fault",
    [
        {"fault": "500", "effect": True, "times": 1},
        {"fault": "503", "times": 2},
        {"fault": "reset-after", "times": 1},
        {"fault": "404", "times": 1},
    ],
    ids=lambda fault: str(fault["fault"]),
)
def test_a_delete_ends_when_the_list_agrees(shop: Shop, fault: dict[str, object]) -> None:
    endpoint_id = shop.deployed()
    shop.cloud.obey({"call": DELETE, **fault})
    shop.done("delete", "translation", "--yes")
    assert shop.cloud.endpoints == {}
    assert not (shop.root / f".podkit/serverless/{endpoint_id}.jsonl").exists()


def test_a_delete_that_is_not_carried_out_says_that_it_may_still_be_there(shop: Shop) -> None:
    endpoint_id = shop.deployed()
    shop.cloud.obey({"call": DELETE, "fault": "404"})
    ended = failed(shop.verb, 1, "delete", "--yes")
    assert f"endpoint {endpoint_id} is still listed after it was deleted" in ended.err


def test_a_delete_asks_and_touches_what_is_not_podkits_by_its_id_alone(shop: Shop) -> None:
    theirs = shop.cloud.make("theirs")
    assert "podkit did not make endpoint" in failed(shop.verb, 2, "delete", "theirs", "--yes").err
    assert "there is no terminal to ask on" in failed(shop.verb, 2, "delete", theirs).err
    assert [*shop.cloud.endpoints] == [theirs]
    shop.done("delete", theirs, "--yes")
    assert shop.cloud.endpoints == {}
    assert "no endpoint has the id or name theirs" in failed(shop.verb, 1, "delete", "theirs").err


def test_verbs_work_without_a_config_by_id(shop: Shop) -> None:
    endpoint_id = shop.deployed()
    (shop.root / "runpod-config.json").unlink()
    assert shop.done("releases", endpoint_id).out.startswith("VERSION")
    assert "cannot read" in failed(shop.verb, 2, "plan").err
    shop.done("delete", endpoint_id, "--yes")


def test_the_group_has_a_short_name(shop: Shop) -> None:
    assert shop.run("sls", "plan", "--json").json["command"] == "serverless plan"
