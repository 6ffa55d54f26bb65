"""`export dstack`: what is written is what dstack's own parser takes, with a pod's own flags."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from podkit import ROOT
from podkit.commands.app import App
from podkit.commands.cli import cli
from podkit.export.engine import read_flags
from podkit.models.spec import model_names, read_model

PARSE = """
import json, sys, yaml
from dstack._internal.core.models.configurations import parse_apply_configuration
for name in sys.argv[1:]:
    parsed = parse_apply_configuration(yaml.safe_load(open(name)))
    print(json.dumps([parsed.type, parsed.name]))
"""


def export(out: Path, *arguments: str) -> Result:
    (out.parent / "checkout").mkdir(exist_ok=True)
    if not (out.parent / "checkout/startup").exists():
        (out.parent / "checkout/startup").symlink_to(ROOT / "startup")
    app = App(out.parent / "checkout", {})
    shown = CliRunner().invoke(cli, ["export", "dstack", *arguments, "--out", str(out)], obj=app)
    assert shown.exit_code == 0, shown.output
    return shown


def written(out: Path, name: str) -> Any:
    return yaml.safe_load((out / f"{name}.dstack.yml").read_text())


@pytest.mark.parametrize("model", model_names(ROOT / "startup"))
def test_a_run_serves_the_pinned_checkpoint_with_a_pods_own_flags(
    tmp_path: Path, model: str
) -> None:
    export(tmp_path / "out", model)
    found = written(tmp_path / "out", model)
    repo, _, revision = read_model(ROOT / "startup", model).checkpoint.partition("@")
    (command,) = found["commands"]
    words = shlex.split(command)
    assert words == [
        *["vllm", "serve", repo, "--revision", revision],
        *read_flags(ROOT / "startup", model),
    ]
    assert found["image"].endswith(":v0.32.0")
    assert found["auth"] is True


def test_limits_region_and_volume_are_those_of_a_pod(tmp_path: Path) -> None:
    export(tmp_path / "out", "olmocr", "--max-hours", "2", "--volume", "vol1")
    found = written(tmp_path / "out", "olmocr")
    assert found["max_duration"] == "120m"
    assert found["utilization_policy"] == {"min_gpu_utilization": 1, "time_window": "30m"}
    assert (found["regions"], found["backends"]) == (["EU-RO-1"], ["runpod"])
    assert found["resources"]["gpu"] == {"vendor": "nvidia", "memory": "24GB..", "count": 1}
    assert written(tmp_path / "out", "volume")["volume_id"] == "vol1"


def test_any_cloud_has_no_region_and_no_volume(tmp_path: Path) -> None:
    export(tmp_path / "out", "olmocr", "--any-cloud", "--as", "task")
    found = written(tmp_path / "out", "olmocr")
    assert not {"regions", "backends", "volumes", "auth", "port"} & set(found)
    assert found["ports"] == [8000]
    assert not (tmp_path / "out/volume.dstack.yml").exists()


def test_the_same_command_writes_the_same_bytes_and_no_secret(tmp_path: Path) -> None:
    export(tmp_path / "one", "olmocr", "qwen3vl")
    export(tmp_path / "two", "olmocr", "qwen3vl")
    for path in sorted((tmp_path / "one").iterdir()):
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()
    text = (tmp_path / "one/olmocr.dstack.yml").read_text()
    assert "TOKEN" not in text
    assert "latest" not in text


def test_every_command_of_its_readme_is_about_a_file_that_is_there(tmp_path: Path) -> None:
    export(tmp_path / "out", "olmocr", "qwen3vl")
    steps = (tmp_path / "out/README.md").read_text()
    for name in ("olmocr", "qwen3vl", "volume"):
        assert f"-f {name}.dstack.yml" in steps
        assert (tmp_path / f"out/{name}.dstack.yml").is_file()
    assert "dstack stop -y podkit-olmocr" in steps


@pytest.mark.slow
def test_dstacks_own_parser_takes_every_file(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """dstack 0.22.5 in an environment of its own: it wants other packages than podkit does."""
    venv = tmp_path_factory.mktemp("dstack") / "venv"
    uv = str(Path(sys.executable).parent / "uv")
    subprocess.run([uv, "venv", "-q", "--python", sys.executable, str(venv)], check=True)
    install = [uv, "pip", "install", "-q", "--python", str(venv / "bin/python"), "dstack==0.22.5"]
    subprocess.run(install, check=True)
    export(tmp_path / "service", "olmocr", "qwen3vl")
    export(tmp_path / "task", "olmocr", "--as", "task", "--any-cloud")
    files = sorted(map(str, tmp_path.glob("*/*.dstack.yml")))
    parsed = subprocess.run(
        [str(venv / "bin/python"), "-c", PARSE, *files], check=True, capture_output=True, text=True
    )
    assert [json.loads(line) for line in parsed.stdout.splitlines()] == [
        ["service", "podkit-olmocr"],
        ["service", "podkit-qwen3vl"],
        ["volume", "podkit-models"],
        ["task", "podkit-olmocr"],
    ]
