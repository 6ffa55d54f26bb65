"""Every manifest is what the cluster's schemas allow, and every pod is as locked as it can be."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.podkit.export.exports import (
    KUBERNETES,
    VARIANTS,
    export,
    objects_of,
    of_kind,
    pod_specs,
    reference,
)
from tests.podkit.export.tools import (
    CRD_TYPES,
    VALIDATE,
    environment,
    kubectl,
    node_environment,
    program,
)

Tree = dict[str, str]
Schema = dict[str, Any]
OWN_GROUPS = re.compile(r"[^.]+(/v\d+)?$|[^/]+\.k8s\.io/v\d+$")
"""API versions of Kubernetes itself; those of the Gateway API and the CSI driver end so, too."""
NOT_CORE = ("gateway.networking.k8s.io/", "secrets-store.csi.x-k8s.io/")
WITHOUT_A_SCHEMA = {"InferenceSet", "Issuer", "PodMonitor", "PrometheusRule"}
"""Kinds that may be without a schema: a folder of schemas that has theirs holds them, too."""
WANT_ROOT = {"page", "vllm"}
"""Containers whose images run as root."""
OF_THE_NODE = {"DaemonSet device-plugin", "DaemonSet dcgm-exporter"}


def is_core(api_version: str) -> bool:
    return bool(OWN_GROUPS.match(api_version)) and not api_version.startswith(NOT_CORE)


@cache
def custom_schemas() -> dict[tuple[str, str], Schema]:
    """The schemas of the custom kinds, closed: a field that is not in them is an error."""
    found = {}
    for path in reference().glob("*.yaml"):
        told = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)["spec"]
        for version in told["versions"]:
            key = (f"{told['group']}/{version['name']}", told["names"]["kind"])
            found[key] = closed(version["schema"]["openAPIV3Schema"], is_root=True)
    return found


def closed(schema: Schema, is_root: bool = False) -> Schema:
    """The schema refusing fields that it does not name, as `kubectl` does."""
    found = dict(schema)
    if "properties" in schema:
        inner = {}
        for name, part in schema["properties"].items():
            free = is_root and name == "metadata"
            inner[name] = part if free else closed(part)
        found["properties"] = inner
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            found["additionalProperties"] = False
    if isinstance(schema.get("items"), dict):
        found["items"] = closed(schema["items"])
    if isinstance(schema.get("additionalProperties"), dict):
        found["additionalProperties"] = closed(schema["additionalProperties"])
    return found


@pytest.mark.slow
@pytest.mark.parametrize("version", ["1.34", "1.37"])
def test_every_object_of_a_core_kind_is_valid(version: str, tree_of: Callable[[str], Tree]) -> None:
    lines = []
    for name in VARIANTS:
        for _, one in objects_of(tree_of(name), ""):
            if is_core(one["apiVersion"]):
                lines.append(json.dumps(one))
    assert len(lines) > 100
    python = environment(sys.executable, *VALIDATE)
    script = Path(__file__).with_name("validate.py")
    done = subprocess.run(
        [str(python), str(script), version],
        input="\n".join(lines),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == ""


@pytest.mark.slow
def test_every_object_of_a_custom_kind_is_valid(tree: Tree) -> None:
    schemas = custom_schemas()
    checked = set()
    for path, one in objects_of(tree, ""):
        kind = one["kind"]
        schema = schemas.get((one["apiVersion"], kind))
        if schema is None:
            assert is_core(one["apiVersion"]) or kind in WITHOUT_A_SCHEMA, kind
            continue
        try:
            jsonschema.validate(one, schema)
        except jsonschema.ValidationError as error:
            pytest.fail(f"{path}: {kind} {one['metadata']['name']}: {error.message}")
        checked.add(kind)
    assert checked >= {"Gateway", "HTTPRoute", "ScaledObject"}


@pytest.mark.slow
def test_monitors_rules_and_issuers_are_what_the_types_of_their_crds_allow(
    tree_of: Callable[[str], Tree],
) -> None:
    lines = []
    for name in VARIANTS:
        for _, one in objects_of(tree_of(name), ""):
            if one["kind"] in WITHOUT_A_SCHEMA - {"InferenceSet"}:
                lines.append(json.dumps(one))
    broken = json.loads(lines[0])
    broken["metadata"]["name"] = "broken"
    broken["spec"]["selector"] = "all"
    done = subprocess.run(
        [program("node"), str(Path(__file__).with_name("validate.cjs"))],
        input="\n".join([*lines, json.dumps(broken)]),
        capture_output=True,
        text=True,
        check=True,
        cwd=node_environment(*CRD_TYPES),
    )
    (refused,) = done.stdout.splitlines()
    assert refused.startswith("PodMonitor broken:")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "place", "wrong"),
    [
        ("ScaledObject", ("spec", "triggers"), {}),
        ("ScaledObject", ("spec", "cooldown"), 3),
        ("HTTPRoute", ("spec", "rules", 0, "timeouts", "request"), "forever"),
        ("Gateway", ("spec", "listeners", 0, "port"), 70000),
    ],
)
def test_a_broken_object_is_refused_by_these_schemas(
    kind: str, place: tuple[Any, ...], wrong: Any, tree_of: Callable[[str], Tree]
) -> None:
    """The test of the test."""
    one = deepcopy(next(iter(of_kind(tree_of("aks-production-stack"), kind).values())))
    at = one
    for step in place[:-1]:
        at = at[step]
    at[place[-1]] = wrong
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(one, custom_schemas()[one["apiVersion"], kind])


def read_settings(found: list[Any], name: str) -> dict[str, str]:
    """The settings that a Deployment's pods read, whose ConfigMap's name says what is in it."""
    (deployment,) = [
        one for one in found if one["kind"] == "Deployment" and one["metadata"]["name"] == name
    ]
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    named = container["envFrom"][0]["configMapRef"]["name"]
    assert re.fullmatch(rf"{name}-settings-[a-z0-9]{{10}}", named)
    (settings,) = [one for one in found if one["metadata"]["name"] == named]
    return dict(settings["data"])


@pytest.mark.slow
def test_every_overlay_renders(tree: Tree, tmp_path: Path) -> None:
    command = kubectl()
    for path, text in tree.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text, encoding="utf-8")
    for overlay, replicas in (("prod", "6"), ("try", "1")):
        done = subprocess.run(
            [command, "kustomize", str(tmp_path / "overlays" / overlay)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        found = list(yaml.safe_load_all(done.stdout))
        kinds = [one["kind"] for one in found]
        assert read_settings(found, "gateway")["GATEWAY_REPLICAS"] == replicas
        assert "CONTENT_SECURITY_POLICY" in read_settings(found, "page")
        assert kinds.count("Deployment") == 3
        assert ("Gateway" in kinds) == (overlay == "prod")


def test_every_pod_is_as_locked_as_its_image_allows(tree: Tree) -> None:
    for name, spec in pod_specs(tree):
        assert spec["automountServiceAccountToken"] is False, name
        assert spec["enableServiceLinks"] is False, name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        for container in [*spec["containers"], *spec.get("initContainers", [])]:
            security = container["securityContext"]
            assert security["allowPrivilegeEscalation"] is False, name
            assert security["capabilities"]["drop"] == ["ALL"], name
            assert container["resources"]["limits"]["memory"], name
            if container["name"] not in WANT_ROOT and name not in OF_THE_NODE:
                assert security["runAsNonRoot"] is True, name
                assert security["readOnlyRootFilesystem"] is True, name


def test_every_image_has_a_tag_of_its_own(tree: Tree) -> None:
    for name, spec in pod_specs(tree):
        for container in [*spec["containers"], *spec.get("initContainers", [])]:
            assert re.search(r":v?\d[\w.-]*$", container["image"]), name


def test_a_budget_is_there_only_for_engines_that_have_several_replicas(
    tree_of: Callable[[str], Tree], tmp_path: Path
) -> None:
    several = of_kind(tree_of("kubernetes-plain"), "PodDisruptionBudget")
    alone = export(tmp_path, *KUBERNETES, "--engine", "plain", "--replicas", "1:1")
    assert set(several) == {"gateway", "engine-olmocr", "engine-qwen3vl"}
    assert set(of_kind(alone, "PodDisruptionBudget")) == {"gateway"}


def test_a_stream_is_cut_by_no_route(tree: Tree) -> None:
    for route in of_kind(tree, "HTTPRoute").values():
        for rule in route["spec"]["rules"]:
            assert not rule.get("backendRefs") or rule["timeouts"] == {"request": "0s"}


def test_an_engine_reads_the_store_and_can_write_nothing_there(tree: Tree) -> None:
    if "jobs/fetch.yaml" not in tree:
        return  # KAITO has none
    written = set()
    for name, spec in pod_specs(tree):
        for container in [*spec["containers"], *spec.get("initContainers", [])]:
            for mount in container.get("volumeMounts", []):
                if mount["mountPath"] == "/models" and not mount.get("readOnly"):
                    written.add(name)
            if container["name"] == "vllm":
                assert {"name": "HF_HUB_OFFLINE", "value": "1"} in container["env"]
    assert written == {"Job fetch"}


def test_the_gateway_grows_with_its_cpu_and_a_drain_leaves_one(
    tree_of: Callable[[str], Tree],
) -> None:
    tree = tree_of("kubernetes-plain")
    (scaler,) = of_kind(tree, "HorizontalPodAutoscaler").values()
    assert (scaler["spec"]["minReplicas"], scaler["spec"]["maxReplicas"]) == (2, 6)
    assert of_kind(tree, "PodDisruptionBudget")["gateway"]["spec"]["minAvailable"] == 1
    spec = of_kind(tree, "Deployment")["gateway"]["spec"]
    assert "replicas" not in spec  # the autoscaler's, which `apply` must not set back
    assert spec["template"]["spec"]["topologySpreadConstraints"]


def test_a_pod_of_the_fleet_that_gave_up_is_not_paid_for_again(
    tree_of: Callable[[str], Tree],
) -> None:
    """Its node may be taken away however often; read_workspace.py ends with 1 when it gives up."""
    fleet = of_kind(tree_of("kubernetes-plain"), "Job")["ocr"]["spec"]
    taken, gave_up = fleet["podFailurePolicy"]["rules"]
    assert taken["action"] == "Ignore"
    assert taken["onPodConditions"] == [{"type": "DisruptionTarget", "status": "True"}]
    assert gave_up["action"] == "FailIndex"
    assert gave_up["onExitCodes"]["values"] == [1]
    assert fleet["template"]["spec"]["restartPolicy"] == "Never"


def test_azure_gets_every_alert_and_mails_it(tree_of: Callable[[str], Tree]) -> None:
    tree = tree_of("aks-production-stack")
    told = json.loads(tree["azure/alerts.json"])
    mailed, *groups = told["resources"]
    assert mailed["properties"]["emailReceivers"][0]["emailAddress"] == "[parameters('mail')]"
    found = {}
    for group in groups:
        assert len(group["properties"]["rules"]) <= 20  # Azure's limit
        for rule in group["properties"]["rules"]:
            assert re.fullmatch(r"PT\d+[MH]", rule["for"])
            assert rule["actions"] == [{"actionGroupId": group["dependsOn"][0]}]
            found[rule["alert"]] = rule["expression"]
    wanted = {}
    for group in yaml.safe_load(tree["rules.yml"])["groups"]:
        for rule in group["rules"]:
            wanted[rule["alert"]] = rule["expr"].strip()
    assert found == wanted
