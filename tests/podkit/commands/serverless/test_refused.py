"""What is refused, before anything is sent or by the provider: each with its reason and its next
step."""

from __future__ import annotations

from typing import Any

import pytest

from tests.podkit.commands.desk import failed, failed_as
from tests.podkit.commands.serverless.shop import BLOCK, CHANGE, CREATE, TOKEN, Shop

WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown field": ({"idle_timout": 5}, "idle_timout is no field; did you mean idle_timeout?"),
    "a wrong type": ({"image": 3}, "image must be an image"),
    "min over max": ({"scaling": {"min_workers": 4}}, "min_workers is more than max_workers"),
    "idle with requests": (
        {"idle_timeout": 5, "scaling": {"requests_per_worker": 2}},
        "has idle_timeout, which does not apply",
    ),
    "a variable that is not set": ({"env": {"A": "${NOT_SET}"}}, "needs NOT_SET, which is not set"),
    "no such first job": ({"test_payload": "none.json"}, "cannot read test_payload"),
    "an unknown flavor": (
        {"cpu": [{"flavor": "cpu5x", "vcpu": 4}]},
        "cpu5x is no CPU flavor; did you mean cpu",
    ),
    "an unknown data center": ({"data_centers": ["EU-RO-2"]}, "did you mean EU-RO-1?"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_config_that_cannot_be_is_refused_and_nothing_is_sent(shop: Shop, name: str) -> None:
    changes, sentence = WRONG[name]
    shop.write(**changes)
    assert sentence in failed_with_all(shop, "deploy")
    assert shop.cloud.writes() == []


def failed_with_all(shop: Shop, *verb: str) -> str:
    """What a verb says that ends with exit 2; a config's problems are a line each."""
    ended = shop.verb(*verb)
    assert ended.code == 2, ended.err
    return ended.err


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"gpu_types": ["NVIDIA RTX A400"]}, "is no GPU type; did you mean NVIDIA RTX A"),
        (
            {"gpu_pools": ["ADA_24"], "gpu_excluded": ["NVIDIA GeForce RTX 4090"]},
            "leaves no GPU type",
        ),
    ],
)
def test_gpu_types_that_cannot_be_had_are_refused(
    shop: Shop, fields: dict[str, Any], sentence: str
) -> None:
    shop.write("cpu", **fields)
    assert sentence in failed(shop.verb, 2, "deploy").err
    assert sentence in failed(shop.verb, 2, "validate").err
    assert shop.cloud.writes() == []


def test_a_pool_without_stock_is_a_warning(shop: Shop) -> None:
    shop.cloud.obey(stock={"EU-RO-1": {"NVIDIA GeForce RTX 4090": "NONE"}})
    shop.write("cpu", gpu_pools=["ADA_24"], data_centers=["EU-RO-1"])
    sentence = "NVIDIA GeForce RTX 4090 is not in stock in EU-RO-1 now"
    assert sentence in shop.done("validate").err
    assert sentence in shop.done("plan").err


def test_the_quota_is_warned_of_before_and_explained_after_a_create(shop: Shop) -> None:
    theirs = shop.cloud.make("others", workers={"min": 0, "max": 4})
    assert "max workers of all endpoints would be 7" in shop.done("plan").err
    ended = failed(shop.verb, 1, "deploy")
    assert "would be 7, and this account's quota is 5; 1 would fit translation" in ended.err
    assert f"  4  others ({theirs})" in ended.err
    assert f"./podkit.sh serverless pause {theirs}" in ended.err
    assert [*shop.cloud.endpoints] == [theirs]


def test_the_quota_is_explained_after_a_change(shop: Shop) -> None:
    shop.deployed()
    shop.write(scaling={"max_workers": 6})
    ended = failed(shop.verb, 1, "deploy")
    assert "would be 6, and this account's quota is 5; 5 would fit translation" in ended.err
    assert shop.cloud.only().settings["workers"]["max"] == 3


@pytest.mark.parametrize("call", [CREATE, CHANGE])
def test_an_image_that_is_not_in_its_registry_leaves_all_as_it_was(shop: Shop, call: str) -> None:
    if call == CHANGE:
        shop.deployed()
    before = dict(shop.cloud.endpoints)
    shop.write(image="ghcr.io/me/translation:none")
    shop.cloud.obey({"call": call, "fault": "image-missing"})
    ended = failed(shop.verb, 1, "deploy")
    assert "was not found in its registry" in ended.err
    assert "push the image first" in ended.err
    assert shop.cloud.endpoints == before
    if before:
        assert shop.cloud.only().settings["image"] == BLOCK["image"]
        assert len(shop.cloud.only().releases) == 1


def test_a_key_without_rights_for_serverless_is_told_which_it_needs(shop: Shop) -> None:
    shop.cloud.obey({"call": CREATE, "fault": "403"})
    ended = failed(shop.verb, 1, "deploy")
    assert "give the key read and write access to serverless" in ended.err


def test_an_endpoint_that_somebody_deletes_during_the_rollout_is_said_to_be_gone(
    shop: Shop,
) -> None:
    shop.deployed()
    shop.cloud.now += 3600
    shop.write(image="ghcr.io/me/translation:2")
    shop.cloud.obey({"call": "GET /serverless/{id}/releases", "fault": "404", "after": 1})
    failed_as(shop.verb, "not-found", "deploy")


def test_no_secret_is_in_any_output_or_file(shop: Shop) -> None:
    shop.write(env={"HF_TOKEN": "${HF_TOKEN}", "OTHER": "x-${HF_TOKEN}"})
    shown = ""
    for verb in (("plan",), ("deploy",), ("releases",), ("pause",), ("plan", "--json")):
        ended = shop.done(*verb)
        shown += ended.out + ended.err
    shop.write(env={"HF_TOKEN": "${HF_TOKEN}"}, image="ghcr.io/me/translation:2")
    shop.cloud.crashing.add("ghcr.io/me/translation:2")
    for verb in (("plan",), ("deploy", "--dry-run"), ("deploy", "--json"), ("rollback",)):
        ended = shop.verb(*verb)
        shown += ended.out + ended.err
    assert TOKEN not in shown
    for file in (shop.root / ".podkit").rglob("*"):
        assert file.is_dir() or TOKEN not in file.read_text()
    assert shop.cloud.only().settings["env"]["HF_TOKEN"] == TOKEN
