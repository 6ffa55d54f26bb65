"""The engines of an export start as a pod's does, and are woken and ended by what is waiting."""

from __future__ import annotations

import json
import re
import subprocess
import tarfile
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from boot.configuration import read_configuration
from boot.model_server import vllm_command

from podkit import ROOT
from podkit.models.spec import declared_values
from podkit_gateway.config import load_config
from tests.podkit.export.exports import AWAKE, MODELS, of_kind, reference
from tests.podkit.export.tools import helm_environment, program

Tree = dict[str, str]
STARTUP = ROOT / "startup"
LOGIN = {
    "PODKIT_API_KEY": "k",
    "WEBUI_ADMIN_EMAIL": "a@example.org",
    "WEBUI_ADMIN_PASSWORD": "p",
    "WEBUI_SECRET_KEY": "s",
}


def pod_command(name: str) -> list[str]:
    """What a pod of this model runs, but for paths and the guard."""
    script = (STARTUP / f"startup_{name}.sh").read_text(encoding="utf-8")
    values = {**LOGIN, **declared_values(script), "PODKIT_MODEL": name}
    told = vllm_command(read_configuration(values, STARTUP), Path("/checkpoint"))
    guard = told.index("--middleware")
    return [*told[3:guard], *told[guard + 2 :]]


def flags(words: list[str]) -> dict[str, tuple[str, ...]]:
    """Flags with their values; vLLM takes underscores for dashes."""
    found: dict[str, tuple[str, ...]] = {}
    name = ""
    for word in words:
        if word.startswith("--"):
            name = word.replace("_", "-")
            assert name not in found, f"{name} twice"
            found[name] = ()
        else:
            found[name] = (*found[name], word)
    return found


@pytest.fixture(scope="module")
def rendered(
    tree_of: Callable[[str], Tree], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """The Deployments that the chart makes of an export's values."""
    tree = tree_of("aks-production-stack")
    folder = tmp_path_factory.mktemp("chart")
    with tarfile.open(reference() / "vllm-stack-0.1.12.tgz") as archive:
        archive.extractall(folder, filter="data")
    chart = folder / "vllm-stack"
    (chart / "Chart.lock").unlink()
    about = (chart / "Chart.yaml").read_text(encoding="utf-8")
    # What it depends on is off, and would be fetched.
    (chart / "Chart.yaml").write_text(about[: about.index("dependencies:")], encoding="utf-8")
    values = folder / "values.json"
    values.write_text(json.dumps(yaml.safe_load(tree["engines/vllm-stack.yaml"])))
    script = Path(__file__).with_name("render_chart.py")
    done = subprocess.run(
        [str(helm_environment()), str(script), str(chart), str(values), "models", "podkit"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = {}
    for one in yaml.safe_load_all(done.stdout):
        if one and one["kind"] == "Deployment":
            found[one["metadata"]["name"]] = one
    return found


@pytest.mark.parametrize("name", MODELS)
def test_a_plain_engine_starts_as_a_pod_does(name: str, tree_of: Callable[[str], Tree]) -> None:
    deployment = of_kind(tree_of("kubernetes-plain"), "Deployment")[f"engine-{name}"]
    command = deployment["spec"]["template"]["spec"]["containers"][0]["command"]
    assert command[:2] == ["vllm", "serve"]
    assert command[2].startswith("/models/")
    assert flags(command[3:]) == flags(pod_command(name))


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.slow
def test_the_charts_engine_starts_as_a_pod_does(name: str, rendered: dict[str, Any]) -> None:
    spec = rendered[f"models-{name}-deployment-vllm"]["spec"]["template"]["spec"]
    command = spec["containers"][0]["command"]
    told = flags(command[3:])
    assert told.pop("--enable-prefix-caching") == ()  # vLLM's default, which the chart would end
    assert told == flags(pod_command(name))
    assert "runtimeClassName" not in spec
    assert spec["containers"][0]["startupProbe"]["failureThreshold"] == 180
    names = [one["name"] for one in spec["containers"][0]["env"]]
    assert len(names) == len(set(names)), "an environment variable is set twice"
    assert spec["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == 1


@pytest.mark.slow
def test_the_chart_makes_what_the_other_manifests_name(
    tree_of: Callable[[str], Tree], rendered: dict[str, Any]
) -> None:
    tree = tree_of("aks-production-stack")
    for scaled in of_kind(tree, "ScaledObject", "engines/scaling-prod").values():
        assert scaled["spec"]["scaleTargetRef"]["name"] in rendered
    for name, deployment in rendered.items():
        part = "router" if "router" in name else "engine"
        template = deployment["spec"]["template"]
        assert template["metadata"]["labels"]["podkit.dev/part"] == part
        monitor = of_kind(tree, "PodMonitor", "base")[part]
        (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
        ports = [one["name"] for one in template["spec"]["containers"][0]["ports"]]
        assert endpoint["port"] in ports
        assert ":latest" not in json.dumps(deployment)


@pytest.mark.slow
def test_the_charts_values_are_what_its_schema_allows(tree_of: Callable[[str], Tree]) -> None:
    file = reference() / "vllm-stack-0.1.12.values.schema.json"
    schema = json.loads(file.read_text(encoding="utf-8"))
    values = yaml.safe_load(tree_of("aks-production-stack")["engines/vllm-stack.yaml"])
    jsonschema.validate(values, schema)
    values["routerSpec"]["replicaCount"] = "many"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(values, schema)


def test_kaito_is_given_the_pods_flags_but_those_it_sets_itself(
    tree_of: Callable[[str], Tree],
) -> None:
    tree = tree_of("aks-kaito")
    for name in MODELS:
        text = of_kind(tree, "ConfigMap")[f"engine-{name}"]["data"]["inference_config.yaml"]
        told = yaml.safe_load(text)["vllm"]
        wanted = flags(pod_command(name))
        for own in ("--host", "--port", "--served-model-name", "--safetensors-load-strategy"):
            del wanted[own]
        assert {f"--{flag}" for flag in told} == set(wanted)
        for flag, value in told.items():
            words = wanted[f"--{flag}"]
            assert value == (" ".join(words) if words else True)


def test_the_fleets_engine_answers_its_own_pod_alone(tree: Tree) -> None:
    fleet = of_kind(tree, "Job").get("ocr")
    if fleet is None:
        assert "engines/engines.yaml" in tree  # KAITO has no shared folder of checkpoints
        return
    assert fleet["spec"]["completionMode"] == "Indexed"
    (engine,) = fleet["spec"]["template"]["spec"]["initContainers"]
    told = flags(engine["command"][3:])
    assert told.pop("--host") == ("127.0.0.1",)
    wanted = flags(pod_command("olmocr"))
    del wanted["--host"]
    assert told == wanted


def test_the_gateway_takes_its_file_and_finds_the_models_there(tree: Tree, tmp_path: Path) -> None:
    text = of_kind(tree, "ConfigMap")["gateway-models"]["data"]["gateway.toml"]
    (tmp_path / "gateway.toml").write_text(text)
    config = load_config(tmp_path / "gateway.toml", {"ENGINE_KEY": "k"})
    assert set(config.models) == {"olmocr", "qwen3-vl-8b"}
    for backend in config.backends.values():
        assert backend.asleep
    assert all(model.hold_seconds == 900 for model in config.models.values())


def test_a_model_that_never_sleeps_is_not_waited_for(tree_of: Callable[[str], Tree]) -> None:
    tree = tree_of(AWAKE)
    text = of_kind(tree, "ConfigMap")["gateway-models"]["data"]["gateway.toml"]
    told = tomllib.loads(text)
    assert not any("hold_seconds" in model for model in told["models"].values())
    assert not any("asleep" in backend for backend in told["backends"].values())


def test_an_engine_is_woken_by_the_gateways_count_and_kept_by_its_own(tree: Tree) -> None:
    for scaled in of_kind(tree, "ScaledObject", "engines/scaling-prod").values():
        asked = [one["metadata"]["query"] for one in scaled["spec"]["triggers"]]
        assert asked[0].startswith("sum(gateway_waiting_requests{model=")
        assert asked[1].startswith("sum(vllm:num_requests_waiting{model_name=")
        assert asked[2].startswith("sum(vllm:num_requests_running{model_name=")
        for one in scaled["spec"]["triggers"]:
            assert one["metadata"]["activationThreshold"] == "0"


@pytest.mark.slow
def test_every_query_and_every_rule_is_promql(tree: Tree, tmp_path: Path) -> None:
    promtool = program("promtool")
    rules = yaml.safe_load(tree["rules.yml"])
    for scaled in of_kind(tree, "ScaledObject").values():
        name = scaled["metadata"]["name"].replace("-", "_")
        records = []
        for number, one in enumerate(scaled["spec"]["triggers"]):
            records.append({"record": f"{name}:{number}", "expr": one["metadata"]["query"]})
        rules["groups"].append({"name": name, "rules": records})
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(rules))
    checked = [promtool, "check", "rules", str(tmp_path / "rules.yml")]
    done = subprocess.run(checked, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_metrics_that_are_asked_for_are_the_gateways_own(tree: Tree) -> None:
    own = (ROOT / "podkit_gateway/metrics.py").read_text(encoding="utf-8")
    told = tree["rules.yml"] + tree["engines/scaling-prod.yaml"]
    for name in set(re.findall(r"\bgateway_[a-z_]+", told)):
        stem = re.sub(r"_(total|bucket)$", "", name)
        assert f'"{stem}"' in own, name


def test_nobody_is_woken_because_every_engine_sleeps(tree_of: Callable[[str], Tree]) -> None:
    assert "GatewayBackendDown" not in tree_of("kubernetes-plain")["rules.yml"]
    assert "GatewayBackendDown" in tree_of(AWAKE)["rules.yml"]
