"""What programs get from the commands is what docs/json.md says."""

from __future__ import annotations

import re
from typing import Any

import pytest
import requests_mock as mocking

import podkit
from podkit.errors import PodkitError
from tests.podkit.commands.desk import ONE, Run, account, granted
from tests.podkit.samples import API, GPU, POD, problem


def field_names(value: Any) -> set[str]:
    """Every field in it, at any depth; not the days, GPU types, models and data centers that are
    fields, too.
    """
    if isinstance(value, list):
        return set().union(*map(field_names, value))
    if not isinstance(value, dict):
        return set()
    return {name for name in value if re.fullmatch("[a-z_0-9]+", name)} | field_names(
        list(value.values())
    )


@pytest.mark.parametrize(
    "command",
    [
        ("list",),
        ("stop", "abc1"),
        ("doctor",),
        ("cost",),
        ("gpus", "--model", "mine"),
        ("deploy", "--model", "mine", "--no-wait"),
        ("deploy", "--model", "mine", "--new", "--plan"),
    ],
    ids=" ".join,
)
def test_every_field_that_programs_get_is_documented(
    api: mocking.Mocker, run: Run, command: tuple[str, ...]
) -> None:
    text = (podkit.ROOT / "docs/json.md").read_text(encoding="utf-8").split("## Events")[0]
    charge = {
        "startTime": "2026-11-21T00:00:00Z",
        "endTime": "2026-11-22T00:00:00Z",
        "totalAmount": 1.0,
    }
    types = ("NVIDIA L40S", "NVIDIA A100 80GB PCIe", "NVIDIA GeForce RTX 4090")
    account(
        api,
        POD,
        **{"catalog/gpus": {"json": {"gpus": [{**GPU, "id": gpu_type} for gpu_type in types]}}},
    )
    granted(api)
    api.get(ONE, [{"json": POD}, problem(404)])
    api.delete(ONE, status_code=204)
    api.get(f"{API}/billing/pods", json={"records": [{**charge, "podId": POD["id"]}]})
    api.get(f"{API}/billing/network-volumes", json={"records": []})
    api.get(f"{API}/billing/serverless", json={"records": [{**charge, "serverlessId": "ep1"}]})
    api.get(f"{API}/serverless", json={"endpoints": []})
    api.get(f"{ONE}/logs", text="")
    shown = run(*command, "--json").json
    assert shown["ok"], shown
    documented = set(re.findall(r"`([a-z_0-9]+)`", text))
    missing = field_names(shown) - {"mine"} - documented
    assert not missing, f"docs/json.md: add to the row of {command[0]} the fields {missing}"


def test_every_code_of_an_error_is_documented_and_no_other() -> None:
    text = (podkit.ROOT / "docs/json.md").read_text(encoding="utf-8")
    paragraph = text.split("`code` of an error is one of:")[1].split("\n\n")[0]

    def codes(kind: type[PodkitError]) -> set[str]:
        """The codes of a tree of errors, but for those of the library of jobs."""
        found = {kind.code}
        for below in kind.__subclasses__():
            if not below.__module__.startswith("podkit.jobs"):
                found |= codes(below)
        return found

    assert set(re.findall(r"`([a-z-]+)`", paragraph)) == codes(PodkitError)
