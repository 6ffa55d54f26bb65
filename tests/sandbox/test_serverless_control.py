"""Serverless endpoints on paper: what the control plane takes, changes, refuses, and remembers."""

import json
from typing import Any

import pytest

from tests import contract
from tests.sandbox.sandboxes import Paper

CPU = [{"id": "cpu5c", "vcpuCount": 4}]
QUEUE_DELAY = {"type": "QUEUE_DELAY", "queueDelay": 4}
REQUEST_COUNT = {"type": "REQUEST_COUNT", "requestCount": 2}


def endpoint_for(**changes: Any) -> dict[str, Any]:
    """A create request that the preset account grants."""
    body = {
        "name": "translation",
        "type": "QUEUE",
        "image": "ghcr.io/me/translation:1",
        "gpu": {"pools": ["ADA_24"]},
        "scaling": QUEUE_DELAY,
        "workers": {"min": 0, "max": 2, "idleTimeout": 5},
        "env": {"GREETING": "hello"},
    }
    return {name: value for name, value in {**body, **changes}.items() if value is not None}


def make(paper: Paper, **changes: Any) -> dict[str, Any]:
    answer = paper.call("POST", "/serverless", endpoint_for(**changes))
    assert answer.status == 201, answer.body
    made: dict[str, Any] = json.loads(answer.body)
    return made


def test_an_endpoint_is_made_listed_read_and_deleted(paper: Paper) -> None:
    made = make(paper)
    assert made["timeout"] == 0
    assert made["flashboot"] == "OFF"
    assert made["requestUrls"]["run"].endswith(f"/v2/{made['id']}/run")
    assert paper.json("GET", "/serverless")["endpoints"] == [made]
    assert paper.json("GET", f"/serverless/{made['id']}") == made
    assert paper.call("DELETE", f"/serverless/{made['id']}").status == 204
    assert paper.call("GET", f"/serverless/{made['id']}").status == 404
    assert paper.json("GET", "/serverless")["endpoints"] == []


@pytest.mark.parametrize(
    ("changes", "status", "words"),
    [
        ({"gpu": None}, 400, "exactly one"),
        ({"cpu": CPU}, 400, "exactly one"),
        ({"gpu": {"pools": ["NVIDIA L40S"]}}, 400, "no serverless pool"),
        ({"gpu": {"pools": ["ADA_24"], "excludedTypes": ["NVIDIA A40"]}}, 400, "chosen pool"),
        (
            {"gpu": {"pools": ["ADA_24"], "excludedTypes": ["NVIDIA GeForce RTX 4090"]}},
            400,
            "no GPU type",
        ),
        (
            {
                "gpu": {
                    "pools": ["ADA_24"],
                    "minCudaVersion": "12.4",
                    "allowedCudaVersions": ["12.8"],
                },
            },
            400,
            "exclude each other",
        ),
        ({"gpu": None, "cpu": [{"id": "cpu5c", "vcpuCount": 6}]}, 400, "power of two"),
        ({"gpu": None, "cpu": [{"id": "cpu5g", "vcpuCount": 32}]}, 400, "not offered"),
        ({"gpu": None, "cpu": [{"id": "cpu9", "vcpuCount": 4}]}, 400, "CPU flavor"),
        ({"gpu": None, "cpu": CPU + CPU}, 422, "unique"),
        ({"scaling": REQUEST_COUNT}, 422, "does not apply"),
        ({"scaling": {"type": "QUEUE_DELAY", "queueDelay": 0.1}}, 422, "scaling"),
        ({"type": "LOAD_BALANCER"}, 422, "scaling"),
        ({"workers": {"idleTimeout": 3601}}, 422, "idleTimeout"),
        ({"workers": {"min": 3, "max": 1}}, 400, "min"),
        ({"workers": {"max": 6}}, 400, "to at most 5."),
        ({"dataCenterIds": ["EU-XX-1"]}, 400, "data center"),
        ({"networkVolumes": ["gone"]}, 404, "volume"),
        ({"args": "python a.py", "cmd": ["python", "b.py"]}, 400, "agree"),
        ({"image": None}, 422, "image"),
        ({"templateId": "t"}, 404, "template"),
        ({"env": [{"key": "A", "value": "1"}]}, 422, "env"),
        ({"description": "x"}, 422, "description"),
    ],
)
def test_a_create_that_breaks_a_rule_is_refused(
    paper: Paper, changes: dict[str, Any], status: int, words: str
) -> None:
    answer = paper.call("POST", "/serverless", endpoint_for(**changes))
    assert (answer.status, words in answer.body.decode()) == (status, True), answer.body
    assert paper.json("GET", "/serverless")["endpoints"] == []


def test_a_patch_changes_what_it_names_and_whole_values_at_once(paper: Paper) -> None:
    path = f"/serverless/{make(paper)['id']}"
    changed = paper.json("PATCH", path, {"env": {"B": "2"}, "workers": {"max": 3}})
    assert changed["env"] == {"B": "2"}
    assert changed["workers"] == {"min": 0, "max": 3, "idleTimeout": 5}
    assert changed["image"] == "ghcr.io/me/translation:1"


def test_pools_without_exclusions_clear_them(paper: Paper) -> None:
    wish = {"pools": ["AMPERE_48"], "excludedTypes": ["NVIDIA A40"], "minCudaVersion": "12.4"}
    path = f"/serverless/{make(paper, gpu=wish)['id']}"
    gpu = paper.json("PATCH", path, {"gpu": {"minCudaVersion": ""}})["gpu"]
    assert (gpu["excludedTypes"], gpu["minCudaVersion"]) == (["NVIDIA A40"], None)
    assert "excludedTypes" not in paper.json("PATCH", path, {"gpu": {"pools": ["ADA_24"]}})["gpu"]
    alone = paper.call("PATCH", path, {"gpu": {"excludedTypes": []}})
    assert alone.status == 422


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"type": "LOAD_BALANCER"}, 422),
        ({"cpu": CPU}, 400),
        ({"image": None}, 422),
        ({"registry": None}, 200),
        ({"workers": {"min": 0, "max": 0}}, 200),
        ({"workers": {"max": 6}}, 400),
        ({"name": ""}, 422),
        ({}, 200),
    ],
)
def test_what_a_patch_may_not_change(paper: Paper, change: dict[str, Any], status: int) -> None:
    path = f"/serverless/{make(paper)['id']}"
    assert paper.call("PATCH", path, change).status == status


def test_container_changes_make_releases_and_others_do_not(paper: Paper) -> None:
    path = f"/serverless/{make(paper)['id']}"
    paper.json("PATCH", path, {"workers": {"max": 1}, "timeout": 90_000, "scaling": QUEUE_DELAY})
    assert paper.json("GET", f"{path}/releases")["endpointVersion"] == 1
    paper.json("PATCH", path, {"image": "ghcr.io/me/translation:2"})
    paper.json("PATCH", path, {"image": "ghcr.io/me/translation:2"})
    releases = paper.json("GET", f"{path}/releases")
    assert [row["version"] for row in releases["releases"]] == [3, 2, 1]
    old = "ghcr.io/me/translation:1"
    new = "ghcr.io/me/translation:2"
    assert releases["releases"][1]["diff"] == [
        {"field": "template.imageName", "old": old, "new": new},
    ]
    assert releases["releases"][0]["diff"] == []
    assert releases["rollout"]["inProgress"] is False


def test_the_quota_counts_all_endpoints_and_names_what_would_fit(paper: Paper) -> None:
    make(paper, workers={"max": 4})
    answer = paper.call("POST", "/serverless", endpoint_for(name="other"))
    assert answer.status == 400
    assert "quota (5)" in answer.body.decode()
    assert "at most 1." in answer.body.decode()
    rich = Paper({"quota": 10})
    make(rich, workers={"max": 4})
    make(rich, workers={"max": 4})


def test_an_endpoint_that_nobody_uses_is_scaled_down(paper: Paper) -> None:
    path = f"/serverless/{make(paper, workers={'max': 4})['id']}"
    day = 86_400
    paper.clock.now += 3 * day
    assert paper.json("GET", path)["workers"]["max"] == 2
    paper.clock.now += 4 * day
    assert paper.json("GET", path)["workers"]["max"] == 0
    assert paper.json("PATCH", path, {"workers": {"max": 4}})["workers"]["max"] == 4
    assert paper.json("GET", path)["workers"]["max"] == 4


@pytest.mark.parametrize(
    ("fault", "options", "status"),
    [("image-missing", {}, 422), ("quota", {}, 400), ("503", {}, 503)],
)
def test_a_create_can_fail_on_purpose(
    faulty: Any, fault: str, options: dict[str, Any], status: int
) -> None:
    paper = faulty("POST /serverless", fault, **options)
    assert paper.call("POST", "/serverless", endpoint_for()).status == status
    assert paper.json("GET", "/serverless")["endpoints"] == []


def test_a_new_endpoint_can_lag_have_a_twin_or_be_made_without_a_word(faulty: Any) -> None:
    lagging = faulty("POST /serverless", "list-lag", seconds=10)
    id = make(lagging)["id"]
    assert lagging.json("GET", "/serverless")["endpoints"] == []
    assert lagging.call("GET", f"/serverless/{id}").status == 404
    lagging.clock.now += 10
    assert len(lagging.json("GET", "/serverless")["endpoints"]) == 1
    twins = faulty("POST /serverless", "twin")
    make(twins)
    assert len(twins.json("GET", "/serverless")["endpoints"]) == 2
    mute = faulty("POST /serverless", "500", effect=True)
    assert mute.call("POST", "/serverless", endpoint_for()).status == 500
    assert len(mute.json("GET", "/serverless")["endpoints"]) == 1


def test_max_workers_can_fall_on_purpose(faulty: Any) -> None:
    paper = faulty("POST /serverless", "idle-scale-down", seconds=60, text="1")
    path = f"/serverless/{make(paper)['id']}"
    assert paper.json("GET", path)["workers"]["max"] == 2
    paper.clock.now += 60
    assert paper.json("GET", path)["workers"]["max"] == 1


def test_every_answer_has_the_shape_of_the_document(paper: Paper) -> None:
    document = contract.needed()
    gpu = make(paper, workers={"min": 1, "max": 2})
    cpu = make(paper, name="cpu", gpu=None, cpu=CPU)
    balanced = make(
        paper,
        name="lb",
        type="LOAD_BALANCER",
        scaling=REQUEST_COUNT,
        workers={"max": 1},
    )
    worker = paper.json("GET", f"/serverless/{gpu['id']}/workers")["workers"][0]["id"]
    paths = [f"/serverless/{one['id']}" for one in (gpu, cpu, balanced)]
    logs = f"{paths[0]}/workers/{worker}/logs"
    paths += ["/serverless", f"{paths[0]}/workers", f"{paths[0]}/releases", "/billing/serverless"]
    for path in paths:
        contract.check_answer(document, "GET", path, paper.json("GET", path))
    assert b"create container" in paper.call("GET", logs).body
    paper.clock.now += 60
    bill = paper.json("GET", "/billing/serverless")
    assert bill["records"][0]["gpuAmount"] > 0
    contract.check_answer(document, "GET", "/billing/serverless", bill)
