"""The account on paper: a pod's life, refusals, keys and lists."""

import json
from typing import Any

import pytest

from tests.sandbox.sandboxes import Paper, request_for


def test_a_new_pod_is_running_at_once_without_a_runtime(paper: Paper) -> None:
    pod = paper.create()
    assert (pod["status"], pod["runtime"], pod["cost"]) == ("RUNNING", None, 0.86)
    paper.clock.now += 1
    runtime = paper.json("GET", f"/pods/{pod['id']}")["runtime"]
    assert runtime["uptime"] == 1
    assert [port["private"] for port in runtime["ports"]] == [8000, 3000]


def test_a_stopped_pod_is_kept_and_costs_nothing(paper: Paper) -> None:
    path = f"/pods/{paper.create()['id']}"
    stopped = paper.json("POST", f"{path}/action", {"action": "stop"})
    assert (stopped["status"], stopped["cost"], stopped["actions"]) == (
        "EXITED",
        0.0,
        ["terminate"],
    )
    assert paper.call("POST", f"{path}/action", {"action": "stop"}).status == 409
    assert paper.call("GET", path).status == 200


@pytest.mark.parametrize("way", ["delete", "action"])
def test_a_terminated_pod_vanishes_but_the_account_remembers_it(paper: Paper, way: str) -> None:
    pod = paper.create()
    paper.clock.now += 60
    path = f"/pods/{pod['id']}"
    call = (
        ("DELETE", path) if way == "delete" else ("POST", f"{path}/action", {"action": "terminate"})
    )
    answer = paper.call(*call)
    assert (answer.status, answer.body) == (204, b"")
    assert paper.call("GET", path).status == 404
    assert paper.json("GET", "/pods")["pods"] == []
    kept = paper.account.pods[pod["id"]]
    assert kept.ended is not None
    assert (kept.status, kept.ended - kept.created) == ("TERMINATED", 60)


def test_a_pods_own_key_acts_on_that_pod_only(paper: Paper) -> None:
    one = paper.create()
    other = paper.create(name="podkit-test-000002")
    key = paper.account.pods[one["id"]].key
    act = {"action": "terminate"}
    assert paper.call("GET", f"/pods/{one['id']}", key=key).status == 403
    assert paper.call("GET", "/pods", key=key).status == 403
    assert paper.call("POST", f"/pods/{other['id']}/action", act, key=key).status == 403
    assert paper.call("POST", f"/pods/{one['id']}/action", act, key=key).status == 204
    assert paper.call("POST", f"/pods/{one['id']}/action", act, key=key).status == 404


def test_a_missing_or_wrong_key_is_refused(paper: Paper) -> None:
    for key in ("", "rpa_wrong", "rpa_tést"):
        answer = paper.call("GET", "/pods", key=key)
        assert (answer.status, answer.headers["Content-Type"]) == (401, "application/problem+json")


@pytest.mark.parametrize(
    ("changes", "status", "words"),
    [
        ({"gpu": {"id": "NVIDIA L40S"}}, 400, "no longer any instances"),
        (
            {"gpu": {"id": "NVIDIA L40S", "count": 1, "minCudaVersion": "13.1"}},
            400,
            "no longer any instances",
        ),
        ({"gpu": {"id": "NVIDIA H100 80GB HBM3", "count": 1}}, 400, "no longer any instances"),
        ({"gpu": {"id": "NVIDIA L4OS", "count": 1}}, 400, "not a known GPU"),
        ({"dataCenterIds": ["US-KS-2"]}, 400, "volume is in EU-RO-1"),
        ({"dataCenterIds": ["EU-XX-1"], "mounts": {}}, 400, "unknown data center"),
        (
            {"mounts": {"network": [{"volumeId": "gone", "path": "/workspace"}]}},
            404,
            "volume not found",
        ),
        ({"bogus": 1}, 422, "'bogus'"),
        ({"env": ["A=1"]}, 422, "$.env"),
        ({"env": {"A": 1}}, 422, "$.env.A"),
        ({"gpu": {"count": "two"}}, 422, "id"),
        ({"env": {f"A{n}": "" for n in range(51)}}, 400, "at most 50"),
        ({"env": {"A": "x" * 102_400}}, 413, "102400"),
    ],
)
def test_a_create_that_breaks_a_rule_is_refused_in_the_providers_way(
    paper: Paper, changes: dict[str, Any], status: int, words: str
) -> None:
    answer = paper.call("POST", "/pods", request_for(**changes))
    problem = json.loads(answer.body)
    assert (answer.status, problem["status"]) == (status, status)
    assert words in problem["detail"] + str(problem.get("errors"))
    assert not paper.account.pods


def test_without_a_wish_the_scheduler_finds_a_data_center_with_stock(paper: Paper) -> None:
    pod = paper.create(dataCenterIds=[], mounts={}, gpu={"id": "NVIDIA H100 80GB HBM3", "count": 2})
    assert (pod["dataCenterId"], pod["cost"]) == ("US-KS-2", 5.38)


def test_stock_and_prices_are_in_the_catalog_and_the_scenario_changes_stock() -> None:
    paper = Paper({"stock": {"EU-RO-1": {"NVIDIA L40S": "NONE"}}})
    gpus = {
        gpu["id"]: gpu
        for gpu in paper.json("GET", "/catalog/gpus?include=AVAILABILITY&product=POD")["gpus"]
    }
    gpu = gpus["NVIDIA L40S"]
    assert (gpu["memory"], gpu["price"]["secure"]) == (48, 0.86)
    assert "EU-RO-1" not in [place["id"] for place in gpu["dataCenters"]]
    assert "EU-RO-1" in [
        place["id"] for place in paper.json("GET", "/catalog/datacenters")["dataCenters"]
    ]
    assert paper.call("POST", "/pods", request_for()).status == 400


def test_a_volume_can_be_made_and_mounted(paper: Paper) -> None:
    wish = {"name": "mine", "size": 20, "dataCenter": "US-KS-2"}
    volume = paper.json("POST", "/network-volumes", wish)
    assert volume == {**wish, "id": volume["id"], "type": "STANDARD"}
    assert volume in paper.json("GET", "/network-volumes")["networkVolumes"]
    mounts = {"network": [{"volumeId": volume["id"], "path": "/workspace"}]}
    assert paper.create(mounts=mounts, dataCenterIds=["US-KS-2"])["mounts"] == mounts


def test_a_path_that_does_not_exist_is_a_problem(paper: Paper) -> None:
    assert paper.call("GET", "/nothing").status == 404


def test_logs_are_events_with_opaque_ids_that_resume(paper: Paper) -> None:
    path = f"/pods/{paper.create()['id']}/logs"
    whole = paper.call("GET", path)
    assert whole.headers["Content-Type"] == "text/event-stream"
    events = whole.body.decode().strip().split("\n\n")
    id, data = events[0].split("\n")
    assert json.loads(data.removeprefix("data: "))["source"] == "system"
    resumed = paper.call("GET", path, **{"last-event-id": id.removeprefix("id: ")})
    assert resumed.body.decode().strip() == "\n\n".join(events[1:])
    assert paper.call("GET", f"{path}?tail=1").body.decode().strip() == events[-1]
    assert paper.call("GET", f"{path}?source=container&tail=0").body == b""
    assert whole.more is not None
    assert next(whole.more) == b""
    paper.call("DELETE", path.removesuffix("/logs"))
    assert b"stop container" in b"".join(whole.more)


def test_the_same_seed_gives_the_same_ids() -> None:
    assert Paper().create()["id"] == Paper().create()["id"]


def test_a_method_that_a_path_does_not_have_is_refused_with_those_it_has(paper: Paper) -> None:
    answer = paper.call("PUT", "/network-volumes")
    assert (answer.status, answer.headers["Allow"]) == (405, "GET, POST")


def test_a_list_comes_in_pages(paper: Paper) -> None:
    made = [paper.create(name=f"podkit-test-00000{n}")["id"] for n in range(3)]
    page = paper.json("GET", "/pods?limit=2")
    assert [pod["id"] for pod in page["pods"]] == made[:2]
    cursor = page["pagination"]["nextCursor"]
    rest = paper.json("GET", f"/pods?limit=2&cursor={cursor}")
    assert [pod["id"] for pod in rest["pods"]] == made[2:]
    assert rest["pagination"] == {"nextCursor": None, "hasNextPage": False}
    for query in ("limit=0", "limit=1001", "limit=x", "cursor=nonsense"):
        assert paper.call("GET", f"/pods?{query}").status == 422


@pytest.mark.parametrize(
    "changes",
    [
        {"name": ""},
        {"cloud": "PRIVATE"},
        {"disk": 0},
        {"gpu": {"id": "NVIDIA L40S", "count": 0}},
        {"gpu": {"id": "NVIDIA L40S", "count": 1, "minCudaVersion": "13"}},
        {"mounts": {"network": [{"volumeId": "podkit0vol"}]}},
        {"ports": "8000/http"},
    ],
)
def test_a_create_of_a_wrong_shape_is_refused(paper: Paper, changes: dict[str, object]) -> None:
    assert paper.call("POST", "/pods", {**request_for(), **changes}).status == 422


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"size": 9}, 422),
        ({"size": 4097}, 422),
        ({"name": ""}, 422),
        ({"type": "FAST"}, 422),
        ({"type": "STANDARD"}, 201),
        ({"type": "HIGH_PERFORMANCE"}, 201),
        ({"type": "HIGH_PERFORMANCE", "dataCenter": "EU-RO-1"}, 400),
        ({"dataCenter": "EU-XX-1"}, 400),
    ],
)
def test_a_volume_has_the_sizes_types_and_places_of_the_document(
    paper: Paper, changes: dict[str, Any], status: int
) -> None:
    wish = {"name": "mine", "size": 20, "dataCenter": "US-KS-2", **changes}
    assert paper.call("POST", "/network-volumes", wish).status == status


def test_september_2026_can_be_played(paper: Paper) -> None:
    sold_out = ("NVIDIA L40S", "NVIDIA GeForce RTX 4090", "NVIDIA A100 80GB PCIe")
    stock = dict.fromkeys(sold_out, "NONE") | {"NVIDIA RTX PRO 4500 Blackwell": "HIGH"}
    paper = Paper({"stock": {"EU-RO-1": stock}})
    answer = paper.json("GET", "/catalog/gpus?include=AVAILABILITY&product=POD&cloud=SECURE")
    there = {}
    for gpu in answer["gpus"]:
        if "EU-RO-1" in [place["id"] for place in gpu.get("dataCenters", ())]:
            there[gpu["id"]] = (gpu["memory"], gpu["price"]["secure"])
    assert there.pop("NVIDIA RTX PRO 4500 Blackwell") == (32, 0.72)
    assert not {*sold_out} & {*there}
    pod = paper.create(gpu={"id": "NVIDIA RTX PRO 4500 Blackwell", "count": 1})
    assert pod["cost"] == 0.72
