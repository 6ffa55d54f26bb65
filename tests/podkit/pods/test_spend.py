"""What `cost` shows: the sandbox's account over three weeks of a clock,
and bills of every other shape.
"""

from __future__ import annotations

import json
import random
import re
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import requests_mock as mocking
from click.testing import CliRunner, Result

from podkit import ROOT
from podkit.commands.app import App
from podkit.commands.cli import cli
from podkit.commands.cost_report import report
from podkit.errors import BadAnswer, UsageError
from podkit.pods.spend import budget_warning, read_spend
from podkit.runpod.client import RunpodClient
from podkit.runpod.types import Charge
from podkit.settings import load
from podkit_sandbox.account import Account, Call, PaperRunner, Scenario
from tests import contract
from tests.podkit.samples import API, CREATED, KEY, POD, Clock, problem

OF_PODS = f"{API}/billing/pods"
OF_VOLUMES = f"{API}/billing/network-volumes"
OF_ENDPOINTS = f"{API}/billing/serverless"
ENDPOINT = {"id": "ep1", "name": "translation", "workers": {"min": 1, "max": 3}}
BUDGET = "PODKIT_MONTHLY_BUDGET"
LIVES = (
    ("podkit-olmocr-00000a", "NVIDIA L40S", "2026-10-31T20:00Z", "2026-11-01T02:00Z", "terminate"),
    (
        "podkit-olmocr-00000b",
        "NVIDIA A100 80GB PCIe",
        "2026-11-16T09:00Z",
        "2026-11-16T19:00Z",
        "terminate",
    ),
    ("podkit-olmocr-00000c", "NVIDIA L40S", "2026-11-18T22:00Z", "2026-11-19T04:00Z", "terminate"),
    ("podkit-qwen3vl-00000d", "NVIDIA L40S", "2026-11-20T08:00Z", "2026-11-20T08:30Z", "stop"),
    ("podkit-olmocr-00000e", "NVIDIA GeForce RTX 4090", "2026-11-21T06:00Z", "", ""),
)
"""Pods one after the other: name, GPU type, from, until, and how each ended.
It is noon of 2026-11-21.
"""
GOLDEN = """\
DAY (UTC)        USD
2026-11-16     14.13  ██████████████████
2026-11-17      0.23
2026-11-18      1.95  ██
2026-11-19      3.67  █████
2026-11-20      0.66  █
2026-11-21      4.26  █████

WHAT    ID              NAME                        USD
pod     892f90d23f0824  -                         13.90  ██████████████████
pod     36f67581e74ef5  -                          5.16  ███████
pod     f28c101fb17c23  podkit-olmocr-00000e       4.14  █████
pod     1738f73d9c1724  podkit-qwen3vl-00000d      0.43  █
volume  podkit0vol      podkit                     1.27  ██

days shown: $24.90; this month so far: $30.07 of the budget of $30.00
running now: $0.69/h, which is $16.56 a day
network volumes: about $7.00 a month until you delete them
disks of stopped pods may cost, too: 1738f73d9c1724; see ./podkit.sh doctor
(billed amounts are the provider's, and may lag by hours)
"""
EMPTY = """\
nothing was billed on these days
days shown: nothing; this month so far: nothing
running now: nothing
(billed amounts are the provider's, and may lag by hours)"""


@pytest.fixture
def past(api: mocking.Mocker, clock: Clock) -> Account:
    """The sandbox's account after LIVES, answering as the API."""
    clock.now = datetime(2026, 10, 30, tzinfo=UTC).timestamp()
    account = Account(clock, random.Random(7), Scenario(), PaperRunner(clock), KEY)

    def called(method: str, path: str, body: Any = None, **query: str) -> Any:
        headers = {"authorization": f"Bearer {KEY}"}
        return account.handle(
            Call(method, path, query, headers, json.dumps(body).encode() if body else b"")
        )

    def answer(request: Any, context: Any) -> bytes:
        parts = urlsplit(request.url)
        given = called(request.method, parts.path, **dict(parse_qsl(parts.query)))
        context.status_code = given.status
        context.headers = given.headers
        return bytes(given.body)

    for name, gpu, since, until, action in LIVES:
        clock.now = datetime.fromisoformat(since).timestamp()
        wish = {
            "name": name,
            "image": "any",
            "gpu": {"id": gpu, "count": 1},
            "dataCenterIds": ["EU-RO-1"],
        }
        pod = json.loads(called("POST", "/v2/pods", wish).body)["id"]
        if until:
            clock.now = datetime.fromisoformat(until).timestamp()
            called("POST", f"/v2/pods/{pod}/action", {"action": action})
    clock.now = CREATED.timestamp()
    api.get(re.compile(f"{API}/"), content=answer)
    return account


def billed(api: mocking.Mocker, pods: Any = (), volumes: Any = (), endpoints: Any = ()) -> None:
    """The API has these bills, and nothing that is still there."""
    api.get(f"{API}/pods", json={"pods": []}, headers={"Date": "Sat, 21 Nov 2026 12:00:00 GMT"})
    api.get(f"{API}/network-volumes", json={"networkVolumes": []})
    api.get(OF_PODS, json={"records": [*pods]})
    api.get(OF_VOLUMES, json={"records": [*volumes]})
    api.get(OF_ENDPOINTS, json={"records": [*endpoints]})
    api.get(f"{API}/serverless", json={"endpoints": [ENDPOINT] if endpoints else []})


def charge(day: str, usd: float, key: str = "podId", id: str = "pod1") -> dict[str, Any]:
    return {
        "startTime": f"{day}T00:00:00Z",
        "endTime": f"{day}T24:00:00Z",
        key: id,
        "totalAmount": usd,
    }


def cost(root: Path, *arguments: str, **environ: str) -> Result:
    app = App(root, {"RUNPOD_API_KEY": KEY, **environ})
    return CliRunner().invoke(cli, ["cost", *arguments], obj=app)


def test_three_weeks_of_an_account_in_a_table_with_bars(past: Account, tmp_path: Path) -> None:
    shown = cost(tmp_path, "--days", "6", **{BUDGET: "30"})
    assert (shown.exit_code, shown.stdout) == (0, GOLDEN)
    assert max(map(len, shown.stdout.splitlines())) <= 80
    assert len(past.pods) == len(LIVES)


def test_the_same_for_programs(past: Account, tmp_path: Path) -> None:
    said = json.loads(cost(tmp_path, "--days", "2", "--json").stdout)
    *_, d, e = past.pods
    assert said == {
        "schema": 1,
        "ok": True,
        "command": "cost",
        "days": {"2026-11-20": 0.6601, "2026-11-21": 4.2551},
        "pods": [
            {"id": e, "name": "podkit-olmocr-00000e", "usd": 4.14},
            {"id": d, "name": "podkit-qwen3vl-00000d", "usd": 0.43},
        ],
        "volumes": [{"id": "podkit0vol", "name": "podkit", "usd": 0.3452}],
        "endpoints": [],
        "total": 4.9152,
        "month": 30.0678,
        "monthly_budget": None,
        "rate_per_hour": 0.69,
        "storage_per_month": 7.0,
        "stopped_pods": [d],
        "idle_workers": 0,
    }


def test_days_reach_back_before_this_month_which_is_summed_on_its_own(
    past: Account, client: RunpodClient
) -> None:
    wide = read_spend(client, 30, None, {})
    narrow = read_spend(client, 1, None, {})
    assert min(wide["days"]) == "2026-10-23"
    assert wide["total"] == pytest.approx(
        wide["month"] + wide["days"]["2026-10-30"] + wide["days"]["2026-10-31"], abs=0.001
    )
    assert wide["days"]["2026-10-31"] == pytest.approx(4 * 0.86 + 0.23, abs=0.001)
    assert (narrow["month"], [*narrow["days"]]) == (wide["month"], ["2026-11-21"])


def test_days_without_a_bill_have_no_row(api: mocking.Mocker, client: RunpodClient) -> None:
    billed(api, [charge("2026-11-14", 2.0), charge("2026-11-16", 1.0)])
    table = report(read_spend(client, 30, None, {})).split("\n\n")[0]
    assert [line.split()[0] for line in table.splitlines()] == [
        "DAY",
        "2026-11-14",
        "2026-11-16",
        "the",
    ]
    assert "the other 28: nothing" in table


def test_an_account_without_bills_says_so(api: mocking.Mocker, client: RunpodClient) -> None:
    billed(api)
    assert report(read_spend(client, 7, None, {})) == EMPTY


def test_bills_of_another_time_count_for_neither_days_nor_month(
    api: mocking.Mocker, client: RunpodClient
) -> None:
    billed(api, [charge("2026-10-31", 9.0), charge("2026-11-14", 2.0), charge("2026-11-15", 1.0)])
    spend = read_spend(client, 7, None, {})
    assert (spend["total"], spend["month"], [one["usd"] for one in spend["pods"]]) == (
        1.0,
        3.0,
        [1.0],
    )
    assert api.request_history[-1].qs == {
        "starttime": ["2026-11-01t00:00:00z"],
        "endtime": ["2026-11-21t12:00:00z"],
        "bucketsize": ["day"],
    }


def test_a_refund_has_no_bar(api: mocking.Mocker, client: RunpodClient) -> None:
    billed(
        api, [charge("2026-11-21", -3.0)], [charge("2026-11-21", 1.0, "networkVolumeId", "vol1")]
    )
    assert "pod     pod1  -        -3.00\n" in report(read_spend(client, 1, None, {}))


@pytest.mark.parametrize(
    "records",
    [
        None,
        {},
        [7],
        [{}],
        [{**charge("2026-11-21", 1), "startTime": "now"}],
        [{**charge("2026-11-21", 1), "podId": 7}],
        [{**charge("2026-11-21", 1), "totalAmount": None}],
        [{**charge("2026-11-21", 1), "totalAmount": "much"}],
        [{**charge("2026-11-21", 1), "totalAmount": []}],
    ],
)
def test_a_bill_of_another_shape_is_a_bad_answer(
    api: mocking.Mocker, client: RunpodClient, records: Any
) -> None:
    api.get(OF_PODS, json={"records": records})
    with pytest.raises(BadAnswer):
        client.list_charges(date(2026, 11, 1))


def test_bills_are_read_again_after_a_fault(api: mocking.Mocker, client: RunpodClient) -> None:
    billed(api)
    api.get(OF_PODS, [problem(503), {"json": {"records": [charge("2026-11-21", 1.5)]}}])
    assert client.list_charges(date(2026, 11, 1)) == [
        Charge(date(2026, 11, 21), "pod", "pod1", 1.5)
    ]


@pytest.mark.parametrize("days", ["0", "366", "many"])
def test_days_are_between_one_and_a_year(tmp_path: Path, days: str) -> None:
    assert cost(tmp_path, "--days", days).exit_code == 2


def test_a_month_over_its_budget_is_a_warning_with_the_numbers_and_the_command(
    api: mocking.Mocker, client: RunpodClient
) -> None:
    billed(
        api, [charge("2026-11-02", 48.0)], [charge("2026-11-02", 2.5, "networkVolumeId", "vol1")]
    )
    assert budget_warning(client, 50.50) == ""
    words = "this month has cost $50.50, its budget is $50.00; see ./podkit.sh cost"
    assert budget_warning(client, 50.0) == f"WARNING: {words}"


def test_a_budget_that_cannot_be_checked_is_said(api: mocking.Mocker, client: RunpodClient) -> None:
    api.get(OF_PODS, **problem(403, "no access"))
    words = "the monthly budget of $50.00 could not be checked (GET /billing/pods: 403: no access)"
    assert budget_warning(client, 50.0) == words


@pytest.mark.parametrize(("budget", "said"), [("40", True), ("50", False), ("", False)])
def test_a_deploy_over_the_budget_warns_and_goes_on(
    api: mocking.Mocker, tmp_path: Path, budget: str, said: bool
) -> None:
    (tmp_path / "startup").symlink_to(ROOT / "startup")
    billed(api, [charge("2999-11-21", 48.0)])
    api.get(f"{API}/pods", json={"pods": [POD]})
    app = App(tmp_path, {"RUNPOD_API_KEY": KEY, BUDGET: budget})
    ended = CliRunner().invoke(cli, ["deploy", "--model", "olmocr", "--no-wait"], obj=app)
    assert (ended.exit_code, ended.stdout.split("\n")[0]) == (0, POD["id"])
    assert ("WARNING: this month has cost $48.00, its budget is $40.00" in ended.stderr) is said
    assert any("/billing/" in sent.url for sent in api.request_history) is bool(budget)


@pytest.mark.parametrize("value", ["0", "-5", "a lot"])
def test_a_budget_is_a_number_above_zero(tmp_path: Path, value: str) -> None:
    with pytest.raises(UsageError, match=BUDGET):
        load({BUDGET: value}, tmp_path, {})


def test_the_bills_of_these_tests_have_the_shape_of_the_contract(
    past: Account, client: RunpodClient
) -> None:
    document = contract.needed()
    for kind in ("pods", "network-volumes"):
        bill = client.request("GET", f"/billing/{kind}", params={"bucketSize": "day"})
        assert bill["records"]
        contract.check_answer(document, "GET", f"/billing/{kind}", bill)


def test_endpoints_have_their_rows_and_count_into_the_month_and_its_budget(
    api: mocking.Mocker, client: RunpodClient
) -> None:
    of_endpoints = [charge("2026-11-20", 3, "serverlessId", "ep1")]
    of_endpoints += [charge("2026-11-21", 1, "serverlessId", "gone")]
    billed(api, [charge("2026-11-21", 2)], endpoints=of_endpoints)
    spend = read_spend(client, 7, 5.0, {})
    assert spend["endpoints"] == [
        {"id": "ep1", "name": "translation", "usd": 3.0},
        {"id": "gone", "name": None, "usd": 1.0},
    ]
    assert (spend["total"], spend["month"], spend["idle_workers"]) == (6.0, 6.0, 1)
    shown = report(spend)
    assert re.search(r"endpoint  ep1 +translation +3\.00", shown)
    assert "always on: 1" in shown
    assert "has cost $6.00" in budget_warning(client, 5.0)


def test_a_key_that_may_not_see_endpoints_has_its_other_costs(
    api: mocking.Mocker, client: RunpodClient
) -> None:
    billed(api, [charge("2026-11-21", 2)])
    api.get(OF_ENDPOINTS, **problem(403))
    api.get(f"{API}/serverless", **problem(403))
    spend = read_spend(client, 7, None, {})
    assert (spend["endpoints"], spend["total"]) == (None, 2.0)
    assert "serverless endpoints: not counted" in report(spend)
    assert budget_warning(client, 5.0) == ""
