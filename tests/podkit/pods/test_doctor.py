"""What doctor looks at, and that whatever needs attention comes with its fix."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import requests_mock as mocking

from podkit.pods.doctor import examine, pods_to_end
from podkit.runpod.client import RunpodClient
from podkit.secret import Secret
from podkit.settings import Settings
from tests.podkit.samples import API, CREATED, GPU, KEY, POD, VOLUME, pod, problem

SETTINGS = Settings(
    API, "https://{pod_id}-{port}.example.com", Secret(KEY), Path(".env"), gpus=(GPU["id"],)
)
LOG = f"{API}/pods/{POD['id']}/logs"


def troubles(
    api: mocking.Mocker, client: RunpodClient, *pods: dict[str, Any], **changes: Any
) -> list[tuple[str, str]]:
    """What needs attention in an account with these pods, as (what, fix); `changes` replace what a list answers."""
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
    late, stopped, gone = (
        pod(),
        pod(id="old1", status="EXITED", cost=0.0),
        pod(id="old2", status="TERMINATED"),
    )
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
