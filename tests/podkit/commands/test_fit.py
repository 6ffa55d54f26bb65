"""`fit` as a person types it: where a checkpoint fits, what its script declares, what boots showed,
and which siblings its card names.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from podkit import ROOT
from tests.podkit.models.hub import LLAMA, LLAMA_ID, Hub, checkpoint

pytestmark = pytest.mark.slow


def sold(id: str, memory: int, price: float, stock: str) -> dict[str, Any]:
    place = {"id": "EU-RO-1", "availability": stock}
    return {"id": id, "memory": memory, "price": {"secure": price}, "dataCenters": [place]}


GOLDEN = """\
GPU        MEMORY  $/H   FIT                       STOCK
RTX A4000  16 GB   0.20  no (5.1 GiB too small)    NONE
A40        48 GB   0.40  fits (8,192 tokens x 22)  LOW
export MODEL_WEIGHTS_GIB="14.96"
export MODEL_KV_BYTES_PER_TOKEN="131072"
"""


def fit(hub: Hub, root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`podkit fit` of a checkout, with the Hub where HF_ENDPOINT says, and the API beside it."""
    catalog = [sold("NVIDIA A40", 48, 0.4, "LOW"), sold("NVIDIA RTX A4000", 16, 0.2, "NONE")]
    hub.pages["/v2/catalog/gpus"] = {"gpus": catalog}
    code = "import sys; from pathlib import Path; from podkit.commands import cli; "
    code += "from podkit.interrupts import Interrupts; made = cli.App; "
    code += "root = Path(sys.argv.pop(1)); cli.App = lambda **_: made(root); cli.main(Interrupts())"
    places = {
        "RUNPOD_API_URL": f"{hub.url}/v2",
        "HF_ENDPOINT": hub.url,
        "NO_PROXY": "127.0.0.1",
        "HOME": str(root),
    }
    argv = [sys.executable, "-c", code, str(root), "fit", *arguments]
    environ = {**places, "RUNPOD_API_KEY": "rpa_key"}
    return subprocess.run(
        argv, check=False, capture_output=True, text=True, env=environ, cwd=ROOT, timeout=60
    )


def test_the_command_shows_where_it_fits_and_what_to_declare(hub: Hub, tmp_path: Path) -> None:
    shown = fit(hub, tmp_path, LLAMA_ID)
    assert (shown.stdout, shown.returncode) == (GOLDEN, 0)
    assert max(map(len, GOLDEN.splitlines())) <= 80
    assert shown.stderr.count("\n") == 1
    assert "stock is a hint" in shown.stderr
    assert hub.tokens == {None}


def test_the_command_answers_programs_and_gives_the_token_to_the_hub_alone(
    hub: Hub, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("HF_TOKEN=hf_right\n")
    hub.gated[LLAMA_ID] = "Bearer hf_right"
    hub.repos[LLAMA_ID]["config.json"] = checkpoint({**LLAMA, "full_attention_interval": 4}, [])[
        "config.json"
    ]
    shown = fit(hub, tmp_path, LLAMA_ID, "--max-len", "4096", "--json")
    assert shown.returncode == 0, shown.stdout + shown.stderr
    said = json.loads(shown.stdout)
    assert said["needs"] == {
        "weights_gib": pytest.approx(14.9575, abs=1e-4),
        "kv_bytes_per_token": 131_072,
        "max_len": 4096,
        "utilization": 0.9,
    }
    assert (said["command"], said["at_most"], said["data_center"]) == ("fit", True, "EU-RO-1")
    assert [gpu["fit"][LLAMA_ID]["verdict"] for gpu in said["gpus"]] == ["no", "fits"]
    assert "at most" in shown.stderr
    assert "hf_right" not in shown.stdout + shown.stderr


def relation(name: str, downloads: int, *tags: str) -> dict[str, Any]:
    base = f"base_model:quantized:{LLAMA_ID}"
    return {"id": name, "downloads": downloads, "tags": ["transformers", base, *tags]}


def test_quantized_siblings_are_those_that_the_cards_name_and_vllm_loads(
    hub: Hub, tmp_path: Path
) -> None:
    """By relations alone: a repository whose name says FP8 and whose card says nothing is none."""
    hub.pages[f"/api/models/{LLAMA_ID}"] = {"id": LLAMA_ID, "tags": []}
    hub.pages["/api/models"] = [
        relation("some/llama-AWQ", 900, "awq"),
        relation("some/llama-GGUF", 800, "gguf", "fp8"),
        {"id": "some/llama-FP8-of-nobody", "downloads": 700, "tags": ["fp8"]},
        relation("other/llama-8bit", 600, "fp8"),
    ]
    shown = fit(hub, tmp_path, LLAMA_ID, "--json")
    assert [(one["name"], one["kind"]) for one in json.loads(shown.stdout)["siblings"]] == [
        ("some/llama-AWQ", "awq"),
        ("other/llama-8bit", "fp8"),
    ]
    assert "the same model in awq: some/llama-AWQ" in shown.stderr
    assert LLAMA_ID in json.loads(shown.stdout)["gpus"][0]["fit"]  # what was asked for


def test_of_a_quantized_checkpoint_the_others_of_its_base_are_named(
    hub: Hub, tmp_path: Path
) -> None:
    mine = relation(LLAMA_ID, 1, "fp8")
    mine["tags"] = ["fp8", "base_model:quantized:org/base"]
    other = {"id": "some/base-AWQ", "downloads": 2, "tags": ["awq", *mine["tags"][1:]]}
    hub.pages[f"/api/models/{LLAMA_ID}"] = mine
    hub.pages["/api/models"] = [mine, other]
    said = json.loads(fit(hub, tmp_path, LLAMA_ID, "--json").stdout)
    assert [one["name"] for one in said["siblings"]] == ["some/base-AWQ"]


def test_a_fit_says_by_which_boots_it_is_known(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "startup").mkdir()
    (tmp_path / "startup/constraints-vllm.txt").write_text("vllm==0.32.0 --hash=sha256:0\n")
    memory = {
        "gpu": "NVIDIA A40",
        "gpu_mib": 46068,
        "vllm": "0.32.0",
        "flags": "x",
        "utilization": 0.9,
        "weights_gib": 10.0,
        "kv_gib": 20.0,
    }
    lines = []
    for day in (18, 19, 20):
        boot = {"at": f"2026-11-{day}T00:00:00Z", "pod": "p", "model": "m", "memory": memory}
        lines.append(json.dumps(boot))
    (tmp_path / ".podkit").mkdir()
    (tmp_path / ".podkit/boots.jsonl").write_text("\n".join(["garbage", *lines, '{"at": 3}']))
    shown = fit(hub, tmp_path, LLAMA_ID)
    assert "fits (8,192 tokens x 14)*" in shown.stdout  # 10.49 GiB of overhead instead of 2.5
    assert "* by what boots have shown" in shown.stderr
    found = json.loads(fit(hub, tmp_path, LLAMA_ID, "--json").stdout)["gpus"]
    assert [one["fit"][LLAMA_ID]["measured"] for one in found] == [
        "",
        "measured 3x, last 2026-11-20",
    ]


def test_a_token_that_only_pods_can_read_is_not_sent(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("HF_TOKEN='{{ RUNPOD_SECRET_hf }}'\n")
    assert fit(hub, tmp_path, LLAMA_ID).returncode == 0
    assert hub.tokens == {None}


def test_a_command_with_a_bad_id_is_a_usage_error(hub: Hub, tmp_path: Path) -> None:
    ended = fit(hub, tmp_path, "no such id")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "no such id is not the id of a checkpoint" in ended.stderr
