"""What people and programs read."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import timedelta

import pytest

from podkit.commands.result import Plain, envelope, failure, pod_fields
from podkit.commands.served import Served
from podkit.commands.tables import pod_table
from podkit.errors import UsageError
from podkit.pods.access import access
from podkit.runpod.types import Pod
from tests.podkit.samples import CREATED, FOREIGN, POD, SECRETS, pod

PROXY = "https://{pod_id}-{port}.proxy.runpod.net"
WAITING = pod(id="wait1", name="podkit-qwen3vl-ffffff", runtime=None, cost=0.5, env={})
EXITED = pod(id="old1", status="EXITED", cost=0.0)
PHASES = {"abc123def456gh": "ready", "wait1": "fetch"}
TABLE = """\
ID              NAME                   STATUS   $/H
abc123def456gh  podkit-olmocr-0a1b2c   ready    0.86
    api    https://abc123def456gh-8000.proxy.runpod.net/v1
    webui  https://abc123def456gh-3000.proxy.runpod.net
    L40S in EU-RO-1, 2.5 h old, about $2.15 so far
    ends itself at 00:00 (in 9.5 h)
wait1           podkit-qwen3vl-ffffff  fetch    0.50
    api    https://wait1-8000.proxy.runpod.net/v1
    webui  https://wait1-3000.proxy.runpod.net
    not ready yet: ./podkit.sh wait wait1
    L40S in EU-RO-1, 2.5 h old, about $1.25 so far
    never ends itself
old1            podkit-olmocr-0a1b2c   EXITED   -
zzz999          their-pod              RUNNING  0.86
    not podkit's, L40S in EU-RO-1
total: $2.22/h"""
POD_JSON = {
    "id": "abc123def456gh",
    "name": "podkit-olmocr-0a1b2c",
    "status": "RUNNING",
    "ready_container": True,
    "gpu": "NVIDIA L40S",
    "data_center": "EU-RO-1",
    "cost_per_hour": 0.86,
    "created_at": "2026-11-21T12:00:00Z",
    "ends_at": "2026-11-22T00:00:00Z",
    "network_volume": "vol1",
    "podkit": True,
}


def table(pods: list[Pod], hours: float = 2.5, proxy_url: str = PROXY, **options: bool) -> str:
    return pod_table(
        pods,
        PHASES,
        CREATED + timedelta(hours=hours),
        proxy_url,
        is_wide=options.get("is_wide", False),
    )


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_the_table_of_pods_fits_80_columns() -> None:
    pods = [pod(), WAITING, EXITED, Pod.from_list(FOREIGN)]
    shown = table(pods)
    assert shown == TABLE
    assert max(map(len, shown.splitlines())) <= 80


def test_a_table_of_pods_with_long_names_fits_80_columns_too() -> None:
    foreign = Pod.from_list({**FOREIGN, "name": "x" * 200})
    long = pod(
        name="podkit-translation-0a1b2c",
        gpu={"id": "NVIDIA RTX PRO 6000 Blackwell Workstation Edition", "count": 1},
        env={**POD["env"], "PODKIT_IDLE_MINUTES": "30"},
    )
    shown = table([long, foreign])
    assert "podkit-translation-0a1b2c" in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_a_wide_table_has_every_column_and_the_whole_name_of_a_gpu_type() -> None:
    header, row, *_ = table([pod()], is_wide=True).splitlines()
    assert header.split() == [
        "ID",
        "NAME",
        "STATUS",
        "$/H",
        "GPU",
        "AGE",
        "~$",
        "SO",
        "FAR",
        "DATA",
        "CENTER",
        "VOLUME",
    ]
    assert "NVIDIA L40S" in row


def test_a_young_pod_has_its_age_in_minutes_and_no_cost_of_nothing() -> None:
    assert "90 min old, about $1.29 so far" in table([pod()], 1.5)
    assert "-5 min old\n" in table([pod()], -1 / 12)
    assert "0 min old\n" in table([pod(createdAt=None)], 0)


def test_a_name_with_control_characters_cannot_steer_the_terminal() -> None:
    hostile = Pod.from_list({**FOREIGN, "name": "a\x1b]0;title\x07b"})
    assert "\x1b" not in table([hostile])
    assert r"a\x1b]0;title\x07b" in table([hostile])


def test_in_the_sandbox_a_pod_has_no_urls_before_it_has_ports() -> None:
    assert "api" not in table([WAITING], 0, "http://127.0.0.1:{public_port}")


def test_a_pod_for_programs() -> None:
    assert pod_fields(pod()) == POD_JSON
    foreign = pod_fields(Pod.from_api({"id": "x", "name": "y"}))
    assert foreign["podkit"] is False
    assert {name for name, value in foreign.items() if value is None} == {
        "created_at",
        "ends_at",
        "network_volume",
    }


def test_what_deploy_and_wait_end_with() -> None:
    assert Served(pod(), access(pod(), PROXY)).fields() == {
        "pod": POD_JSON,
        "api_url": "https://abc123def456gh-8000.proxy.runpod.net/v1",
        "webui_url": "https://abc123def456gh-3000.proxy.runpod.net",
        "model": "olmocr",
        "ends_at": "2026-11-22T00:00:00Z",
    }


def test_the_envelopes_are_one_versioned_line_each() -> None:
    assert (
        envelope("list", Plain("", {"pods": []}))
        == '{"schema": 1, "ok": true, "command": "list", "pods": []}'
    )
    said = failure(UsageError('two\n"lines"', "hint", cases=[1]))
    assert "\n" not in said
    assert json.loads(said) == {
        "schema": 1,
        "ok": False,
        "error": {"code": "usage", "message": 'two\n"lines"', "hint": "hint"},
        "cases": [1],
    }


@pytest.mark.parametrize(
    "show",
    [
        pod_fields,
        lambda p: Served(p, access(p, PROXY)).fields(),
        lambda p: table([p]),
    ],
)
def test_no_output_holds_a_value_of_the_environment(show: object) -> None:
    hostile = pod(env={**POD["env"], **{f"X{i}": secret for i, secret in enumerate(SECRETS)}})
    assert callable(show)
    assert not [secret for secret in SECRETS if secret in str(show(hostile))]
