"""The scripts that make and end the Azure side, run with an `az` that only notes what it is asked;
what it was asked goes through the real parser.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import unquote

import pytest
import yaml

from tests.podkit.export.exports import of_kind
from tests.podkit.export.scripts import Ran, options, run, write
from tests.podkit.export.tools import AZURE, environment, program

Tree = dict[str, str]
SIZE = "Standard_NC24ads_A100_v4"
SECRET = re.compile(r"\b[0-9a-f]{32,}\b")


@pytest.fixture
def folder(tree_of: Callable[[str], Tree], tmp_path: Path) -> Path:
    write(tree_of("aks-production-stack"), tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def made(
    tree_of: Callable[[str], Tree], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Ran, Path]:
    """All steps, run once, and the folder they were run in."""
    folder = tmp_path_factory.mktemp("made")
    write(tree_of("aks-production-stack"), folder)
    return run(folder, "azure/cluster.sh all"), folder


@pytest.mark.slow
def test_all_steps_end_with_the_ids_to_export_again_with(made: tuple[Ran, Path]) -> None:
    ran, _ = made
    assert ran.code == 0, ran.err
    assert ran.out.splitlines()[-1] == (
        "--tenant-id a-value --client-id a-value --prometheus-url a-value"
    )


@pytest.mark.slow
def test_the_cluster_has_all_that_the_manifests_stand_on(made: tuple[Ran, Path]) -> None:
    """Without the policy engine NetworkPolicies do nothing, and say nothing."""
    (told,) = options(made[0].asked, "aks", "create")
    assert told["--network-dataplane"] == ["cilium"]
    assert told["--pod-cidr"] == ["10.244.0.0/16"]  # whose X-Forwarded-For the gateway believes
    assert told["--enable-addons"] == ["azure-keyvault-secrets-provider"]
    for name in (
        *("oidc-issuer", "workload-identity", "keda", "gateway-api", "app-routing-istio"),
        *("secret-rotation", "azure-monitor-metrics", "cluster-autoscaler"),
    ):
        assert told[f"--enable-{name}"] == []


@pytest.mark.slow
def test_every_pod_with_a_gpu_fits_a_pool_that_is_at_zero_until_then(
    made: tuple[Ran, Path], tree_of: Callable[[str], Tree]
) -> None:
    pools = {}
    for told in options(made[0].asked, "aks", "nodepool", "add"):
        labels = dict([told["--labels"][0].split("=")])
        taints = list(told["--node-taints"])
        if "--priority" in told:  # AKS gives spot nodes these by itself
            labels["kubernetes.azure.com/scalesetpriority"] = "spot"
            taints.append("kubernetes.azure.com/scalesetpriority=spot:NoSchedule")
        assert told["--min-count"] == ["0"]
        pools[told["--name"][0]] = (labels, taints)
    assert set(pools) == {"gpu", "gpuspot"}
    tree = tree_of("aks-production-stack")
    chart = yaml.safe_load(tree["engines/vllm-stack.yaml"])["servingEngineSpec"]
    (term,) = chart["modelSpec"][0]["nodeSelectorTerms"][0]["matchExpressions"]
    asks = {
        "engine": ({term["key"]: term["values"][0]}, chart["tolerations"], "gpu"),
    }
    fleet = of_kind(tree, "Job")["ocr"]["spec"]["template"]["spec"]
    asks["fleet"] = (fleet["nodeSelector"], fleet["tolerations"], "gpuspot")
    for selector, tolerations, pool in asks.values():
        labels, taints = pools[pool]
        assert selector.items() <= labels.items()
        tolerated = {one["key"] for one in tolerations}
        assert {taint.partition("=")[0] for taint in taints} <= tolerated
    for daemon in of_kind(tree, "DaemonSet").values():
        assert {"sku", "kubernetes.azure.com/scalesetpriority"} <= {
            one["key"] for one in daemon["spec"]["template"]["spec"]["tolerations"]
        }


@pytest.mark.slow
def test_a_second_run_makes_nothing_again(folder: Path) -> None:
    ran = run(folder, "azure/cluster.sh all images", there="yes")
    assert ran.code == 0, ran.err
    made = [" ".join(words) for words in ran.asked if {"create", "add", "set"} & set(words)]
    repeatable = ("group create", "role assignment create")  # az takes them twice
    assert [line for line in made if not line.startswith(repeatable)] == []


@pytest.mark.slow
def test_no_secret_is_an_argument_and_none_is_left_in_a_file(made: tuple[Ran, Path]) -> None:
    ran, folder = made
    assert [words for words in ran.asked if SECRET.search(" ".join(words))] == []
    assert list(folder.glob("tmp.*")) == []


def test_the_key_of_the_page_is_read_from_standard_input(folder: Path) -> None:
    ran = run(folder, "azure/cluster.sh page-key", text="pk_live_secret\n")
    assert ran.code == 0
    assert "pk_live_secret" not in json.dumps(ran.asked)
    assert ran.asked[-1][:3] == ["keyvault", "secret", "set"]


@pytest.mark.slow
def test_a_step_that_fails_leaves_no_secret_in_a_file(folder: Path) -> None:
    ran = run(folder, "azure/cluster.sh database-url", text="a secret", refused="keyvault")
    assert ran.code == 1
    assert ran.asked[-1][:3] == ["keyvault", "secret", "set"]
    assert list(folder.glob("tmp.*")) == []


@pytest.mark.parametrize("usage", ["90\t100", ""])
def test_without_quota_nothing_is_made_and_the_form_is_named(folder: Path, usage: str) -> None:
    ran = run(folder, "azure/cluster.sh all", usage=usage)
    assert ran.code == 1
    assert "StandardNCADSA100v4Family" in ran.err
    assert "New quota request" in ran.err
    assert [words for words in ran.asked if "create" in words] == []


def test_quota_for_some_of_the_replicas_is_enough_and_said(folder: Path) -> None:
    ran = run(folder, "azure/cluster.sh quota", usage="0\t24")
    assert ran.code == 0
    assert "24 cores free, 192 are needed for all replicas" in ran.err


@pytest.mark.slow
def test_the_end_asks_first_and_lists_what_is_left(folder: Path) -> None:
    asked = run(folder, "azure/teardown.sh")
    assert asked.code == 2
    assert asked.asked == []
    ended = run(folder, "azure/teardown.sh --yes")
    assert ended.code == 0, ended.err
    assert ended.asked[0] == ["group", "delete", "--name", "acmeocr", "--yes"]
    for word in ("Key Vault", "disk", "Prometheus", "DNS", "CI"):
        assert word in ended.out


def readme_commands(text: str) -> list[list[str]]:
    """The az commands of a README, its capitals replaced by words."""
    found = []
    for block in re.findall(r"```\n(.*?)```", text, re.DOTALL):
        for line in block.splitlines():
            if line.startswith("az ") and not line.startswith("az login"):
                told = re.sub(r"\$\(.*\)", "A_SCOPE", line.removeprefix("az ")).removesuffix(" |")
                found.append(shlex.split(told, comments=True))
    for line in re.findall(r"`az ([^`]+)`", text):
        found.append(shlex.split(line))
    return found


@pytest.mark.slow
def test_every_az_command_is_one_that_the_real_parser_takes(
    made: tuple[Ran, Path], folder: Path
) -> None:
    asked = made[0].asked + run(folder, "azure/cluster.sh images").asked
    asked += run(folder, "azure/teardown.sh --yes").asked
    asked += run(
        folder, "azure/cluster.sh alerts page-key database-url", text="postgresql://\n"
    ).asked
    asked += readme_commands((folder / "README.md").read_text())
    (folder / "secret").write_text("s")
    distinct = set()
    for words in asked:
        told = ["@secret" if word.startswith("@") else word for word in words]
        distinct.add(json.dumps(["secret" if "/tmp." in word else word for word in told]))
    assert len(distinct) > 40
    wrong = json.dumps(["aks", "create", "--name", "a", "-g", "b", "--enable-wings"])
    python = environment(sys.executable, *AZURE)
    done = subprocess.run(
        [str(python), str(Path(__file__).with_name("az_parse.py"))],
        input="\n".join([*sorted(distinct), wrong]),
        capture_output=True,
        text=True,
        check=True,
        cwd=folder,
        env={
            **os.environ,
            "AZURE_CONFIG_DIR": str(folder / "az"),
            "AZURE_CORE_COLLECT_TELEMETRY": "0",
        },
    )
    refused = done.stdout.splitlines()
    assert len(refused) == 1, done.stdout
    assert "--enable-wings" in refused[0]


PRICES = (
    ("NC24ads A100 v4", "Virtual Machines NCads A100 v4 Series", 3.673),
    ("NC24ads A100 v4", "Virtual Machines NCads A100 v4 Series Windows", 4.777),
    ("NC24ads A100 v4 Spot", "Virtual Machines NCads A100 v4 Series", 1.1),
    ("NC24ads A100 v4 Low Priority", "Virtual Machines NCads A100 v4 Series", 0.73),
)
"""Of one size in a region, as Azure's list has them: skuName, productName, retailPrice."""
REAL_AZ = """\
#!/bin/bash
for word; do words+=("${{word/https:\\/\\/prices.azure.com/{url}}}"); done
exec {python} -m azure.cli "${{words[@]}}"
"""


class Prices(BaseHTTPRequestHandler):
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(unquote(self.path))
        items = []
        for sku, product, price in PRICES:
            item = {"armSkuName": SIZE, "skuName": sku, "productName": product}
            items.append({**item, "retailPrice": price})
        body = json.dumps({"Items": items, "NextPageLink": None}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.mark.slow
def test_the_real_az_asks_for_the_prices_of_the_region_without_an_account(folder: Path) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Prices)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    url = f"http:\\/\\/127.0.0.1:{server.server_port}"
    python = environment(sys.executable, *AZURE)
    (folder / "programs").mkdir()
    (folder / "programs/az").write_text(REAL_AZ.format(url=url, python=python))
    (folder / "programs/az").chmod(0o755)
    given = {
        "PATH": f"{folder}/programs:/usr/bin:/bin",
        "HOME": str(folder),  # without one az writes a folder None where the run began
        "AZURE_CONFIG_DIR": str(folder / "az"),
    }
    command = [program("bash"), str(folder / "azure/cluster.sh"), "prices"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=given)
    server.shutdown()
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[:2] == [
        f"{SIZE}\tNC24ads A100 v4\t3.673",
        f"{SIZE}\tNC24ads A100 v4 Spot\t1.1",
    ]
    assert f"armSkuName eq '{SIZE}'" in Prices.asked[0]
    assert "armRegionName eq 'eastus'" in Prices.asked[0]


@pytest.mark.slow
def test_the_workflow_is_one_that_github_takes_and_its_actions_are_pinned(
    folder: Path,
) -> None:
    file = folder / "ci/github.yml"
    checker = str(Path(sys.prefix) / "bin/check-jsonschema")
    checked = [checker, "--builtin-schema", "vendor.github-workflows", str(file)]
    done = subprocess.run(checked, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    told = yaml.safe_load(file.read_text())
    for job in told["jobs"].values():
        for step in job["steps"]:
            assert "uses" not in step or re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", step["uses"])
            assert "${{" not in step.get("run", "")
    assert told["jobs"]["deploy"]["environment"] == "production"
    assert told["jobs"]["deploy"]["permissions"]["id-token"] == "write"
    assert "secrets." not in file.read_text()


def test_what_the_workflow_deploys_is_in_the_export(tree_of: Callable[[str], Tree]) -> None:
    for name in ("aks-production-stack", "aks-kaito"):
        tree = tree_of(name)
        told = re.findall(r"(?:-f|--values) (\S+)", tree["ci/github.yml"])
        assert len(told) == 2
        assert set(told) <= set(tree)


KUBECTL = """\
#!/bin/sh
if [ "$3" = get ]; then [ -e "$FOLDER/made-$5" ]; exit; fi
printf '%s\\n' "$*" >>"$FOLDER/notes"
from=${7#--from-file=}
cp -R "$from" "$FOLDER/made-$6"
"""


@pytest.mark.slow
def test_the_secrets_of_any_cluster_are_made_once_and_are_no_arguments(
    tree_of: Callable[[str], Tree], tmp_path: Path
) -> None:
    write({"secrets.sh": tree_of("kubernetes-plain")["secrets.sh"]}, tmp_path)
    (tmp_path / "kubectl").write_text(KUBECTL)
    (tmp_path / "kubectl").chmod(0o755)
    (tmp_path / "url").write_text("postgresql+asyncpg://u:password@db/gateway\n")
    environ = {"PATH": f"{tmp_path}:/usr/bin:/bin", "FOLDER": str(tmp_path)}
    command = ["bash", str(tmp_path / "secrets.sh"), str(tmp_path / "url"), "me@example.org"]
    subprocess.run(command, env=environ, check=True)
    key = (tmp_path / "made-engine/key").read_text()
    assert re.fullmatch(r"[0-9a-f]{64}", key)
    url = (tmp_path / "made-gateway/database-url").read_text()
    assert url == "postgresql+asyncpg://u:password@db/gateway"
    assert re.fullmatch(r"k1:[0-9a-f]{64}", (tmp_path / "made-gateway/token-keys").read_text())
    assert (tmp_path / "made-page/admin-email").read_text() == "me@example.org"
    subprocess.run(command, env=environ, check=True)
    assert (tmp_path / "made-engine/key").read_text() == key
    notes = (tmp_path / "notes").read_text()
    assert key not in notes
    assert "password" not in notes
    assert notes.count("\n") == 3


@pytest.mark.parametrize("name", ["azure/cluster.sh", "azure/teardown.sh", "secrets.sh"])
def test_a_script_without_what_it_needs_says_what_it_is_for(
    name: str, tree_of: Callable[[str], Tree], tmp_path: Path
) -> None:
    write({**tree_of("kubernetes-plain"), **tree_of("aks-kaito")}, tmp_path)
    ran = run(tmp_path, name)
    assert ran.code == 2
    assert Path(name).name in ran.err


@pytest.mark.slow
def test_the_check_says_that_ids_are_not_filled_in(folder: Path) -> None:
    ran = run(folder, "check.sh")
    assert ran.code == 1
    assert "ok      overlays/prod renders" in ran.out
    assert "LATER   ids are not filled in" in ran.out
