"""`--pin-digests`: the images of an export are those that a cluster was seen to run."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from podkit.errors import UsageError
from podkit.export.digests import read_digests
from tests.podkit.export.exports import AKS, export, pod_specs

Tree = dict[str, str]


def digest_of(image: str) -> str:
    return f"sha256:{hashlib.sha256(image.encode()).hexdigest()}"


def pod(spec: dict[str, Any]) -> dict[str, Any]:
    """A pod that runs, as the API server shows it."""
    status: dict[str, list[dict[str, str]]] = {}
    for kind, shown in (
        ("containers", "containerStatuses"),
        ("initContainers", "initContainerStatuses"),
    ):
        status[shown] = []
        for one in spec.get(kind, []):
            name, _, _ = one["image"].rpartition(":")
            image_id = f"{name}@{digest_of(one['image'])}"
            status[shown].append({"name": one["name"], "image": "sha256:0", "imageID": image_id})
    return {"kind": "Pod", "spec": spec, "status": status}


def listed(folder: Path, *pods: dict[str, Any]) -> Path:
    file = folder / "pods.json"
    file.write_text(json.dumps({"kind": "List", "items": list(pods)}))
    return file


def test_every_image_is_pinned_to_what_ran(tree_of: Callable[[str], Tree], tmp_path: Path) -> None:
    tree = tree_of("aks-production-stack")
    chart = yaml.safe_load(tree["engines/vllm-stack.yaml"])
    engine = chart["servingEngineSpec"]["modelSpec"][0]
    router = chart["routerSpec"]
    pods = [pod(spec) for _, spec in pod_specs(tree)]
    for one in (engine, router):
        image = f"{one['repository']}:{one['tag']}"
        pods.append(pod({"containers": [{"name": "c", "image": image}]}))
    pinned = export(tmp_path / "out", *AKS, "--pin-digests", str(listed(tmp_path, *pods)))
    manifests = "".join(text for path, text in pinned.items() if path.endswith(".yaml"))
    images = re.findall(r"\bimage: (\S+)", manifests)
    assert len(images) > 15
    for image in images:
        tagged, _, digest = image.partition("@")
        assert digest == digest_of(tagged), image
    told = yaml.safe_load(pinned["engines/vllm-stack.yaml"])["routerSpec"]
    assert told["tag"] == f"{router['tag']}@{digest_of(router['repository'] + ':' + router['tag'])}"


def test_an_image_that_does_not_run_keeps_its_tag(tmp_path: Path) -> None:
    spec = {"containers": [{"name": "page", "image": "r/page:1"}]}
    waiting = {"spec": spec, "status": {"phase": "Pending"}}
    no_digest = pod(spec)
    no_digest["status"]["containerStatuses"][0]["imageID"] = ""
    assert read_digests(listed(tmp_path, waiting, no_digest)) == {}


def test_a_pinned_image_can_be_listed_again(tmp_path: Path) -> None:
    one = pod({"containers": [{"name": "page", "image": "r/page:1"}]})
    one["spec"]["containers"][0]["image"] += f"@{digest_of('r/page:1')}"
    assert read_digests(listed(tmp_path, one)) == {"r/page:1": digest_of("r/page:1")}


def test_a_tag_that_was_moved_between_two_pods_is_refused(tmp_path: Path) -> None:
    pods = [pod({"containers": [{"name": "page", "image": "r/page:1"}]}) for _ in range(2)]
    pods[1]["status"]["containerStatuses"][0]["imageID"] = f"r/page@{digest_of('other')}"
    with pytest.raises(UsageError, match=r"r/page:1 is sha256:\w+ and sha256"):
        read_digests(listed(tmp_path, *pods))


@pytest.mark.parametrize("text", ["", "[]", '{"items": [{}]}', '{"items": 3}'])
def test_a_file_that_is_no_list_of_pods_is_refused_with_the_command_that_makes_one(
    text: str, tmp_path: Path
) -> None:
    (tmp_path / "pods.json").write_text(text)
    with pytest.raises(UsageError) as refused:
        read_digests(tmp_path / "pods.json")
    assert "kubectl get pods" in str(refused.value.hint)
