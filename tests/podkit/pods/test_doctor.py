"""What doctor looks at, and that whatever needs attention comes with its fix."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests_mock as mocking

from podkit.models.learned import Boot
from podkit.pods.doctor import examine, pods_to_end, slow_volume, volume_use
from podkit.runpod.client import RunpodClient
from podkit.runpod.logs import LogLine
from podkit.runpod.types import GpuType, NetworkVolume, Pod
from podkit.secret import Secret
from podkit.settings import Settings
from tests.podkit.pods.lines import told
from tests.podkit.samples import API, CREATED, GPU, KEY, POD, VOLUME, pod, problem

SETTINGS = Settings(
    API, "https://{pod_id}-{port}.example.com", Secret(KEY), Path(".env"), gpus=(GPU["id"],)
)
LOG = f"{API}/pods/{POD['id']}/logs"


def troubles(
    api: mocking.Mocker, client: RunpodClient, *pods: dict[str, Any], **changes: Any
) -> list[tuple[str, str]]:
    """What needs attention in an account with these pods, as (what, fix); `changes` replace what a
    list answers."""
    answers = {
        "pods": {"json": {"pods": pods}},
        "network-volumes": {"json": {"networkVolumes": [VOLUME]}},
        "catalog/gpus": {"json": {"gpus": [GPU]}},
    }
    for path, answer in {**answers, **changes}.items():
        api.get(f"{API}/{path}", **answer)
    return [(finding.what, finding.fix) for finding in examine(client, SETTINGS) if finding.fix]


def test_where_all_is_well_nothing_needs_attention(
    api: mocking.Mocker, client: RunpodClient
) -> None:
    api.get(LOG, text='data: {"line": "podkit: volume used_gib=12.5"}\n\n')
    assert troubles(api, client, POD) == []
    said = [finding.what for finding in examine(client, SETTINGS)]
    assert "podkit's folders hold 12.5 of its 100 GB" in said
    assert said[-1] == "pods running: 1, $0.86/h in all"


@pytest.mark.parametrize(("fetched", "needs_attention"), [(500.0, True), (290.0, False)])
def test_a_volume_from_which_models_load_slower_than_they_are_fetched_is_named(
    fetched: float, needs_attention: bool
) -> None:
    boot = Boot("2026-11-20T10:00:00Z", "p1", "olmocr", GPU["id"], "0.32.0", "f", 2.0)
    boots = [
        replace(boot, source="hf", fetch_mb_per_s=fetched, load_mb_per_s=2000.0),
        replace(boot, source="volume", load_mb_per_s=200.0),
        replace(boot, source="volume", load_mb_per_s=190.0),
    ]
    found = [(one.what, bool(one.fix)) for one in slow_volume(boots)]
    what = "models load from the network volume at 195 MB/s, and hf gave them at 500 MB/s"
    assert found == ([(what, True)] if needs_attention else [])
    assert list(slow_volume(boots[:1])) == []


def test_the_stock_of_the_data_center_is_shown_cheapest_first(
    api: mocking.Mocker, client: RunpodClient
) -> None:
    here = {"id": "EU-RO-1", "name": "EU-RO-1", "availability": "HIGH"}
    elsewhere = {**here, "id": "US-KS-2"}
    blackwell = {**GPU, "id": "NVIDIA RTX PRO 4500 Blackwell", "price": {"secure": 0.72}}
    gpus = [
        GPU,
        {**blackwell, "dataCenters": [here]},
        {**GPU, "id": "NVIDIA A40", "dataCenters": [elsewhere]},
    ]
    troubles(api, client, **{"catalog/gpus": {"json": {"gpus": gpus}}})
    said = [finding.what for finding in examine(client, SETTINGS)]
    blackwell_said = "NVIDIA RTX PRO 4500 Blackwell HIGH $0.72/h"
    assert f"in stock in EU-RO-1: {blackwell_said}, NVIDIA L40S LOW $0.86/h" in said


def test_the_stock_is_shown_before_a_volume_ties_the_user_to_the_data_center(
    api: mocking.Mocker, client: RunpodClient
) -> None:
    ((what, fix),) = troubles(api, client, **{"network-volumes": {"json": {"networkVolumes": []}}})
    assert "no network volume in EU-RO-1" in what
    assert "volume create" in fix
    said = [finding.what for finding in examine(client, SETTINGS)]
    assert "in stock in EU-RO-1: NVIDIA L40S LOW $0.86/h" in said


def test_a_long_stock_is_cut_short(api: mocking.Mocker, client: RunpodClient) -> None:
    gpus = [GPU, *({**GPU, "id": f"NVIDIA {number}"} for number in range(7))]
    troubles(api, client, **{"catalog/gpus": {"json": {"gpus": gpus}}})
    (stock,) = [f.what for f in examine(client, SETTINGS) if f.what.startswith("in stock in")]
    assert stock.endswith("NVIDIA 5 LOW $0.86/h, and 2 more (./podkit.sh gpus)")


class Answers:
    """An API whose answers come when a test wants them to."""

    def __init__(self, waits: int = 1) -> None:
        self._together = threading.Barrier(waits, timeout=10)
        self.over = threading.Event()

    def list_pods(self) -> list[Pod]:
        self._together.wait()
        return []

    def list_volumes(self) -> list[NetworkVolume]:
        self._together.wait()
        return [NetworkVolume.from_api(VOLUME)]

    def list_gpu_types(self, _: str) -> list[GpuType]:
        self._together.wait()
        return [GpuType.from_api(GPU)]

    def now(self) -> datetime:
        return CREATED

    def pod_log(self, pod_id: str, *_: Any, brief: bool) -> Iterator[LogLine]:
        if pod_id == POD["id"]:
            self.over.wait(10)
        else:
            yield from told("podkit: volume used_gib=6", "podkit: volume used_gib=7")


def test_how_full_the_volume_is_does_not_wait_for_a_log_that_stays_silent() -> None:
    client: Any = Answers()
    assert volume_use(client, [pod(), pod(id="second")]) == 7.0
    client.over.set()


def test_what_is_asked_of_the_api_is_asked_side_by_side() -> None:
    client: Any = Answers(waits=3)
    assert [finding for finding in examine(client, SETTINGS) if finding.fix] == []


def test_a_volume_that_is_almost_full_is_said_so(api: mocking.Mocker, client: RunpodClient) -> None:
    lines = [f'data: {{"line": "podkit: volume used_gib={used}"}}\n\n' for used in (20, 95.1)]
    api.get(LOG, text="".join(lines))
    ((what, fix),) = troubles(api, client, POD)
    assert what == "podkit's folders hold 95.1 of its 100 GB"
    assert "hf_cache" in fix


@pytest.mark.parametrize(
    ("path", "answer", "what", "fix"),
    [
        ("pods", problem(401, "bad key"), "401: bad key", "RUNPOD_API_KEY"),
        ("network-volumes", problem(403, "no"), "403: no", "read and write"),
        (
            "network-volumes",
            {"json": {"networkVolumes": []}},
            "no network volume in EU-RO-1",
            "volume create",
        ),
        ("catalog/gpus", problem(404, "gone"), "404: gone", "list_pods.sh"),
        (
            "catalog/gpus",
            {"json": {"gpus": [{**GPU, "id": "NVIDIA L40"}]}},
            "unknown GPU type",
            "'NVIDIA L40'",
        ),
        (
            "catalog/gpus",
            {"json": {"gpus": [{**GPU, "dataCenters": []}]}},
            "none of these GPU types is in stock",
            "--gpu",
        ),
    ],
)
def test_each_trouble_has_its_fix(
    api: mocking.Mocker,
    client: RunpodClient,
    path: str,
    answer: dict[str, Any],
    what: str,
    fix: str,
) -> None:
    ((said, told),) = troubles(api, client, **{path: answer})
    assert what in said
    assert fix in told


def test_pods_that_cost_for_nothing_are_named_with_the_command_that_ends_them() -> None:
    late = pod()
    stopped = pod(id="old1", status="EXITED", cost=0.0)
    gone = pod(id="old2", status="TERMINATED")
    *found, total = pods_to_end([late, stopped, gone], CREATED + timedelta(days=2))
    assert [finding.fix for finding in found] == [
        "./stop_pod.sh abc123def456gh",
        "./stop_pod.sh old1 --terminate",
    ]
    assert "past its end time" in found[0].what
    assert total.what == "pods running: 1, $0.86/h in all"
    assert len(list(pods_to_end([late], CREATED))) == 1


def test_types_that_are_all_skipped_are_not_taken_for_types_without_stock(
    api: mocking.Mocker, client: RunpodClient
) -> None:
    assert troubles(api, client) == []
    cheap = replace(SETTINGS, max_price=0.1)
    found = {finding.what: finding.fix for finding in examine(client, cheap)}
    assert "PODKIT_MAX_PRICE" in found["no GPU type is left to try"]
    assert not [what for what in found if "in stock now" in what]
