"""The workflow that builds and deploys the services: what can be said of it without GitHub."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from .workers import ROOT, SERVICES

WORKFLOW = ROOT / ".github/workflows/services.yml"


@pytest.fixture(scope="module")
def steps() -> list[dict[str, Any]]:
    document = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))
    found: list[dict[str, Any]] = document["jobs"]["image"]["steps"]
    return found


def test_every_action_is_pinned_by_its_commit(steps: list[dict[str, Any]]) -> None:
    used = [str(step["uses"]) for step in steps if "uses" in step]
    assert used
    assert [name for name in used if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", name)] == []


def test_the_scripts_of_the_steps_are_clean_and_hold_no_expression(
    steps: list[dict[str, Any]],
) -> None:
    """An expression in a script is put in as text: a branch's name could become a command."""
    for step in steps:
        script = str(step.get("run", ""))
        assert "${{" not in script
        done = subprocess.run(
            [str(Path(sys.prefix) / "bin/shellcheck"), "--shell=bash", "-"],
            input=script,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout == ""


def test_the_token_is_a_secret_of_the_build_and_the_image_is_deployed_by_digest(
    steps: list[dict[str, Any]],
) -> None:
    scripts = "\n".join(str(step.get("run", "")) for step in steps)
    assert "--secret id=hf_token,env=HF_TOKEN" in scripts
    assert "--build-arg" not in scripts
    assert "$image:$GITHUB_SHA" in scripts
    assert "$image@$digest" in scripts


def test_the_workflow_knows_every_service() -> None:
    document = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))
    offered = document[True]["workflow_dispatch"]["inputs"]["service"]["options"]
    services = {path.parent.name for path in SERVICES.glob("*/Dockerfile")}
    assert set(offered) == services
    for service in services:
        assert f'"{service}"' in document["jobs"]["image"]["strategy"]["matrix"]["service"]


def test_the_readme_names_every_secret_that_the_workflow_takes() -> None:
    used = set(re.findall(r"secrets\.(\w+)", WORKFLOW.read_text(encoding="utf-8")))
    assert used == {"HF_TOKEN", "RUNPOD_API_KEY"}
    for page in ("README.md", "docs/services.md"):
        text = (ROOT / page).read_text(encoding="utf-8")
        assert all(f"`{name}`" in text for name in used), page
        assert "services.yml" in text
