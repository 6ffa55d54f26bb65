"""The request body of a create, and what podkit reads from the API's answers."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from podkit.errors import BadAnswer
from podkit.runpod.types import (
    IMAGE,
    GpuType,
    NetworkVolume,
    Pod,
    PodSpec,
    create_body,
    monthly_price,
    parse_time,
)
from podkit.secret import Secret
from tests import contract
from tests.podkit.samples import CLIENT_KEY, FOREIGN, GPU, PASSWORD, POD, VOLUME, pod

SPEC = PodSpec(
    name="podkit-olmocr-0a1b2c",
    gpu_type="NVIDIA L40S",
    data_center="EU-RO-1",
    volume_id="vol1",
    command="echo start",
    env={"PODKIT_MODEL": "olmocr", "PODKIT_API_KEY": Secret(CLIENT_KEY)},
)
BODY = {
    "name": "podkit-olmocr-0a1b2c",
    "image": IMAGE,
    "cloud": "SECURE",
    "dataCenterIds": ["EU-RO-1"],
    "gpu": {"id": "NVIDIA L40S", "count": 1, "minCudaVersion": "13.0"},
    "disk": 40,
    "ports": ["8000/http", "3000/http"],
    "mounts": {"network": [{"volumeId": "vol1", "path": "/workspace"}]},
    "entrypoint": ["/bin/bash", "-c"],
    "cmd": ["echo start"],
    "env": {"PODKIT_MODEL": "olmocr", "PODKIT_API_KEY": CLIENT_KEY},
}


def test_the_body_of_a_create_is_a_pure_function_of_the_spec() -> None:
    assert create_body(SPEC) == create_body(SPEC) == BODY


def test_a_redacted_body_differs_in_the_secrets_alone() -> None:
    assert create_body(SPEC, redacted=True) == {
        **BODY,
        "env": {"PODKIT_MODEL": "olmocr", "PODKIT_API_KEY": "***"},
    }


def test_the_samples_of_these_tests_have_the_shape_of_the_contract() -> None:
    document = contract.needed()
    contract.check_answer(document, "GET", "/pods", {"pods": [POD, FOREIGN]})
    contract.check_answer(document, "GET", "/catalog/gpus", {"gpus": [GPU]})
    contract.check_answer(document, "GET", "/network-volumes", {"networkVolumes": [VOLUME]})


def test_a_pod_is_read_from_the_api() -> None:
    seen = pod()
    assert (seen.id, seen.name, seen.status, seen.live, seen.ours) == (
        POD["id"],
        POD["name"],
        "RUNNING",
        True,
        True,
    )
    assert (seen.gpu_type, seen.data_center, seen.cost_per_hour) == ("NVIDIA L40S", "EU-RO-1", 0.86)
    assert (seen.volume_id, seen.persistent_disk) == ("vol1", False)
    assert seen.public_ports == {8000: 41000, 3000: 41001}
    assert seen.created_at == datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
    assert seen.ends_at == datetime(2026, 11, 22, tzinfo=UTC)
    assert seen.uptime == 60


@pytest.mark.parametrize("status", ["PROVISIONING", "STARTING", "RUNNING"])
def test_a_pod_that_is_or_will_be_billed_is_live(status: str) -> None:
    assert pod(status=status).live


@pytest.mark.parametrize("status", ["EXITED", "ERROR", "TERMINATED", "SOMETHING_NEW"])
def test_any_other_pod_is_not_live(status: str) -> None:
    assert not pod(status=status).live


def test_running_without_a_runtime_is_a_pod_whose_container_has_not_started() -> None:
    assert pod(runtime=None).uptime is None
    assert pod(runtime={}).uptime == 0


def test_a_foreign_pod_is_not_ours() -> None:
    assert not Pod.from_api(FOREIGN).ours


def test_unknown_keys_are_ignored() -> None:
    assert Pod.from_api({**POD, "new": {"deep": 1}, "gpu": {**POD["gpu"], "new": 1}}) == pod()
    assert GpuType.from_api({**GPU, "new": 1}) == GpuType.from_api(GPU)
    assert NetworkVolume.from_api({**VOLUME, "new": 1}) == NetworkVolume.from_api(VOLUME)


@pytest.mark.parametrize("what", [Pod, GpuType, NetworkVolume])
@pytest.mark.parametrize("data", [{}, {"id": ""}, {"id": 7}, {"id": None}])
def test_an_answer_without_its_id_is_a_bad_answer(what: Any, data: Any) -> None:
    with pytest.raises(BadAnswer, match="`id`"):
        what.from_api(data)


def test_a_pod_without_a_name_is_a_bad_answer() -> None:
    with pytest.raises(BadAnswer, match="`name`"):
        pod(name=None)


def test_a_pod_with_only_id_and_name_can_still_be_listed_and_ended() -> None:
    seen = Pod.from_api({"id": "p1", "name": "their-pod"})
    assert (seen.status, seen.live, seen.cost_per_hour, seen.created_at) == (
        "UNKNOWN",
        False,
        0.0,
        None,
    )
    assert (seen.gpu_type, seen.data_center, seen.volume_id, seen.uptime) == ("-", "-", "", None)


def test_ports_without_a_public_side_are_left_out() -> None:
    ports = [{"private": 8000, "public": None, "type": "http", "ip": None}, {"private": 3000}]
    assert pod(runtime={"uptime": 1, "ports": ports}).public_ports == {}


def test_a_gpu_type_has_the_price_and_stock_of_secure_cloud() -> None:
    gpu = GpuType.from_api(GPU)
    assert (gpu.id, gpu.memory, gpu.price, gpu.stock) == (
        "NVIDIA L40S",
        48,
        0.86,
        {"EU-RO-1": "LOW"},
    )
    assert gpu.cuda_versions == (("12.8", True), ("13.0", False))
    assert GpuType.from_api({**GPU, "secure": False}).price is None
    assert GpuType.from_api({"id": "X", "memory": 24}) == GpuType("X", 24, None, {}, ())


def test_no_environment_value_is_in_a_repr() -> None:
    shown = f"{SPEC!r} {pod()!r} {[pod()]}"
    assert CLIENT_KEY not in shown
    assert PASSWORD not in shown
    assert "***" not in shown  # not even the names of the variables


@pytest.mark.parametrize(
    "text", ["2026-11-21T12:00:00Z", "2026-11-21T14:00:00+02:00", "2026-11-21T12:00:00"]
)
def test_times_are_read_as_utc(text: str) -> None:
    assert parse_time(text) == datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.mark.parametrize("text", ["", None, "soon", 7, "0001-01-01T00:00:00+05:00"])
def test_what_is_no_time_is_none(text: Any) -> None:
    assert parse_time(text) is None


def test_a_volume_costs_seven_cents_per_gb_and_month() -> None:
    assert monthly_price(100) == pytest.approx(7.0)
