"""The calls about serverless endpoints: what is sent, how often, and what its answer becomes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
import requests_mock as mocking

from podkit import errors
from podkit.errors import ApiError
from podkit.runpod.client import RunpodClient
from podkit.runpod.endpoint_types import Endpoint, EndpointCharge, Release, Rollout, Worker
from podkit.runpod.logs import LogLine
from tests import contract
from tests.podkit.samples import API, GPU, problem

URL = "https://api.runpod.ai/v2/4m7x2k9q"
ENDPOINT: dict[str, Any] = {
    "id": "4m7x2k9q",
    "name": "translation",
    "type": "QUEUE",
    "requestUrls": {
        "run": f"{URL}/run",
        "runSync": f"{URL}/runsync",
        "status": f"{URL}/status/{{job_id}}",
        "stream": f"{URL}/stream/{{job_id}}",
        "cancel": f"{URL}/cancel/{{job_id}}",
        "retry": f"{URL}/retry/{{job_id}}",
        "purgeQueue": f"{URL}/purge-queue",
        "health": f"{URL}/health",
    },
    "image": "ghcr.io/me/translation:1",
    "gpu": {"pools": ["ADA_24"], "count": 1, "allowedCudaVersions": [], "minCudaVersion": None},
    "workers": {"min": 0, "max": 3, "idleTimeout": 5},
    "scaling": {"type": "QUEUE_DELAY", "queueDelay": 4},
    "dataCenterIds": [],
    "networkVolumes": [],
    "timeout": 300_000,
    "flashboot": "FLASHBOOT",
    "disk": 10,
    "env": {"TOKEN": "their-secret"},
    "registry": None,
    "createdAt": "2026-11-21T12:00:00Z",
}
WORKER = {
    "id": "w1",
    "status": "IDLE",
    "isStale": True,
    "version": 3,
    "gpuCount": 1,
    "uptimeSeconds": None,
    "gpuTypeId": None,
    "dataCenterId": "EU-RO-1",
}
RELEASE = {
    "id": "rel_1",
    "version": 4,
    "source": "MANUAL",
    "workerCount": 1,
    "createdAt": "2026-11-21T12:00:00Z",
    "diff": [{"field": "template.env", "old": {"TOKEN": "their-secret"}, "new": {}}],
}
ROLLOUT = {"inProgress": True, "workersOnLatest": 1, "workersTotal": 2, "percentOnLatest": 50}
CHARGE = {
    "startTime": "2026-11-20T00:00:00Z",
    "endTime": "2026-11-21T00:00:00Z",
    "serverlessId": "4m7x2k9q",
    "totalAmount": 0.5,
    "gpuAmount": 0.4,
    "cpuAmount": 0.0,
    "diskAmount": 0.1,
    "feeAmount": 0.0,
}
CREATE = {
    "name": "translation",
    "type": "QUEUE",
    "image": "ghcr.io/me/translation:1",
    "gpu": {"pools": ["ADA_24"]},
    "scaling": {"type": "QUEUE_DELAY", "queueDelay": 4},
}
ALL = f"{API}/serverless"
ONE = f"{ALL}/4m7x2k9q"


def test_the_samples_are_answers_that_the_document_promises() -> None:
    document = contract.needed()
    contract.check_answer(document, "GET", "/serverless/4m7x2k9q", ENDPOINT)
    summary = dict.fromkeys(
        ("total", "running", "idle", "initializing", "throttled", "unhealthy", "stale"), 0
    )
    workers = {"endpointVersion": 4, "workers": [WORKER], "summary": summary}
    contract.check_answer(document, "GET", "/serverless/4m7x2k9q/workers", workers)
    releases = {"endpointVersion": 4, "rollout": ROLLOUT, "releases": [RELEASE]}
    contract.check_answer(document, "GET", "/serverless/4m7x2k9q/releases", releases)


def test_endpoints_are_listed_with_what_counts_against_the_quota(
    api: mocking.Mocker, client: RunpodClient
) -> None:
    api.get(ALL, json={"endpoints": [ENDPOINT, {"id": "bare"}]})
    found, bare = client.list_endpoints()
    assert (found.id, found.name, found.max_workers) == ("4m7x2k9q", "translation", 3)
    assert found.urls["run"].endswith("/run")
    assert found.settings["image"] == "ghcr.io/me/translation:1"
    assert "id" not in found.settings
    assert (bare.name, bare.max_workers, bare.created_at) == ("", 0, None)


def test_no_repr_shows_what_the_api_shows_in_clear() -> None:
    shown = repr([Endpoint.from_api(ENDPOINT), Release.from_api(RELEASE)])
    assert "their-secret" not in shown


@pytest.mark.parametrize(
    ("method", "url", "call"),
    [
        ("POST", ALL, lambda client: client.create_endpoint(CREATE)),
        ("PATCH", ONE, lambda client: client.change_endpoint("4m7x2k9q", {"timeout": 90_000})),
    ],
)
class TestWriting:
    def test_it_gives_the_endpoint_of_the_answer(
        self,
        api: mocking.Mocker,
        client: RunpodClient,
        method: str,
        url: str,
        call: Callable[[RunpodClient], Endpoint],
    ) -> None:
        api.request(method, url, json=ENDPOINT)
        assert call(client) == Endpoint.from_api(ENDPOINT)

    @pytest.mark.parametrize(
        ("answer", "unclear"),
        [(problem(400), False), (problem(429), False), (problem(500), True), ({"json": {}}, True)],
    )
    def test_it_is_sent_once_and_says_whether_it_may_have_been_done(
        self,
        api: mocking.Mocker,
        client: RunpodClient,
        method: str,
        url: str,
        call: Callable[[RunpodClient], Endpoint],
        answer: dict[str, Any],
        unclear: bool,
    ) -> None:
        api.request(method, url, **answer)
        with pytest.raises(ApiError) as caught:
            call(client)
        assert (api.call_count, caught.value.unclear) == (1, unclear)


def test_a_delete_is_repeated_until_it_is_answered(
    api: mocking.Mocker, client: RunpodClient
) -> None:
    api.delete(ONE, [problem(503), {"status_code": 204}])
    client.delete_endpoint("4m7x2k9q")
    assert api.call_count == 2
    api.delete(ONE, **problem(404))
    with pytest.raises(errors.NotFound):
        client.delete_endpoint("4m7x2k9q")


def test_workers_and_releases_are_read(api: mocking.Mocker, client: RunpodClient) -> None:
    api.get(f"{ONE}/workers", json={"workers": [WORKER], "summary": {}})
    assert client.list_workers("4m7x2k9q") == [Worker("w1", "IDLE", True, 3, "-", "EU-RO-1", None)]
    releases = {"endpointVersion": 4, "rollout": ROLLOUT, "releases": [RELEASE]}
    api.get(f"{ONE}/releases", json=releases)
    (release,) = client.list_releases("4m7x2k9q")
    assert (release.version, release.changes[0].name) == (4, "template.env")
    assert client.get_rollout("4m7x2k9q") == Rollout(4, True, 1, 2)


def test_a_workers_log_is_read_as_a_pods(api: mocking.Mocker, client: RunpodClient) -> None:
    line = 'id: 2026-06-01T12:02:03Z/0\ndata: {"ts":"t","source":"container","line":"one"}\n\n'
    api.get(f"{ONE}/workers/w%2F1/logs", content=line.encode())
    found = list(client.worker_log("4m7x2k9q", "w/1", "container", 50, brief=True))
    assert found == [LogLine("t", "container", "one", "2026-06-01T12:02:03Z/0")]


def test_the_catalogue_tells_the_pool_of_each_type(
    api: mocking.Mocker, client: RunpodClient
) -> None:
    priced = {**GPU, "price": {"secure": 0.86, "serverless": 1.9}}
    api.get(f"{API}/catalog/gpus", json={"gpus": [priced, {**GPU, "id": "X", "pool": None}]})
    first, second = client.list_worker_gpus()
    assert (first.pool, first.price, first.stock) == ("ADA_48_PRO", 1.9, {"EU-RO-1": "LOW"})
    assert (second.pool, second.price) == ("", None)


def test_what_endpoints_cost_is_asked_of_their_own_bill(
    api: mocking.Mocker, client: RunpodClient
) -> None:
    api.get(f"{API}/billing/serverless", json={"records": [CHARGE]})
    charges = client.list_endpoint_charges(date(2026, 11, 1))
    assert charges == [EndpointCharge(date(2026, 11, 20), "4m7x2k9q", 0.5)]
    assert api.request_history[0].qs["starttime"] == ["2026-11-01t00:00:00z"]
