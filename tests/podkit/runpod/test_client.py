"""The client: what each answer becomes, what is repeated and what never,
and who gets to see the key.
"""

from __future__ import annotations

import traceback
from typing import Any

import pytest
import requests
import requests_mock as mocking
import urllib3

from podkit import errors
from podkit.errors import ApiError
from podkit.runpod.client import RunpodClient
from tests import contract
from tests.podkit.samples import API, FOREIGN, GPU, KEY, POD, VOLUME, Clock, problem

BODY = {"name": "podkit-olmocr-0a1b2c", "image": "an/image:1"}
PODS = f"{API}/pods"
ONE = f"{PODS}/{POD['id']}"
HTML: dict[str, Any] = {
    "text": "<html>Error 1010</html>",
    "headers": {"Content-Type": "text/html; charset=UTF-8"},
}
REFUSED = requests.ConnectionError(
    urllib3.exceptions.MaxRetryError(
        urllib3.HTTPConnectionPool("a.host"),
        "/",
        urllib3.exceptions.NewConnectionError(
            urllib3.connection.HTTPConnection("a.host"), "refused"
        ),
    )
)
DISTRUSTED = requests.exceptions.SSLError(
    "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed"
)

STATUSES = [
    (400, errors.BadRequest, False),
    (401, errors.Unauthorized, False),
    (402, errors.PaymentRequired, False),
    (403, errors.Forbidden, False),
    (404, errors.NotFound, False),
    (409, errors.Conflict, False),
    (413, errors.Invalid, False),
    (422, errors.Invalid, False),
    (429, errors.RateLimited, False),
    (500, errors.ServerFault, True),
    (502, errors.ServerFault, True),
    (503, errors.ServerFault, True),
    (504, errors.ServerFault, True),
    (410, errors.BadAnswer, True),
]


def failed_create(api: mocking.Mocker, client: RunpodClient, **answer: Any) -> ApiError:
    """The error of a create that is answered so; it is sent once, whatever the answer."""
    api.post(PODS, **answer)
    with pytest.raises(ApiError) as caught:
        client.create_pod(BODY)
    assert api.call_count == 1
    return caught.value


@pytest.mark.parametrize(("status", "kind", "unclear"), STATUSES)
def test_each_status_of_a_create_is_its_own_error_with_the_providers_words(
    api: mocking.Mocker,
    client: RunpodClient,
    clock: Clock,
    status: int,
    kind: type[ApiError],
    unclear: bool,
) -> None:
    error = failed_create(api, client, **problem(status, "no such luck"))
    assert type(error) is kind
    assert (error.status, error.detail, error.unclear) == (status, "no such luck", unclear)
    assert error.message == f"POST /pods: {status}: no such luck"
    assert clock.naps == []


def test_the_errors_of_a_violated_contract_are_shown_in_one_line(
    api: mocking.Mocker, client: RunpodClient
) -> None:
    error = failed_create(
        api, client, **problem(422, "Invalid\nbody", "/gpu: missing", "/name:\n too short")
    )
    assert error.message == "POST /pods: 422: Invalid body; /gpu: missing; /name: too short"


@pytest.mark.parametrize(
    ("status", "unclear"), [(400, False), (403, False), (502, True), (524, True)]
)
def test_an_html_page_is_the_edges_and_not_the_apis(
    api: mocking.Mocker, client: RunpodClient, status: int, unclear: bool
) -> None:
    error = failed_create(api, client, status_code=status, **HTML)
    assert type(error) is errors.EdgeRefused
    assert (error.status, error.unclear) == (status, unclear)
    assert "1010" not in error.message


def test_an_html_429_is_rate_limiting_whoever_it_is_from(
    api: mocking.Mocker, client: RunpodClient
) -> None:
    error = failed_create(
        api, client, status_code=429, text="<html>", headers={**HTML["headers"], "Retry-After": "7"}
    )
    assert type(error) is errors.RateLimited
    assert (error.retry_after, error.unclear) == (7.0, False)
    assert error.message == "POST /pods: an HTML page with status 429 instead of the API"


@pytest.mark.parametrize(
    "answer",
    [
        {"status_code": 500, "text": ""},
        {"status_code": 500, "text": "[1, 2]"},
        {"status_code": 500, "text": '"text"'},
        {"status_code": 500, "json": {"detail": None, "errors": 7}},
        {"status_code": 500, "content": b"\xff\xfe"},
    ],
)
def test_a_problem_of_any_other_shape_is_still_its_status(
    api: mocking.Mocker, client: RunpodClient, answer: dict[str, Any]
) -> None:
    assert type(failed_create(api, client, **answer)) is errors.ServerFault


@pytest.mark.parametrize(
    "answer",
    [
        {"exc": requests.ReadTimeout("slow")},
        {"exc": requests.ConnectionError("Connection reset by peer")},
        {"exc": requests.exceptions.ChunkedEncodingError("cut")},
        {"exc": requests.exceptions.SSLError("EOF occurred in violation of protocol")},
        {"status_code": 201, "text": ""},
        {"status_code": 201, "text": '{"id": "abc", "na'},
        {"status_code": 201, "content": b"\xff\xfe"},
        {"status_code": 201, "json": {}},
        {"status_code": 201, "json": []},
        {"status_code": 201, "json": {**POD, "mounts": {"network": ["vol1"]}}},
        {"status_code": 201, "json": {**POD, "cost": "much"}},
        {"status_code": 200, **HTML},
        {"status_code": 204},
        {"status_code": 302, "headers": {"Location": "https://elsewhere.example"}},
    ],
)
def test_a_create_that_may_have_been_carried_out_is_unclear(
    api: mocking.Mocker, client: RunpodClient, answer: dict[str, Any]
) -> None:
    assert failed_create(api, client, **answer).unclear


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (requests.ConnectTimeout("slow"), "no connection in time"),
        (REFUSED, "no connection"),
        (DISTRUSTED, "the TLS certificate was not accepted"),
    ],
)
def test_a_create_that_never_left_this_machine_is_not_unclear(
    api: mocking.Mocker, client: RunpodClient, fault: Exception, words: str
) -> None:
    error = failed_create(api, client, exc=fault)
    assert type(error) is errors.Unreachable
    assert not error.unclear
    assert error.message == f"POST /pods: {words}"


def test_a_volume_is_made_with_one_call_whatever_comes_back(
    api: mocking.Mocker, client: RunpodClient
) -> None:
    api.post(f"{API}/network-volumes", **problem(500))
    with pytest.raises(errors.ServerFault) as caught:
        client.create_volume("podkit", 100, "EU-RO-1")
    assert caught.value.unclear
    assert api.call_count == 1


def test_a_created_pod_is_handed_back(api: mocking.Mocker, client: RunpodClient) -> None:
    api.post(PODS, status_code=201, json=POD)
    assert client.create_pod(BODY).id == POD["id"]
    assert api.request_history[-1].json() == BODY
    timeout: object = api.request_history[-1].timeout
    assert timeout == (10.0, 180.0)


@pytest.mark.parametrize(
    "answer", [{"status_code": 204}, {"status_code": 200}, {"status_code": 204, "text": "x"}]
)
def test_a_delete_needs_no_body_in_its_answer(
    api: mocking.Mocker, client: RunpodClient, answer: Any
) -> None:
    api.delete(ONE, **answer)
    client.terminate_pod(POD["id"])


def test_an_id_from_a_person_cannot_leave_its_place_in_the_path(
    api: mocking.Mocker, client: RunpodClient
) -> None:
    api.get(mocking.ANY, **problem(404))
    with pytest.raises(errors.NotFound):
        client.get_pod("../network-volumes?x=1#")
    assert api.request_history[-1].url == f"{PODS}/..%2Fnetwork-volumes%3Fx%3D1%23"


def test_pages_are_followed_to_the_last(api: mocking.Mocker, client: RunpodClient) -> None:
    more = {"pods": [POD], "pagination": {"nextCursor": "c 1", "hasNextPage": True}}
    last = {"pods": [FOREIGN], "pagination": {"nextCursor": None, "hasNextPage": False}}
    api.get(PODS, [{"json": more}, problem(500), {"json": last}])
    assert [pod.id for pod in client.list_pods()] == [POD["id"], FOREIGN["id"]]
    assert [sent.qs for sent in api.request_history] == [
        {},
        {"cursor": ["c 1"]},
        {"cursor": ["c 1"]},
    ]


@pytest.mark.parametrize(
    "pagination", [None, {}, [], "more", {"hasNextPage": True}, {"nextCursor": "x"}]
)
def test_an_answer_that_names_no_next_page_is_the_last(
    api: mocking.Mocker, client: RunpodClient, pagination: Any
) -> None:
    api.get(PODS, json={"pods": [POD], "pagination": pagination})
    assert len(client.list_pods()) == 1
    assert api.call_count == 1


def test_pages_without_end_are_given_up(api: mocking.Mocker, client: RunpodClient) -> None:
    api.get(PODS, json={"pods": [], "pagination": {"nextCursor": "same", "hasNextPage": True}})
    with pytest.raises(errors.BadAnswer, match="100 pages"):
        client.list_pods()
    assert api.call_count == 100


@pytest.mark.parametrize(
    "answer",
    [
        {"text": ""},
        {"text": "{"},
        {"content": b"\xff\xfe"},
        {"json": []},
        {"json": None},
        {"json": "text"},
        {"json": {}},
        {"json": {"pods": {}}},
        {"json": {"pods": [7]}},
        {"json": {"pods": [None]}},
        {"json": {"pods": [{"name": "podkit-olmocr-0a1b2c"}]}},
        {"json": {"pods": [{**POD, "mounts": {"network": "vol1"}}]}},
        {"json": {"pods": [{**POD, "runtime": {"ports": [8000]}}]}},
        {"status_code": 204},
    ],
)
def test_garbage_is_a_bad_answer(api: mocking.Mocker, client: RunpodClient, answer: Any) -> None:
    api.get(PODS, **answer)
    with pytest.raises(errors.BadAnswer):
        client.list_pods()


@pytest.mark.parametrize(
    "item", [None, 7, "x", [], {**GPU, "dataCenters": [1]}, {**GPU, "price": {"secure": "x"}}]
)
def test_a_gpu_type_of_another_shape_is_a_bad_answer(
    api: mocking.Mocker, client: RunpodClient, item: Any
) -> None:
    api.get(f"{API}/catalog/gpus", json={"gpus": [item]})
    with pytest.raises(errors.BadAnswer):
        client.list_gpu_types("13.0")


def test_every_call_is_one_that_the_contract_knows(
    api: mocking.Mocker, client: RunpodClient
) -> None:
    document = contract.needed()
    api.get(PODS, json={"pods": []})
    api.get(ONE, json=POD)
    api.delete(ONE, status_code=204)
    api.post(f"{ONE}/action", json=POD)
    api.get(f"{ONE}/logs", text="")
    api.get(f"{API}/network-volumes", json={"networkVolumes": [VOLUME]})
    api.post(f"{API}/network-volumes", status_code=201, json=VOLUME)
    api.get(f"{API}/catalog/gpus", json={"gpus": [GPU]})
    api.get(
        f"{API}/catalog/datacenters", json={"dataCenters": [{"id": "EU-RO-1"}, {"id": "US-KS-2"}]}
    )
    client.list_pods()
    client.get_pod(POD["id"])
    client.terminate_pod(POD["id"])
    client.stop_pod(POD["id"])
    assert list(client.pod_log(POD["id"], "container", 200, "2026-06-01T12:02:03Z")) == []
    assert [volume.id for volume in client.list_volumes()] == ["vol1"]
    assert client.create_volume("podkit", 100, "EU-RO-1").size_gb == 100
    assert [gpu.id for gpu in client.list_gpu_types("13.0")] == ["NVIDIA L40S"]
    assert client.list_data_centers() == ["EU-RO-1", "US-KS-2"]
    for sent in api.request_history:
        contract.check_request(document, sent)
        assert sent.headers["Authorization"] == f"Bearer {KEY}"
        assert sent.headers["User-Agent"].startswith("podkit/")
        timeout: Any = sent.timeout
        assert all(timeout)
    assert "minCudaVersion=13.0" in api.request_history[-2].url


def test_the_key_is_in_no_message_repr_or_traceback(
    api: mocking.Mocker, client: RunpodClient
) -> None:
    shown = [repr(client), str(vars(client))]
    faults = [problem(status) for status, _, _ in STATUSES]
    faults += [
        {"exc": REFUSED},
        {"exc": requests.ReadTimeout()},
        {"status_code": 502, **HTML},
        {"text": "{"},
    ]
    for fault in faults:
        api.get(PODS, **fault)
        with pytest.raises(ApiError) as caught:
            client.list_pods()
        shown += [repr(vars(caught.value)), "".join(traceback.format_exception(caught.value))]
    assert not [text for text in shown if KEY in text]


def test_a_proxy_is_used_for_the_real_api(
    api: mocking.Mocker, client: RunpodClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    api.get(PODS, json={"pods": []})
    client.list_pods()
    assert api.request_history[-1].proxies["https"] == "http://proxy.example:3128"
