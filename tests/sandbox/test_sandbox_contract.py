"""Every answer has the shape of the provider's OpenAPI document, which RUNPOD_OPENAPI names."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests import contract
from tests.sandbox.sandboxes import Paper, request_for

if TYPE_CHECKING:
    from openapi_core import OpenAPI


@pytest.fixture(scope="session")
def document() -> OpenAPI:
    return contract.needed()


POD = "/pods/{id}"
CALLS: list[tuple[str, str, Any, int]] = [
    ("POST", "/pods", request_for(), 201),
    ("POST", "/pods", request_for(mounts={}), 201),
    ("POST", "/pods", request_for(gpu={"id": "NVIDIA A40", "count": 1}), 400),
    ("POST", "/pods", {"name": "podkit"}, 422),
    ("POST", "/pods", request_for(env={"A": "x" * 102_400}), 413),
    ("GET", "/pods", None, 200),
    ("GET", POD, None, 200),
    ("GET", "/pods/nothing", None, 404),
    ("GET", f"{POD}/logs", None, 200),
    ("POST", f"{POD}/action", {"action": "stop"}, 200),
    ("GET", POD, None, 200),
    ("POST", f"{POD}/action", {"action": "stop"}, 409),
    ("POST", f"{POD}/action", {"action": "terminate"}, 204),
    ("DELETE", POD, None, 404),
    ("GET", "/network-volumes", None, 200),
    ("POST", "/network-volumes", {"name": "a", "size": 10, "dataCenter": "EU-RO-1"}, 201),
    (
        "GET",
        "/catalog/gpus?include=AVAILABILITY&product=POD&count=1&cloud=SECURE&minCudaVersion=13.0",
        None,
        200,
    ),
    ("GET", "/catalog/gpus", None, 200),
    ("GET", "/catalog/gpus/NVIDIA%20L40S", None, 200),
    ("GET", "/catalog/gpus/NVIDIA%20L4OS", None, 404),
    ("GET", "/catalog/cpus?include=AVAILABILITY&product=SERVERLESS", None, 200),
    ("GET", "/catalog/cpus/cpu3c", None, 200),
    ("GET", "/catalog/datacenters", None, 200),
    ("GET", "/catalog/datacenters/EU-RO-1?include=GPU_AVAILABILITY,CPU_AVAILABILITY", None, 200),
    ("POST", "/registries", {"name": "a", "username": "b", "password": "c"}, 201),
    ("GET", "/registries", None, 200),
    ("GET", "/network-volumes/podkit0vol", None, 200),
    ("PATCH", "/network-volumes/podkit0vol", {"size": 200}, 200),
    ("PATCH", "/network-volumes/podkit0vol", {"size": 100}, 400),
    ("PATCH", "/network-volumes/podkit0vol", {}, 422),
    ("DELETE", "/network-volumes/podkit0vol", None, 204),
    ("GET", "/network-volumes/podkit0vol", None, 404),
    (
        "GET",
        "/billing/pods?startTime=2026-11-01T00:00:00Z&endTime=2026-12-01T00:00:00Z",
        None,
        200,
    ),
    ("GET", "/billing/pods?startTime=2026-11-01T00:00:00Z", None, 400),
    ("GET", "/billing/network-volumes?bucketSize=hour", None, 200),
    ("GET", "/billing/pods?bucketSize=month", None, 200),
    ("GET", "/billing/pods?bucketSize=decade", None, 422),
]


def test_every_answer_is_valid(paper: Paper, document: OpenAPI) -> None:
    from openapi_core.testing import MockRequest, MockResponse

    id = "nothing"
    for method, path, body, status in CALLS:
        paper.clock.now += 1
        answer = paper.call(method, path.format(id=id), body)
        assert answer.status == status, (method, path, answer.body)
        id = (
            json.loads(answer.body)["id"]
            if (method, path, status) == ("POST", "/pods", 201)
            else id
        )
        request = MockRequest(
            "https://api.runpod.io", method.lower(), "/v2" + path.format(id=id).partition("?")[0]
        )
        headers = dict(answer.headers)
        kind = headers.pop("Content-Type", "")
        document.validate_response(request, MockResponse(answer.body, answer.status, headers, kind))
