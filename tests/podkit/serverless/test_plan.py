"""From a block to the request, and from what an endpoint is to what it is to be."""

from __future__ import annotations

import json
from typing import Any

import pytest

from podkit.errors import UsageError
from podkit.runpod.endpoint_types import Endpoint, WorkerGpu
from podkit.serverless import plan as planning
from podkit.serverless.config import parse_config
from podkit.serverless.plan import (
    AT_ONCE,
    NEW_ENDPOINT,
    NEW_RELEASE,
    create_body,
    desired_settings,
    plan_change,
    request_body,
)
from podkit.serverless.pools import documented_catalogue
from tests import contract
from tests.podkit.serverless.configs import CPU, block
from tests.sandbox.sandboxes import Paper

TOKEN = "hf_the-token"
ENVIRONMENT = {"HF_TOKEN": TOKEN}
NONCE = "5e1f"
GOLDEN: dict[str, Any] = {
    "name": "translation",
    "type": "QUEUE",
    "image": "ghcr.io/me/translation:3f2a1b",
    "gpu": {
        "pools": ["AMPERE_16", "AMPERE_48"],
        "count": 1,
        "excludedTypes": [
            "NVIDIA RTX A4500",
            "NVIDIA RTX 4000 Ada Generation",
            "NVIDIA RTX 2000 Ada Generation",
            "NVIDIA A40",
        ],
    },
    "workers": {"min": 0, "max": 1, "idleTimeout": 5},
    "scaling": {"type": "QUEUE_DELAY", "queueDelay": 4},
    "timeout": 90_000,
    "flashboot": "FLASHBOOT",
    "disk": 10,
    "env": {
        "HF_TOKEN": "***",
        "RUNPOD_INIT_TIMEOUT": "800",
        "PODKIT_SERVICE": "a",
        "PODKIT_DEPLOY": NONCE,
    },
}


def desired(*without: str, **changes: Any) -> dict[str, Any]:
    """The settings that the sample block wants, with some of its fields changed."""
    text = json.dumps({"a": block(*without, **changes)})
    return desired_settings(parse_config(text)["a"], ENVIRONMENT, documented_catalogue())


class Deployed:
    """An endpoint of the sandbox on paper, and what plans do to it."""

    def __init__(self, *without: str, **changes: Any) -> None:
        self.paper = Paper()
        made = self.send("POST", "/serverless", create_body(desired(*without, **changes), NONCE))
        self.path = f"/serverless/{made['id']}"

    def send(self, method: str, path: str, settings: Any) -> Any:
        body = request_body(settings)
        answer = self.paper.call(method, path, body)
        assert answer.status in (200, 201), answer.body
        return json.loads(answer.body)

    @property
    def settings(self) -> dict[str, Any]:
        return dict(Endpoint.from_api(self.paper.json("GET", self.path)).settings)

    @property
    def version(self) -> int:
        version: int = self.paper.json("GET", f"{self.path}/releases")["endpointVersion"]
        return version


def test_the_request_is_the_golden_one_without_a_key_and_without_a_secret() -> None:
    settings = create_body(desired(), NONCE)
    assert request_body(settings, redacted=True) == GOLDEN
    assert TOKEN not in repr(settings)
    assert request_body(settings)["env"]["HF_TOKEN"] == TOKEN


@pytest.mark.parametrize(
    ("without", "changes"),
    [
        ((), {}),
        (("gpu_types",), {"cpu": CPU, "command": ["python", "x.py"], "registry": "cred1"}),
        (("idle_timeout",), {"scaling": {"requests_per_worker": 2}, "flashboot": "priority"}),
        (
            ("gpu_types",),
            {
                "gpu_pools": ["AMPERE_48"],
                "gpu_excluded": ["NVIDIA A40"],
                "min_cuda": "12.8",
                "data_centers": ["EU-RO-1"],
                "network_volumes": ["podkit0vol"],
            },
        ),
    ],
)
def test_the_providers_document_and_the_sandbox_take_what_is_sent(
    without: tuple[str, ...], changes: dict[str, Any]
) -> None:
    wanted = desired(*without, **changes)
    if document := contract.document():
        from openapi_core.testing import MockRequest

        sent = MockRequest(
            contract.SERVER,
            "post",
            "/v2/serverless",
            headers={"Authorization": "Bearer k"},
            data=json.dumps(request_body(create_body(wanted, NONCE))).encode(),
        )
        document.validate_request(sent)
    if "registry" in wanted:
        del wanted["registry"]
    deployed = Deployed(*without, **{name: x for name, x in changes.items() if name != "registry"})
    assert plan_change(wanted, deployed.settings).changes == ()


def test_the_documented_pools_are_those_of_the_sandboxs_catalogue() -> None:
    pools = {gpu.id: gpu.pool for gpu in documented_catalogue()}
    for row in Paper().json("GET", "/catalog/gpus?include=AVAILABILITY&product=SERVERLESS")["gpus"]:
        gpu = WorkerGpu.from_api(row)
        assert pools.get(gpu.id, "") == gpu.pool


@pytest.mark.parametrize(
    ("without", "changes", "sentence"),
    [
        ((), {"gpu_types": ["NVIDIA L4OS"]}, "is no GPU type; did you mean NVIDIA L40S?"),
        (("gpu_types",), {"gpu_pools": ["ADA_42"]}, "ADA_42 is no pool; did you mean ADA_24?"),
        (
            ("gpu_types",),
            {"gpu_pools": ["ADA_24"], "gpu_excluded": ["NVIDIA A40"]},
            "a.gpu_excluded: NVIDIA A40 is not in gpu_pools",
        ),
        (
            ("gpu_types",),
            {"gpu_pools": ["ADA_24"], "gpu_excluded": ["NVIDIA GeForce RTX 4090"]},
            "leaves no GPU type",
        ),
    ],
)
def test_types_that_cannot_be_had_are_refused(
    without: tuple[str, ...], changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(UsageError) as caught:
        desired(*without, **changes)
    assert sentence in caught.value.message


def test_a_type_of_the_catalogue_that_is_in_no_pool_is_refused() -> None:
    (service,) = parse_config(json.dumps({"a": block(gpu_types=["X"])})).values()
    with pytest.raises(UsageError, match="X is in no pool"):
        desired_settings(service, ENVIRONMENT, [WorkerGpu("X", "", 24, None, {})])


CHANGES: dict[str, tuple[dict[str, Any], list[str], list[str]]] = {
    "image": ({"image": "ghcr.io/me/translation:2"}, ["image"], [NEW_RELEASE]),
    "workers": ({"scaling": {"max_workers": 2}}, ["workers"], [AT_ONCE]),
    "timeout": ({"execution_timeout": 120}, ["timeout"], [AT_ONCE]),
    "name": ({"endpoint_name": "other"}, ["name"], [AT_ONCE]),
    "delay": ({"scaling": {"max_workers": 1, "queue_delay": 8}}, ["scaling"], [AT_ONCE]),
    "flashboot": ({"flashboot": False}, ["flashboot"], [NEW_RELEASE]),
    "types": ({"gpu_types": ["NVIDIA RTX A4000"]}, ["gpu"], [NEW_RELEASE, NEW_RELEASE]),
    "cuda": ({"min_cuda": "12.8"}, ["gpu"], [NEW_RELEASE]),
    "place": ({"data_centers": ["EU-RO-1"]}, ["dataCenterIds"], [NEW_RELEASE]),
    "command": ({"command": ["python", "x.py"]}, ["cmd"], [NEW_RELEASE]),
    "env": ({"env": {"HF_TOKEN": "${HF_TOKEN}"}}, ["env"], [NEW_RELEASE]),
}


@pytest.mark.parametrize(("changes", "sent", "effects"), CHANGES.values(), ids=CHANGES)
def test_a_change_sends_only_what_differs_says_what_it_does_and_does_that(
    changes: dict[str, Any], sent: list[str], effects: list[str]
) -> None:
    deployed = Deployed()
    plan = plan_change(desired(**changes), deployed.settings)
    assert list(plan.body) == sent
    assert [change.effect for change in plan.changes] == effects
    deployed.send("PATCH", deployed.path, plan.body)
    assert plan_change(desired(**changes), deployed.settings).changes == ()
    assert deployed.version == 1 + plan.replaces_workers
    # and back: what the config no longer has is cleared
    deployed.send("PATCH", deployed.path, plan_change(desired(), deployed.settings).body)
    assert plan_change(desired(), deployed.settings).changes == ()
    assert deployed.settings["env"]["PODKIT_DEPLOY"] == NONCE


def test_the_idle_time_is_not_sent_where_it_does_not_apply() -> None:
    deployed = Deployed()
    by_requests = {"scaling": {"max_workers": 1, "requests_per_worker": 2}}
    plan = plan_change(desired("idle_timeout", **by_requests), deployed.settings)
    assert plan.body["workers"] == {"min": 0, "max": 1}
    deployed.send("PATCH", deployed.path, plan.body)
    assert plan_change(desired("idle_timeout", **by_requests), deployed.settings).changes == ()


def test_gpu_and_cpu_are_another_endpoint() -> None:
    plan = plan_change(desired("gpu_types", cpu=CPU), Deployed().settings)
    assert plan.needs_new_endpoint
    assert plan.body == {}
    assert NEW_ENDPOINT in [change.effect for change in plan.changes]


def test_what_others_changed_is_a_difference_and_order_is_none() -> None:
    deployed = Deployed()
    shuffled = deployed.settings
    shuffled["gpu"]["pools"].reverse()
    shuffled["gpu"]["excludedTypes"].reverse()
    assert plan_change(desired(), shuffled).changes == ()
    lowered = {**shuffled, "workers": {**shuffled["workers"], "max": 0}}
    (change,) = plan_change(desired(), lowered).changes
    assert (change.field, change.old, change.new) == ("workers.max", 0, 1)


def test_a_cuda_set_that_others_gave_gives_way_to_a_floor() -> None:
    deployed = Deployed()
    deployed.send("PATCH", deployed.path, {"gpu": {"allowedCudaVersions": ["12.8"]}})
    plan = plan_change(desired(min_cuda="12.8"), deployed.settings)
    deployed.send("PATCH", deployed.path, plan.body)
    assert plan_change(desired(min_cuda="12.8"), deployed.settings).changes == ()


def test_no_plan_shows_a_value_of_a_variable() -> None:
    actual = {**Deployed().settings, "env": {"HF_TOKEN": "old-secret", "GONE": "old-secret"}}
    plan = plan_change(desired(), actual)
    shown = repr(plan)
    assert "old-secret" not in shown
    assert TOKEN not in shown
    by_field = {change.field: (change.old, change.new) for change in plan.changes}
    assert by_field["env.HF_TOKEN"] == ("***", "***")
    assert by_field["env.GONE"] == ("***", None)


def test_an_answer_without_what_it_may_leave_out_is_understood() -> None:
    form = planning.normal_form({"name": "bare", "scaling": {"type": "REQUEST_COUNT"}})
    assert (form["flashboot"], form["timeout"], form["workers.idleTimeout"]) == ("OFF", 0, None)
