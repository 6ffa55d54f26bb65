"""What people and programs read."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import timedelta

import pytest

from podkit.commands.output import envelope, failure, pod_json, pod_table, served_json
from podkit.errors import UsageError
from podkit.pods.access import access
from podkit.runpod.types import Pod
from tests.podkit.samples import CREATED, FOREIGN, POD, SECRETS, pod

PROXY = "https://{pod_id}-{port}.proxy.runpod.net"
WAITING = pod(id="wait1", name="podkit-qwen3vl-ffffff", runtime=None, cost=0.5, env={})
EXITED = pod(id="old1", status="EXITED", cost=0.0)
PHASES = {"abc123def456gh": "ready", "wait1": "fetch, install"}
TABLE = """\
ID              NAME                      STATUS          GPU          DATA CENTER  $/H   AGE    ~$ SO FAR
abc123def456gh  podkit-olmocr-0a1b2c      ready           NVIDIA L40S  EU-RO-1      0.86  2.5 h  2.15
    api    https://abc123def456gh-8000.proxy.runpod.net/v1
    webui  https://abc123def456gh-3000.proxy.runpod.net
    ends itself after 30 idle minutes, at the latest 00:00 (in 9.5 h)
wait1           podkit-qwen3vl-ffffff     fetch, install  NVIDIA L40S  EU-RO-1      0.50  2.5 h  1.25
    api    https://wait1-8000.proxy.runpod.net/v1
    webui  https://wait1-3000.proxy.runpod.net
    not ready yet: ./podkit.sh wait wait1
    never ends itself
old1            podkit-olmocr-0a1b2c      EXITED          NVIDIA L40S  EU-RO-1      0.00  2.5 h  -
zzz999          their-pod (not podkit's)  RUNNING         NVIDIA L40S  EU-RO-1      0.86  2.5 h  2.15
total: $2.22/h  (~$ so far is age x rate, approximate)"""  # noqa: E501
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


@pytest.fixture
def _in_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as changed:
        changed.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("_in_utc")
def test_the_table_of_pods() -> None:
    limited = pod(env={**POD["env"], "PODKIT_IDLE_MINUTES": "30"})
    pods = [limited, WAITING, EXITED, Pod.from_api(FOREIGN)]
    assert pod_table(pods, CREATED + timedelta(hours=2.5), PROXY, PHASES) == TABLE


def test_a_young_pod_has_its_age_in_minutes_and_a_clock_that_is_behind_costs_nothing() -> None:
    assert "  90 min  " in pod_table([pod()], CREATED + timedelta(minutes=90), PROXY, {})
    assert "-5 min" in (early := pod_table([pod()], CREATED - timedelta(minutes=5), PROXY, {}))
    assert "  0.00\n" in early
    assert "  0 min  " in pod_table([pod(createdAt=None)], CREATED, PROXY, {})


def test_in_the_sandbox_a_pod_has_no_urls_before_it_has_ports() -> None:
    assert "api" not in pod_table([WAITING], CREATED, "http://127.0.0.1:{public_port}", {})


def test_a_pod_for_programs() -> None:
    assert pod_json(pod()) == POD_JSON
    foreign = pod_json(Pod.from_api({"id": "x", "name": "y"}))
    assert foreign["podkit"] is False
    assert {name for name, value in foreign.items() if value is None} == {
        "created_at",
        "ends_at",
        "network_volume",
    }


def test_what_deploy_and_wait_end_with() -> None:
    assert served_json(pod(), access(pod(), PROXY)) == {
        "pod": POD_JSON,
        "api_url": "https://abc123def456gh-8000.proxy.runpod.net/v1",
        "webui_url": "https://abc123def456gh-3000.proxy.runpod.net",
        "model": "olmocr",
        "ends_at": "2026-11-22T00:00:00Z",
    }


def test_the_envelopes_are_one_versioned_line_each() -> None:
    assert envelope("list", pods=[]) == '{"schema": 1, "ok": true, "command": "list", "pods": []}'
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
        pod_json,
        lambda p: served_json(p, access(p, PROXY)),
        lambda p: pod_table([p], CREATED, PROXY, {}),
    ],
)
def test_no_output_holds_a_value_of_the_environment(show: object) -> None:
    hostile = pod(env={**POD["env"], **{f"X{i}": secret for i, secret in enumerate(SECRETS)}})
    assert callable(show)
    assert not [secret for secret in SECRETS if secret in str(show(hostile))]
