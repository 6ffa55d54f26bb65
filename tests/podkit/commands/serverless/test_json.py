"""What programs get from the verbs of `serverless` is what docs/json.md says."""

from __future__ import annotations

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


def test_a_refused_quota_is_documented_for_programs(shop: Shop) -> None:
    shop.cloud.make("others", workers={"min": 0, "max": 4})
    shown = failed(shop.verb, 1, "deploy", "--json").json
    assert shown.pop("error")["code"] == "quota"
    assert (shown["quota"], shown["sum"], shown["fits"]) == (5, 7, 1)
    assert field_names(shown) <= DOCUMENTED
