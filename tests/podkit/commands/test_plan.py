"""What `deploy --plan` shows, and what a deploy does by it: order, fit, prices, budget. A plan
writes nothing.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests_mock as mocking
from click.testing import CliRunner

from podkit import ROOT
from podkit.commands import app as application
from podkit.commands.app import App
from podkit.commands.cli import cli
from podkit.errors import NotPlaced, PodkitError, UsageError
from podkit.interrupts import Interrupts
from tests.podkit.samples import (
    API,
    CLIENT_KEY,
    GPU,
    HEX,
    KEY,
    PASSWORD,
    POD,
    VOLUME,
    Clock,
    problem,
)


def sold(name: str, memory: int, price: float | None, **stock: str) -> dict[str, Any]:
    """A GPU type as the catalogue lists it; `stock` by data center, in which `_` stands for `-`."""
    there = [
        {"id": place.replace("_", "-"), "name": place, "availability": level}
        for place, level in stock.items()
    ]
    prices = {"secure": price, "community": 0.0}
    return {**GPU, "id": name, "memory": memory, "price": prices, "dataCenters": there}


CATALOGUE = [
    sold("NVIDIA L40S", 48, 0.86, EU_RO_1="LOW", US_KS_2="HIGH"),
    sold("NVIDIA A100 80GB PCIe", 80, 1.64, EU_RO_1="HIGH"),
    sold("NVIDIA GeForce RTX 4090", 24, 0.69, EU_RO_1="HIGH"),
    sold("NVIDIA RTX A4000", 16, 0.25, EU_RO_1="HIGH"),
    sold("NVIDIA RTX 2000 Ada Generation", 16, 0.24, EU_RO_1="MEDIUM"),
    sold("NVIDIA A40", 48, 0.40, US_KS_2="HIGH"),
    sold("NVIDIA H200 SXM", 141, None, EU_RO_1="LOW"),
]
GPUS = (
    "--gpu",
    "NVIDIA L40S",
    "--gpu",
    "NVIDIA A100 80GB PCIe",
    "--gpu",
    "NVIDIA GeForce RTX 4090",
)
SMALL = ("--gpu", "NVIDIA RTX A4000", "--gpu", "NVIDIA RTX 2000 Ada Generation")
LIVE = {**POD, "name": "podkit-qwen3vl-0a1b2c"}
NOON = {"Date": "Sat, 21 Nov 2026 12:00:00 GMT"}

PLAN = """\
   GPU             $/H   STOCK  FIT       ENDS          AT MOST
1  L40S            0.86  LOW    fits x6   00:00 (12 h)  $10.54
2  A100 80GB PCIe  1.64  HIGH   fits x12  00:00 (12 h)  $20.00
3  RTX 4090        0.69  HIGH   tight x1  00:00 (12 h)  $8.48
skipped RTX A4000: the model's fit on its 16 GB: no (3.3 GiB too small)
AT MOST: $/H, with 1 % and 1 cent of tolerance, until the pod ends itself
each ends itself after 30 idle minutes
network volume vol1  podkit  100 GB  EU-RO-1  about $7.00 a month
"""
BUDGETED = """\
   GPU       $/H   STOCK  FIT       ENDS           AT MOST
1  RTX 4090  0.69  HIGH   tight x1  13:23 (1.4 h)  $0.99
2  L40S      0.86  LOW    fits x6   13:07 (1.1 h)  $0.99
skipped A100 80GB PCIe: at $1.64/h the budget of $1.00 buys 35 minutes, and a
    boot may take 40
AT MOST: $/H, with 1 % and 1 cent of tolerance, until the pod ends itself
each ends itself after 30 idle minutes
network volume vol1  podkit  100 GB  EU-RO-1  about $7.00 a month
pod abc123def456gh (podkit-qwen3vl-0a1b2c) is there, $0.86/h: only --new makes
    another
it ends itself at 00:00 (in 12 h)
"""


@pytest.fixture
def root(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with the real models and a filled .env, at noon."""
    monkeypatch.setattr(application, "time", SimpleNamespace(time=clock, sleep=clock.sleep))
    monkeypatch.setattr(Interrupts, "install", lambda _: None)
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    root = tmp_path / "checkout"
    root.mkdir()
    (root / "startup").symlink_to(ROOT / "startup")
    login = (
        f"PODKIT_API_KEY={CLIENT_KEY}\nWEBUI_ADMIN_PASSWORD={PASSWORD}\nWEBUI_SECRET_KEY={HEX}\n"
        "WEBUI_ADMIN_EMAIL=admin@podkit.local\n"
    )
    (root / ".env").write_text(f"RUNPOD_API_KEY={KEY}\n{login}")
    (root / ".env").chmod(0o600)
    return root


@pytest.fixture(autouse=True)
def _account(api: mocking.Mocker) -> None:
    """An account without a pod; a create is granted."""
    holding(api)
    api.get(f"{API}/network-volumes", json={"networkVolumes": [VOLUME]}, headers=NOON)
    api.get(f"{API}/catalog/gpus", json={"gpus": CATALOGUE}, headers=NOON)

    def create(request: Any, context: Any) -> Any:
        context.status_code = 201
        body = request.json()
        price = next(gpu["price"]["secure"] for gpu in CATALOGUE if gpu["id"] == body["gpu"]["id"])
        made = {**POD, "name": body["name"], "env": body["env"], "gpu": body["gpu"], "cost": price}
        holding(api, made)
        return made

    api.post(f"{API}/pods", json=create, headers=NOON)


def holding(api: mocking.Mocker, *pods: dict[str, Any]) -> None:
    api.get(f"{API}/pods", json={"pods": pods}, headers=NOON)


def deploy(root: Path, *arguments: str) -> tuple[str, str]:
    """What a deploy printed on stdout and on stderr. Raises what it raised."""
    ended = CliRunner().invoke(cli, ["deploy", "--model", "qwen3vl", *arguments], obj=App(root, {}))
    if ended.exception and not isinstance(ended.exception, SystemExit):
        raise ended.exception
    return ended.stdout, ended.stderr


def sent(api: mocking.Mocker) -> list[dict[str, Any]]:
    """The bodies of the creates."""
    return [request.json() for request in api.request_history if request.method == "POST"]


def files(root: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_a_plan_shows_each_candidate_in_its_place_and_the_volume(
    api: mocking.Mocker, root: Path
) -> None:
    assert deploy(root, "--plan", *GPUS, "--gpu", "NVIDIA RTX A4000") == (PLAN, "")
    assert [request.path for request in api.request_history] == [
        "/v2/pods",
        "/v2/network-volumes",
        "/v2/catalog/gpus",
    ]


def test_a_plan_shows_another_order_a_budget_and_the_pod_that_a_deploy_would_return(
    api: mocking.Mocker, root: Path
) -> None:
    holding(api, LIVE)
    wishes = ("--in-stock", "--cheapest", "--budget", "1", "--boot-minutes", "40")
    out, err = deploy(root, "--plan", *GPUS, *wishes)
    assert out == BUDGETED
    assert "does not keep the limits asked for" in err
    assert "--adopt takes it as it is" in err
    assert max(map(len, (PLAN + BUDGETED).splitlines())) <= 80
    assert "is there" not in deploy(root, "--plan", *GPUS, "--new")[0]


def test_a_wide_plan_says_why_each_candidate_is_in_its_place(root: Path) -> None:
    row = deploy(root, "--plan", "--wide", "--gpu", "NVIDIA L40S")[0].splitlines()[1]
    assert "NVIDIA L40S" in row
    assert "fits (32,768 tokens x 6)" in row
    assert row.endswith("48 GB   your choice 1")


LONG = "NVIDIA RTX PRO 6000 Blackwell Workstation Edition"


def test_a_plan_of_a_gpu_type_with_a_long_name_fits_80_columns_too(
    api: mocking.Mocker, root: Path
) -> None:
    gpus = [sold(LONG, 96, 12.34, EU_RO_1="MEDIUM")]
    api.get(f"{API}/catalog/gpus", json={"gpus": gpus}, headers=NOON)
    holding(api, {**LIVE, "name": "podkit-qwen3vl-0a1b2c"})
    shown, _ = deploy(root, "--plan", "--gpu", LONG, "--budget", "1234", "--max-hours", "720")
    assert "RTX PRO 6000 Workstation" in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_a_plan_for_programs(api: mocking.Mocker, root: Path) -> None:
    holding(api, LIVE)
    gpus = ("--gpu", "NVIDIA L40S", "--gpu", "NVIDIA RTX A4000")
    shown = json.loads(deploy(root, "--plan", "--json", *gpus)[0])
    assert shown["plan"].pop("pod")["id"] == POD["id"]
    [candidate] = shown["plan"].pop("candidates")
    assert candidate.pop("fit")["verdict"] == "fits"
    assert candidate == {
        "gpu_type": "NVIDIA L40S",
        "memory_gb": 48,
        "price": 0.86,
        "stock": "LOW",
        "cuda": "12.8, 13.0 (full)",
        "hours": 12.0,
        "ends_at": "2026-11-22T00:00:00Z",
        "cost_at_most": pytest.approx(10.5432),
        "reason": "your choice 1",
    }
    assert shown == {
        "schema": 1,
        "ok": True,
        "command": "deploy",
        "plan": {
            "skipped": [
                {
                    "gpu_type": "NVIDIA RTX A4000",
                    "reason": "the model's fit on its 16 GB: no (3.3 GiB too small)",
                }
            ],
            "network_volume": {
                "id": "vol1",
                "name": "podkit",
                "size_gb": 100,
                "data_center": "EU-RO-1",
                "price_per_month": 7.0,
            },
            "idle_minutes": 30.0,
            "asked_at": "2026-11-21T12:00:00Z",
        },
    }


def test_what_a_plan_cannot_know_is_said_and_an_end_that_is_never_says_so(
    api: mocking.Mocker, root: Path
) -> None:
    table = deploy(root, "--plan", "--gpu", "NVIDIA H200 SXM", "--max-hours", "0")[0].splitlines()
    assert table[1].split() == ["1", "H200", "SXM", "?", "LOW", "fits", "x23", "never", "?"]
    api.get(f"{API}/catalog/gpus", **problem(403))
    out, err = deploy(root, "--plan", "--gpu", "Anything")
    assert " ".join(out.splitlines()[1].split()) == "1 Anything ? ? ? 00:00 (12 h) ?"
    assert "prices and stock are unknown" in err


def test_a_plan_writes_nothing_anywhere_and_only_makes_the_env_file_private(
    api: mocking.Mocker, root: Path
) -> None:
    (root / ".env").write_text(f"RUNPOD_API_KEY={KEY}\n")
    (root / ".env").chmod(0o644)
    before = files(root)
    deploy(root, "--plan")
    assert files(root) == before
    assert (root / ".env").stat().st_mode & 0o777 == 0o600
    assert not (root / ".podkit").exists()
    assert {request.method for request in api.request_history} == {"GET"}


@pytest.mark.parametrize("mode", [("--plan",), ("--plan", "--json"), ("--no-wait",)], ids=" ".join)
def test_where_the_model_loads_on_none_of_the_wanted_nothing_is_created_and_those_that_do_are_named(
    api: mocking.Mocker, root: Path, mode: tuple[str, ...]
) -> None:
    with pytest.raises(NotPlaced) as caught:
        deploy(root, *SMALL, *mode)
    assert caught.value.message == (
        "no GPU type is left to try ("
        "NVIDIA RTX A4000: the model's fit on its 16 GB: no (3.3 GiB too small); "
        "NVIDIA RTX 2000 Ada Generation: the model's fit on its 16 GB: no (3.3 GiB too small))"
    )
    named = (
        "NVIDIA GeForce RTX 4090 ($0.69/h), NVIDIA L40S ($0.86/h), NVIDIA A100 80GB PCIe ($1.64/h)"
    )
    assert caught.value.hint.startswith(f"it would load on {named}")
    assert sent(api) == []


def test_force_tries_it_says_so_and_tells_the_pod(api: mocking.Mocker, root: Path) -> None:
    _, err = deploy(root, *SMALL, "--force", "--no-wait")
    assert "NVIDIA RTX A4000: the model's fit: no (3.3 GiB too small)" in err
    (body,) = sent(api)
    assert (body["gpu"]["id"], body["env"]["PODKIT_FORCE"]) == ("NVIDIA RTX A4000", "1")


def test_a_pod_is_told_of_no_force_without_it(api: mocking.Mocker, root: Path) -> None:
    deploy(root, *GPUS, "--no-wait")
    assert "PODKIT_FORCE" not in sent(api)[0]["env"]


def test_another_order_is_told_before_the_first_create(api: mocking.Mocker, root: Path) -> None:
    _, err = deploy(root, *GPUS, "--cheapest", "--no-wait")
    assert err.splitlines()[:5] == [
        "1. NVIDIA GeForce RTX 4090: $0.69/h, your choice 3",
        "NVIDIA GeForce RTX 4090: the model's fit: tight (32,768 tokens x 1)",
        "2. NVIDIA L40S: $0.86/h, your choice 1",
        "3. NVIDIA A100 80GB PCIe: $1.64/h, your choice 2",
        "NVIDIA GeForce RTX 4090, $0.69/h, stock HIGH: "
        f"created pod {POD['id']} ({sent(api)[0]['name']}) at $0.69/h",
    ]
    assert [request.method for request in api.request_history][:4] == ["GET", "GET", "GET", "POST"]


@pytest.mark.parametrize("hours", ["0", "12"])
def test_a_budget_ends_the_pod_before_it_has_cost_so_much(
    api: mocking.Mocker, root: Path, hours: str
) -> None:
    deploy(root, *GPUS, "--budget", "2", "--max-hours", hours, "--no-wait")
    assert sent(api)[0]["env"]["PODKIT_ENDS_AT"] == "2026-11-21T14:15:35Z"


def test_a_pod_that_may_cost_more_than_the_budget_is_not_taken_silently(
    api: mocking.Mocker, root: Path
) -> None:
    holding(api, LIVE)
    with pytest.raises(UsageError, match=r"until its end it may cost \$10\.32 more") as caught:
        deploy(root, *GPUS, "--budget", "2", "--no-wait")
    assert "--adopt takes it as it is" in caught.value.hint
    _, err = deploy(root, *GPUS, "--budget", "2", "--no-wait", "--adopt")
    assert "until its end it may cost $10.32 more, and the budget is $2.00" in err
    assert "budget" not in deploy(root, *GPUS, "--no-wait")[1]


def test_a_dry_run_says_that_its_end_times_know_no_budget(api: mocking.Mocker, root: Path) -> None:
    out, err = deploy(root, "--dry-run", "--budget", "2", "--force", "--json")
    assert "without the budget, which needs prices; --plan reads them" in err
    assert json.loads(out)["requests"][0]["body"]["env"]["PODKIT_FORCE"] == "1"
    assert api.call_count == 0


@pytest.mark.parametrize(
    ("options", "kind", "what"),
    [
        (("--plan", "--dry-run"), UsageError, "--plan reads the account, --dry-run sends nothing"),
        (
            ("--plan", "--budget", "0"),
            UsageError,
            "--budget is '0'; it must be a number above 0",
        ),
        (("--plan", "--gpu", "NVIDIA L4OS"), UsageError, "unknown GPU type 'NVIDIA L4OS'"),
        (("--plan", *GPUS, "--max-price", "0.5"), NotPlaced, "no GPU type is left to try"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(
    api: mocking.Mocker, root: Path, options: tuple[str, ...], kind: type[PodkitError], what: str
) -> None:
    with pytest.raises(kind, match=what.replace("(", r"\(")):
        deploy(root, *options)
    assert sent(api) == []
