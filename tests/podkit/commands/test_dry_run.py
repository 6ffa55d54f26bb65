"""A dry run prints the requests of a deploy; it needs, writes and sends nothing."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from podkit.models.spec import pack
from tests.podkit.commands.desk import REVISION, Run


def request_of(gpu: str, startup_b64: str) -> dict[str, Any]:
    return {
        "method": "POST",
        "url": "https://api.runpod.io/v2/pods",
        "body": {
            "name": "podkit-mine-(6 hex digits)",
            "image": "runpod/pytorch:1.1.0-cu1300-torch291-ubuntu2404",
            "cloud": "SECURE",
            "dataCenterIds": ["EU-RO-1"],
            "gpu": {"id": gpu, "count": 1, "minCudaVersion": "13.0"},
            "disk": 40,
            "ports": ["8000/http", "3000/http"],
            "mounts": {
                "network": [
                    {"volumeId": "(the volume named podkit in EU-RO-1)", "path": "/workspace"}
                ]
            },
            "entrypoint": ["/bin/bash", "-c"],
            "cmd": ["echo start\n"],
            "env": {
                "PODKIT_MODEL": "mine",
                "PODKIT_API_KEY": "***",
                "PODKIT_SERVED_NAME": "mine",
                "PODKIT_CHECKPOINT": f"org/mine@{REVISION}",
                "WEBUI_ADMIN_EMAIL": "***",
                "WEBUI_ADMIN_PASSWORD": "***",
                "WEBUI_SECRET_KEY": "***",
                "PODKIT_ENDS_AT": "",
                "PODKIT_IDLE_MINUTES": "30",
                "PODKIT_BOOT_MINUTES": "30",
                "STARTUP_B64": startup_b64,
            },
        },
    }


@pytest.mark.parametrize("filled", [True, False])
def test_a_dry_run_prints_the_requests_and_needs_writes_and_sends_nothing(
    run: Run, root: Path, offline: None, filled: bool
) -> None:
    if not filled:
        (root / ".env").unlink()
    before = sorted(root.rglob("*"))
    gpus = ("NVIDIA L40S", "NVIDIA A40")
    dry = ["deploy", "--model", "mine", "--dry-run", "--max-hours", "0"]
    dry += ["--gpu", gpus[0], "--gpu", gpus[1]]
    ended = run(*dry, "--json")
    assert ended.code == 0
    assert ended.json == {
        "schema": 1,
        "ok": True,
        "command": "deploy",
        "dry_run": True,
        "requests": [request_of(gpu, pack(root / "startup")) for gpu in gpus],
    }
    ended = run(*dry)
    assert "not checked; --plan checks them" in ended.err
    shown = ended.out
    packed = pack(root / "startup")
    body = shown.partition("\n")[2].rpartition("\n}\n")[0] + "\n}"
    assert shown.splitlines()[0] == "POST https://api.runpod.io/v2/pods"
    digest = hashlib.sha256(packed.encode()).hexdigest()[:12]
    short = f"({len(packed):,} characters, sha256 {digest}...; --json prints them)"
    assert json.loads(body) == request_of(gpus[0], short)["body"]
    assert "\n  " in body
    assert shown.endswith("\nif that is refused, the same with gpu.id 'NVIDIA A40'\n")
    assert sorted(root.rglob("*")) == before


def test_a_dry_run_shows_no_token(run: Run, root: Path, offline: None) -> None:
    with (root / ".env").open("a") as file:
        file.write("HF_TOKEN=hf_the-token\n")
    dry = ("deploy", "--model", "mine", "--dry-run")
    assert run(*dry, "--json").json["requests"][0]["body"]["env"]["HF_TOKEN"] == "***"
    assert '"HF_TOKEN": "***"' in run(*dry).out
