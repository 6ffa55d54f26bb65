"""What the tests of an export share: exports of the real startup/, made by the real command."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from podkit import ROOT
from podkit.commands.app import App
from podkit.commands.cli import cli

MODELS = ("olmocr", "qwen3vl")
HOST = ("--host", "api.example.org")
AKS = ("aks", *MODELS, *HOST, "--name", "acmeocr")
KUBERNETES = (
    *("kubernetes", *MODELS, *HOST, "--registry", "registry.example.org/acme"),
    *("--gateway-class", "istio", "--storage-class", "nfs"),
)
VARIANTS = {
    "aks-production-stack": AKS,
    "aks-kaito": (*AKS, "--engine", "kaito", "--tls", "cert-manager"),
    "kubernetes-plain": (*KUBERNETES, "--engine", "plain", "--tls", "cert-manager"),
    "kubernetes-production-stack": KUBERNETES,
}
AWAKE = "kubernetes-awake"
OTHERS = {AWAKE: (*KUBERNETES, "--replicas", "1:4")}
"""Exports that only some tests look at."""
REFERENCE = os.environ.get("PODKIT_K8S_REFERENCE", "")
"""Read before a test begins, which has no PODKIT_ variable."""
Object = dict[str, Any]


def export(folder: Path, *arguments: str) -> dict[str, str]:
    """The files of an export into `folder`, by their paths."""
    cli.main(
        ["export", *arguments, "--out", str(folder)],
        obj=App(environ={}),
        standalone_mode=False,
    )
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            found[path.relative_to(folder).as_posix()] = path.read_text(encoding="utf-8")
    return found


def objects_of(tree: dict[str, str], *folders: str) -> Iterator[tuple[str, Object]]:
    """Every object of the manifests below these folders, with the path of its file."""
    for path, text in tree.items():
        if path.startswith(folders) and path.endswith(".yaml") and not is_no_manifest(path):
            for found in parse(text):
                yield path, found


@cache
def parse(text: str) -> list[Object]:
    """The documents of a manifest, read once for all tests: none changes them."""
    return list(yaml.load_all(text, Loader=yaml.CSafeLoader))


def is_no_manifest(path: str) -> bool:
    return path.endswith(("kustomization.yaml", "vllm-stack.yaml"))


def of_kind(tree: dict[str, str], kind: str, *folders: str) -> dict[str, Object]:
    """The objects of a kind, by their names."""
    found = {}
    for _, one in objects_of(tree, *(folders or ("",))):
        if one["kind"] == kind:
            found[one["metadata"]["name"]] = one
    return found


def pod_specs(tree: dict[str, str]) -> Iterator[tuple[str, Object]]:
    """Every pod that the manifests make, with its object's kind and name."""
    for _, one in objects_of(tree, ""):
        name = f"{one['kind']} {one['metadata']['name']}"
        if one["kind"] == "Pod":
            yield name, one["spec"]
        elif one["kind"] == "CronJob":
            yield name, one["spec"]["jobTemplate"]["spec"]["template"]["spec"]
        elif "template" in one.get("spec", {}) and "spec" in one["spec"]["template"]:
            yield name, one["spec"]["template"]["spec"]


def reference() -> Path:
    """The folder of public schemas and the chart that exports are held against."""
    if not REFERENCE:
        pytest.skip("PODKIT_K8S_REFERENCE names no folder of schemas")
    return Path(REFERENCE)


def golden(name: str) -> Path:
    return ROOT / "tests/podkit/export/golden" / name
