"""A release that does not serve, and the way back: forward, at the same id."""

from __future__ import annotations

import json
import stat

import pytest

from tests.podkit.commands.desk import failed
from tests.podkit.commands.serverless.shop import BLOCK, CHANGE, TOKEN, Shop

SECOND = "ghcr.io/me/translation:2"


def crashing(shop: Shop) -> str:
    """The id of an endpoint that serves, with a config whose new image crashes."""
    endpoint_id = shop.deployed()
    shop.cloud.crashing.add(SECOND)
    shop.write(image=SECOND)
    return endpoint_id


def test_an_image_that_crashes_is_seen_with_its_last_lines_and_the_way_back(shop: Shop) -> None:
    endpoint_id = crashing(shop)
    ended = failed(shop.verb, 1, "deploy", "--json")
    assert ended.json["error"]["code"] == "rollout-failed"
    assert ended.json["error"]["hint"] == "./podkit.sh serverless rollback translation_endpoint"
    assert ended.json["endpoint_id"] == endpoint_id
    assert "UNHEALTHY: crashing again and again" in ended.err
    assert "ImportError: no such module" in ended.err
    jobs = shop.cloud.only().queue
    assert jobs.waiting() == []
    assert sum(shop.cloud.naps) < 120


def test_a_rollback_goes_forward_to_the_old_image_at_the_same_id_and_jobs_complete(
    shop: Shop,
) -> None:
    endpoint_id = crashing(shop)
    failed(shop.verb, 1, "deploy")
    back = shop.done("rollback", "--json").json
    assert back["action"] == "rolled-back"
    assert (back["endpoint"]["id"], back["version"]) == (endpoint_id, 3)
    assert back["endpoint"]["image"] == BLOCK["image"]
    assert back["job"]
    listed = shop.done("releases", "--json").json
    assert [one["version"] for one in listed["releases"]] == [3, 2, 1]
    assert listed["releases"][0]["image"] == BLOCK["image"]


def test_a_deploy_rolls_back_by_itself_if_that_is_asked_for(shop: Shop) -> None:
    endpoint_id = crashing(shop)
    ended = failed(shop.verb, 1, "deploy", "--rollback-on-failure")
    assert "rolled back to version 1" in ended.err
    assert "which serves as version 3" in ended.err
    endpoint = shop.cloud.only()
    assert (endpoint.id, endpoint.settings["image"]) == (endpoint_id, BLOCK["image"])


def test_a_first_deploy_that_crashes_says_how_to_look_and_how_to_delete(shop: Shop) -> None:
    shop.cloud.crashing.add(str(BLOCK["image"]))
    ended = failed(shop.verb, 1, "deploy", "--rollback-on-failure")
    endpoint_id = shop.cloud.only().id
    assert f"endpoint {endpoint_id} stays" in ended.err
    assert f"./podkit.sh serverless delete {endpoint_id} --yes" in ended.err


def test_a_version_is_chosen_and_what_is_there_already_is_said(shop: Shop) -> None:
    shop.deployed()
    for number in (2, 3):
        shop.write(image=f"ghcr.io/me/translation:{number}", scaling={"max_workers": number})
        shop.deployed()
    shop.done("rollback", "--to", "1")
    settings = shop.cloud.only().settings
    assert settings["image"] == BLOCK["image"]
    assert settings["workers"]["max"] == 3
    ended = failed(shop.verb, 2, "rollback", "--to", "1")
    assert "nothing to roll back" in ended.err
    assert "no earlier version" in failed(shop.verb, 2, "rollback", "--to", "9").err


def test_secrets_are_filled_in_again_and_never_kept(shop: Shop) -> None:
    endpoint_id = shop.deployed()
    file = shop.root / f".podkit/serverless/{endpoint_id}.jsonl"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert TOKEN not in file.read_text()
    assert "${HF_TOKEN}" in file.read_text()
    shop.write(image=SECOND)
    shop.deployed()
    text = (shop.root / ".env").read_text()
    (shop.root / ".env").write_text(text.replace(TOKEN, "hf_a-newer-token"))
    shop.done("rollback")
    assert shop.cloud.only().settings["env"]["HF_TOKEN"] == "hf_a-newer-token"


def test_a_secret_that_the_config_itself_holds_is_sent_and_neither_shown_nor_kept(
    shop: Shop,
) -> None:
    secret = "sk-in-the-config"
    env = {"HF_TOKEN": "${HF_TOKEN}", "SERVICE_API_KEY": secret, "MAX_TOKENS": "512"}
    shop.write(env=env)
    dry = shop.done("deploy", "--dry-run").out
    assert '"SERVICE_API_KEY": "***"' in dry
    assert '"MAX_TOKENS": "512"' in dry
    made = shop.done("deploy")
    assert "translation_endpoint.env.SERVICE_API_KEY seems to be a secret" in made.err
    assert "${SERVICE_API_KEY} here" in made.err
    endpoint = shop.cloud.only()
    assert endpoint.settings["env"]["SERVICE_API_KEY"] == secret
    assert secret not in (shop.root / f".podkit/serverless/{endpoint.id}.jsonl").read_text()
    shop.write(env=env, image=SECOND)
    shop.deployed()
    back = shop.done("rollback")
    assert secret not in made.out + made.err + back.out + back.err
    assert endpoint.settings["image"] == BLOCK["image"]
    assert endpoint.settings["env"]["SERVICE_API_KEY"] == secret


def test_a_secret_that_is_nowhere_any_more_refuses_a_rollback(shop: Shop) -> None:
    shop.write(env={"SERVICE_API_KEY": "sk-in-the-config"})
    shop.deployed()
    shop.write(env={}, image=SECOND)
    shop.deployed()
    before = len(shop.cloud.writes())
    assert "the value of SERVICE_API_KEY was not kept" in failed(shop.verb, 2, "rollback").err
    assert len(shop.cloud.writes()) == before


def test_a_variable_that_is_no_longer_set_refuses_a_rollback_before_anything_is_sent(
    shop: Shop,
) -> None:
    shop.deployed()
    shop.write(image=SECOND, env={})
    shop.deployed()
    (shop.root / ".env").write_text((shop.root / ".env").read_text().replace("HF_TOKEN", "#"))
    before = len(shop.cloud.writes())
    ended = failed(shop.verb, 2, "rollback")
    assert "env.HF_TOKEN needs HF_TOKEN, which is not set" in ended.err
    assert len(shop.cloud.writes()) == before


def forgotten(shop: Shop) -> None:
    """Another laptop, which applied nothing itself."""
    for file in (shop.root / ".podkit/serverless").iterdir():
        file.unlink()


def test_another_laptop_takes_the_image_back_from_the_releases(shop: Shop) -> None:
    shop.deployed()
    shop.write(image=SECOND)
    shop.deployed()
    forgotten(shop)
    back = shop.done("rollback", "--json").json
    assert back["endpoint"]["image"] == BLOCK["image"]
    assert TOKEN not in json.dumps(back)
    assert not [*(shop.root / ".podkit/serverless").iterdir()]


def test_what_the_releases_do_not_show_is_taken_back_only_as_the_image_alone(shop: Shop) -> None:
    shop.deployed()
    shop.write(image=SECOND, env={"BEAM_SIZE": "5"})
    shop.deployed()
    forgotten(shop)
    ended = failed(shop.verb, 2, "rollback")
    assert "how template.env was before" in ended.err
    assert "--image-only" in ended.err
    assert TOKEN not in ended.err
    assert (
        shop.done("rollback", "--image-only", "--json").json["endpoint"]["image"] == BLOCK["image"]
    )
    assert shop.cloud.only().settings["env"]["BEAM_SIZE"] == "5"


def test_an_image_that_the_provider_builds_is_rolled_back_on_its_console(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.deployed()
    from podkit.runpod.endpoints import Endpoints

    real = Endpoints.list_releases

    def built(client: Endpoints, endpoint_id: str) -> object:
        found = real(client, endpoint_id)
        object.__setattr__(found[0], "source", "GIT_BUILD")
        return found

    monkeypatch.setattr(Endpoints, "list_releases", built)
    assert "is built by the provider" in failed(shop.verb, 2, "rollback").err


def test_a_history_that_cannot_be_read_is_as_good_as_none(shop: Shop) -> None:
    endpoint_id = shop.deployed()
    shop.write(image=SECOND)
    shop.deployed()
    (shop.root / f".podkit/serverless/{endpoint_id}.jsonl").write_text(
        '{"at": 1}\nnonsense\n{"at": "x", "version": 1, "settings": {}}\n'
    )
    assert shop.done("rollback", "--json").json["endpoint"]["image"] == BLOCK["image"]


def test_an_unclear_rollback_makes_one_release(shop: Shop) -> None:
    shop.deployed()
    shop.write(image=SECOND)
    shop.deployed()
    shop.cloud.obey({"call": CHANGE, "fault": "500", "effect": True, "times": 1})
    assert shop.done("rollback", "--json").json["version"] == 3
    assert len(shop.cloud.only().releases) == 3


@pytest.mark.parametrize("serves", [True, False])
def test_a_twin_that_shows_up_during_a_rollback_is_named(shop: Shop, *, serves: bool) -> None:
    shop.cloud.obey({"call": "POST /serverless", "fault": "twin", "times": 1})
    shop.deployed()
    shop.cloud.obey()
    first, twin = shop.cloud.endpoints
    shop.write(image=SECOND)
    shop.done("deploy", "--id", first)
    if not serves:
        shop.cloud.crashing.add(str(BLOCK["image"]))
    ended = shop.verb("rollback", "--id", first, "--json")
    assert ended.code == (0 if serves else 1)
    assert f"./podkit.sh serverless delete {twin} --yes" in ended.err
    if serves:
        assert ended.json["twins"] == [twin]
