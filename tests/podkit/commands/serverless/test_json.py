"""What programs get from the verbs of `serverless` is what docs/json.md says."""

from __future__ import annotations

import json
import re

import podkit
from tests.podkit.commands.desk import failed
from tests.podkit.commands.serverless.shop import Shop
from tests.podkit.commands.test_documented_json import field_names

TEXT = (podkit.ROOT / "docs/json.md").read_text(encoding="utf-8").split("## Events")[0]

DOCUMENTED = {*re.findall(r"`([a-zA-Z_0-9]+)`", TEXT)}


def test_every_field_of_every_verb_is_documented(shop: Shop) -> None:
    verbs = [
        ("validate",),
        ("plan",),
        ("deploy", "--dry-run"),
        ("deploy",),
        ("rollback",),
        ("releases",),
        ("pause",),
        ("plan",),
        ("resume",),
        ("delete", "--yes"),
    ]
    for verb in verbs:
        if verb[0] == "rollback":
            shop.write(image="ghcr.io/me/translation:2")
            shop.done("deploy")
        shown = shop.done(*verb, "--json").json
        assert (shown["schema"], shown["ok"], shown["command"]) == (
            1,
            True,
            f"serverless {verb[0]}",
        )
        shown.pop("requests", None)
        shown.get("endpoint", {}).pop("urls", None)
        assert field_names(shown) <= DOCUMENTED, verb
        assert f"`serverless {verb[0]}`" in TEXT


EVENTS = (podkit.ROOT / "docs/json.md").read_text(encoding="utf-8").split("## Events")[1]


def test_a_deploy_and_a_rollback_say_what_they_wait_for_in_events_before_the_result(
    shop: Shop,
) -> None:
    slow = {"scaling": {"min_workers": 1, "max_workers": 2}, "execution_timeout": 36_000}
    shop.write(**slow)
    *events, result = map(json.loads, shop.done("deploy", "--json").out.splitlines())
    endpoint_id = result["endpoint"]["id"]
    assert (events[0]["id"], events[0]["action"]) == (endpoint_id, "created")
    assert [one["status"] for one in events if one["event"] == "job"][-1] == "COMPLETED"
    answers = shop.cloud.answers
    long = {"text": "a long one"}
    shop.cloud.answers = lambda given: None if given == long else answers(given)
    shop.cloud.ask("POST", f"/{endpoint_id}/run", {"input": long})
    shop.cloud.sleep(5)
    shop.write(**slow, image="ghcr.io/me/translation:2")
    events += map(json.loads, shop.done("deploy", "--json").out.splitlines()[:-1])
    assert "rollout" in {one["event"] for one in events}
    *back, result = map(json.loads, shop.done("rollback", "--json").out.splitlines())
    assert (back[0]["action"], result["ok"]) == ("rolled-back", True)
    documented = {*re.findall(r"`([a-zA-Z_0-9]+)`", EVENTS)}
    for one in [*events, *back]:
        one.pop("finding", None)
        assert {*one, one["event"]} <= documented


def test_a_refused_quota_is_documented_for_programs(shop: Shop) -> None:
    shop.cloud.make("others", workers={"min": 0, "max": 4})
    shown = failed(shop.verb, 1, "deploy", "--json").json
    assert shown.pop("error")["code"] == "quota"
    assert (shown["quota"], shown["sum"], shown["fits"]) == (5, 7, 1)
    assert field_names(shown) <= DOCUMENTED
