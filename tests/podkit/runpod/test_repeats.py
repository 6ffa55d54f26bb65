"""What is sent again, how often, and what never."""

from __future__ import annotations

from typing import Any

import pytest
import requests
import requests_mock as mocking

from podkit import errors
from podkit.errors import ApiError, NotFound
from podkit.runpod.client import RunpodClient
from tests.podkit.runpod.test_client import HTML, ONE, PODS, STATUSES, failed_create
from tests.podkit.samples import POD, Clock, problem


@pytest.mark.parametrize(
    "fault",
    [
        problem(429),
        problem(500),
        problem(503),
        {"status_code": 502, **HTML},
        {"exc": requests.ReadTimeout()},
        {"text": "{"},
        {"json": {"pods": [7]}},
        {"status_code": 200, **HTML},
        {"status_code": 403, **HTML},
        problem(408),
        {"status_code": 302, "headers": {"Location": "https://elsewhere.example"}},
    ],
    ids=[
        "429",
        "500",
        "503",
        "html502",
        "timeout",
        "half",
        "shape",
        "html200",
        "html403",
        "408",
        "302",
    ],
)
def test_a_read_is_repeated_until_it_works(
    api: mocking.Mocker, client: RunpodClient, clock: Clock, fault: dict[str, Any]
) -> None:
    api.get(PODS, [fault, fault, {"json": {"pods": [POD]}}])
    assert [pod.id for pod in client.list_pods()] == [POD["id"]]
    assert clock.naps == [1.0, 2.0]


@pytest.mark.parametrize(("status", "kind", "_"), [row for row in STATUSES if row[0] < 429])
def test_a_read_that_is_refused_is_not_repeated(
    api: mocking.Mocker,
    client: RunpodClient,
    clock: Clock,
    status: int,
    kind: type[ApiError],
    _: bool,
) -> None:
    api.get(PODS, **problem(status))
    with pytest.raises(kind) as caught:
        client.list_pods()
    assert (api.call_count, clock.naps, caught.value.unclear) == (1, [], False)


def test_a_read_is_tried_five_times_with_growing_pauses(
    api: mocking.Mocker, client: RunpodClient, clock: Clock
) -> None:
    api.get(PODS, **problem(500))
    with pytest.raises(errors.ServerFault):
        client.list_pods()
    assert api.call_count == 5
    assert clock.naps == [1.0, 2.0, 4.0, 8.0]


def test_the_wait_that_a_429_asks_for_is_honoured(
    api: mocking.Mocker, client: RunpodClient, clock: Clock
) -> None:
    limited = {**problem(429), "headers": {"Retry-After": "7"}}
    api.get(PODS, [limited, {"json": {"pods": []}}])
    client.list_pods()
    assert clock.naps == [7.0]
    api.reset_mock()
    assert failed_create(api, client, **limited).retry_after == 7.0


@pytest.mark.parametrize("asked", ["soon", "", "inf", "-1", "²", "Sat, 21 Nov 2026 12:00:00 GMT"])
def test_a_wait_that_is_no_number_of_seconds_is_not_taken_for_one(
    api: mocking.Mocker, client: RunpodClient, clock: Clock, asked: str
) -> None:
    api.get(PODS, [{**problem(429), "headers": {"Retry-After": asked}}, {"json": {"pods": []}}])
    client.list_pods()
    assert clock.naps == [1.0]


@pytest.mark.parametrize("asked", ["40", "90", "3600", "9" * 400])
def test_repeats_end_after_ninety_seconds_whatever_is_asked_for(
    api: mocking.Mocker, client: RunpodClient, clock: Clock, asked: str
) -> None:
    api.get(PODS, **{**problem(429), "headers": {"Retry-After": asked}})
    with pytest.raises(errors.RateLimited):
        client.list_pods()
    assert sum(clock.naps) == 90


def test_slow_failures_use_the_time_up_as_well(
    api: mocking.Mocker, client: RunpodClient, clock: Clock
) -> None:
    def slow(*_: Any) -> str:
        clock.now += 50
        raise requests.ReadTimeout

    api.get(PODS, text=slow)
    with pytest.raises(errors.Unreachable, match="no answer within 60 s"):
        client.list_pods()
    assert api.call_count == 2


@pytest.mark.parametrize("first", [problem(500), problem(429), {"exc": requests.ReadTimeout()}])
def test_a_delete_is_repeated_until_the_api_says_what_became_of_it(
    api: mocking.Mocker, client: RunpodClient, first: dict[str, Any]
) -> None:
    api.delete(ONE, [first, problem(404)])
    with pytest.raises(NotFound):
        client.terminate_pod(POD["id"])
    assert api.call_count == 2


def test_a_stop_is_an_action_and_is_repeated(api: mocking.Mocker, client: RunpodClient) -> None:
    api.post(f"{ONE}/action", [problem(503), {"json": {**POD, "status": "EXITED"}}])
    client.stop_pod(POD["id"])
    assert [sent.json() for sent in api.request_history] == [{"action": "stop"}] * 2


def test_a_redirect_is_not_followed(api: mocking.Mocker, client: RunpodClient) -> None:
    api.get(PODS, status_code=302, headers={"Location": "https://elsewhere.example/pods"})
    api.get("https://elsewhere.example/pods", json={"pods": []})
    with pytest.raises(errors.BadAnswer) as caught:
        client.list_pods()
    assert caught.value.status == 302
    assert api.call_count == 5
    assert {sent.url for sent in api.request_history} == {PODS}
