"""The stand-ins that run and end: uv, hf, nvidia-smi, cc, and every failure on request."""

import json
import re
import socket
from pathlib import Path

import psutil
import pytest

from tests.sandbox.shims.stand_ins import ROOT, SERVE, post, run, serving_model

pytestmark = pytest.mark.slow
FAILURES = json.loads((ROOT / "startup/failures.json").read_text())
INSTALL = ["pip", "install", "--python", "p", "vllm==1"]
DOWNLOAD = ["download", "some/model", "--revision", "abc", "--local-dir", "folder"]


def test_vllm_does_not_start_with_an_unknown_flag_or_a_broken_json_or_on_a_taken_port() -> None:
    assert run("vllm", *SERVE, "--no-such-flag").returncode == 2
    assert run("vllm", *SERVE, "--limit-mm-per-prompt", "{image:1}").returncode == 2
    with socket.create_server(("127.0.0.1", 0)) as taken:
        refused = run("vllm", *SERVE, "--port", taken.getsockname()[1])
    assert refused.returncode != 0
    assert "address already in use" in refused.stderr


@pytest.mark.parametrize(
    ("name", "command", "error", "reason"),
    [
        ("vllm", SERVE, "oom", "out of GPU memory"),
        ("vllm", SERVE, "port", "the port is taken"),
        ("uv", INSTALL, "index", "the package index cannot be reached"),
        ("uv", INSTALL, "disk", "the disk or the volume is full"),
        ("hf", DOWNLOAD, "disk", "the disk or the volume is full"),
        ("hf", DOWNLOAD, "quota", "the network volume's quota is used up"),
        ("hf", DOWNLOAD, "gated", "the model is gated and HF_TOKEN has no access to it"),
        ("hf", DOWNLOAD, "token", "Hugging Face refuses HF_TOKEN"),
        (
            "hf",
            DOWNLOAD,
            "missing",
            "the checkpoint is unknown, or private and HF_TOKEN cannot see it",
        ),
    ],
)
def test_a_failure_on_request_has_a_text_that_a_pod_knows(
    name: str, command: list[str], error: str, reason: str
) -> None:
    done = run(name, *command, **{f"PODKIT_SANDBOX_{name.upper()}_ERROR": error})
    assert done.returncode == 1
    table = [*FAILURES[name], *FAILURES["any"]]
    known = [each["reason"] for each in table if re.search(each["pattern"], done.stderr)]
    assert known[0] == reason


def test_vllm_dies_on_request_once_it_has_answered() -> None:
    asked = {"messages": [{"role": "user", "content": "Hello"}]}
    with serving_model(*SERVE[1:], PODKIT_SANDBOX_VLLM_ERROR="died") as (url, pid):
        process = psutil.Process(pid)
        assert post(f"{url}/v1/chat/completions", asked).status_code == 200
        assert process.wait(10) == 1


def test_a_download_writes_a_checkpoint_that_says_what_it_is(checkpoint: Path) -> None:
    config = json.loads((checkpoint / "config.json").read_text())
    assert config == {
        "model_type": "podkit-sandbox",
        "stand_in_for": "some/model",
        "revision": "abc",
    }


def test_uv_makes_folders_of_wrappers_with_the_commands_of_what_is_installed(
    tmp_path: Path,
) -> None:
    wrappers = tmp_path / "shims/venv"
    wrappers.mkdir(parents=True)
    for name in ("vllm", "hf"):
        (wrappers / name).write_text("#!/bin/sh\n")
    venv = tmp_path / "it's a venv"
    python = venv / "bin/python"
    run("uv", "venv", "--no-python-downloads", "--python", "3.12", venv).check_returncode()
    for package in ("huggingface-hub==2.4.0", "open-webui==0.12.4", "vllm==0.32.0"):
        install = ["pip", "install", "--python", python, "--compile-bytecode", package]
        run("uv", *install, PODKIT_SHIMS=str(tmp_path / "shims")).check_returncode()
    assert sorted(path.name for path in python.parent.iterdir()) == [
        "hf",
        "python",
        "vllm",
    ]
    assert run("uv", "sync").returncode == 2


def test_uv_leaves_the_web_uis_venv_to_the_real_uv_when_told_so(tmp_path: Path) -> None:
    real = tmp_path / "real uv"
    real.write_text('#!/bin/sh\necho real "$@"\n')
    real.chmod(0o755)
    env = {"PODKIT_REAL_WEBUI": "1", "PODKIT_REAL_UV": str(real)}
    assert (
        run("uv", "venv", tmp_path / "venv-webui", **env).stdout
        == f"real venv {tmp_path}/venv-webui\n"
    )
    install = [
        "pip",
        "install",
        "--python",
        f"{tmp_path}/venv-webui/bin/python",
        "open-webui==0.12.4",
    ]
    assert run("uv", *install, **env).stdout.startswith("real pip install")
    run("uv", "venv", tmp_path / "venv-vllm", **env)
    assert (tmp_path / "venv-vllm/bin/python").exists()


def test_the_gpu_is_the_one_that_the_environment_names() -> None:
    query = ["--query-gpu=name,memory.total,driver_version", "--format=csv,noheader,nounits"]
    assert run("nvidia_smi", *query).stdout == "NVIDIA L40S, 46068, 580.95.05\n"
    assert "CUDA Version: 12.8 " in run("nvidia_smi", PODKIT_SANDBOX_CUDA="12.8").stdout
    a100 = {"PODKIT_SANDBOX_GPU": "NVIDIA A100 80GB PCIe", "PODKIT_SANDBOX_GPU_MIB": "81920"}
    assert run("nvidia_smi", *query, **a100).stdout.startswith("NVIDIA A100 80GB PCIe, 81920,")
    assert [run("cc", *args).returncode for args in (["--version"], ["a.c"])] == [0, 1]


def test_the_model_server_listens_on_loopback_only_though_it_is_asked_for_every_address() -> None:
    with serving_model("model") as (_, pid):
        connections = psutil.Process(pid).net_connections("tcp")
        assert {each.laddr.ip for each in connections} == {"127.0.0.1"}
