"""Large tools that the slow tests of an export run: each in an environment of its own below
.podkit/, made once for each version.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from podkit import ROOT

UV = Path(sys.prefix) / "bin/uv"
VALIDATE = ("kubernetes-validate==1.37.0",)
HELM = "helm-sdkpy==0.1.32"
AZURE = ("azure-cli==2.91.0",)
CRD_TYPES = (
    "@kubernetes-models/cert-manager@4.4.4",
    "@kubernetes-models/prometheus-operator@4.4.4",
)
"""Types made of the CRDs of these two."""


def folder_of(*what: str) -> Path:
    """Where an environment with all that is made, and found again."""
    name = hashlib.sha256(" ".join(what).encode()).hexdigest()[:16]
    return ROOT / ".podkit/export-tools" / name


def node_environment(*packages: str) -> Path:
    """A folder with these packages of Node.js."""
    folder = folder_of(*packages)
    ready = folder / "ready"
    if not ready.exists():
        shutil.rmtree(folder, ignore_errors=True)
        quiet = ("--silent", "--no-fund", "--no-audit")
        command = [program("npm"), "install", *quiet, "--prefix", str(folder), *packages]
        subprocess.run(command, check=True)
        ready.touch()
    return folder


def environment(python: str, *packages: str) -> Path:
    """Python of an environment with these packages."""
    folder = folder_of(python, *packages)
    ready = folder / "ready"
    if not ready.exists():
        shutil.rmtree(folder, ignore_errors=True)
        run_uv("venv", "--quiet", "--python", python, str(folder))
        run_uv("pip", "install", "--quiet", "--python", str(folder / "bin/python"), *packages)
        ready.touch()
    return folder / "bin/python"


def run_uv(*arguments: str) -> None:
    subprocess.run([str(UV), *arguments], check=True, cwd=ROOT)


def helm_environment() -> Path:
    """Python of an environment with Helm's own engine.

    The package asks for Python 3.12, and is a shared library with a little Python that 3.11 reads,
    too (0.1.32): so it is chosen as for 3.12, and its one dependency for the Python that is here.
    """
    python = environment(sys.executable, "cffi==2.1.1")
    if not list(python.parent.parent.glob("lib/python3*/site-packages/helm_sdkpy")):
        chosen = ("--no-deps", "--python-version", "3.12", HELM)
        run_uv("pip", "install", "--quiet", "--python", str(python), *chosen)
    return python


def kubectl() -> str:
    """A kubectl whose kustomize takes folders as resources; skips where there is none."""
    found = program("kubectl")
    asked = [found, "version", "--client", "--output=json"]
    told = json.loads(subprocess.run(asked, capture_output=True, text=True, check=True).stdout)
    if "kustomizeVersion" not in told:  # 1.24 is the first that names it
        pytest.skip("kubectl is older than 1.24")
    return found


def program(name: str) -> str:
    found = shutil.which(name)
    if not found:
        pytest.skip(f"{name} is not installed")
    return found
