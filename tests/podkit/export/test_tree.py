"""The files of an export: which there are, that they are the same each time, whose folder they go
into, and what must never be in them.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from podkit.errors import UsageError
from podkit.export.folder import write_tree
from tests.podkit.export.exports import AKS, VARIANTS, export, golden

Tree = dict[str, str]
WHOLE = "aks-production-stack"
"""The variant that is stored whole; of the others, what differs from it."""
COPIED = re.compile(r"images/|base/monitoring\.yaml|\.podkit-export$|(?<!settings)\.sh$")
"""Files that are stored elsewhere in the project."""


def stored(tree: Tree) -> Tree:
    return {path: text for path, text in tree.items() if not COPIED.search(path)}


@pytest.mark.parametrize("name", VARIANTS)
def test_an_export_is_what_was_reviewed(name: str, tree_of: Callable[[str], Tree]) -> None:
    told = stored(tree_of(name))
    if name != WHOLE:
        whole = stored(tree_of(WHOLE))
        told = {path: text for path, text in told.items() if whole.get(path) != text}
    folder = golden(name)
    if os.environ.get("GOLDEN") == "write":
        shutil.rmtree(folder, ignore_errors=True)
        for path, text in told.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8")
    known = {}
    for file in folder.rglob("*"):
        if file.is_file():
            known[file.relative_to(folder).as_posix()] = file.read_text(encoding="utf-8")
    assert told == known


@pytest.mark.slow
@pytest.mark.parametrize("name", VARIANTS)
def test_the_same_command_gives_the_same_bytes(
    name: str, tree_of: Callable[[str], Tree], tmp_path: Path
) -> None:
    assert export(tmp_path / "other name", *VARIANTS[name]) == tree_of(name)


def test_an_export_over_an_earlier_one_leaves_exactly_its_own_files(tmp_path: Path) -> None:
    write_tree({"README.md": "1", "base/page.yaml": "old"}, tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    write_tree({"README.md": "2", "secrets.sh": "new"}, tmp_path)
    left = {path.name: path.read_text() for path in tmp_path.rglob("*") if path.is_file()}
    del left[".podkit-export"]
    assert left == {"README.md": "2", "secrets.sh": "new", "notes.txt": "mine"}
    assert os.access(tmp_path / "secrets.sh", os.X_OK)


def test_a_folder_that_no_export_wrote_is_refused(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(UsageError, match="no export wrote it"):
        write_tree({"README.md": "new"}, tmp_path)
    assert (tmp_path / "README.md").read_text() == "mine"


def test_a_file_that_was_changed_since_is_not_written_over(tmp_path: Path) -> None:
    write_tree({"base/page.yaml": "old"}, tmp_path)
    (tmp_path / "base/page.yaml").write_text("mine")
    with pytest.raises(UsageError, match=r"base/page\.yaml"):
        write_tree({"base/page.yaml": "new"}, tmp_path)
    assert (tmp_path / "base/page.yaml").read_text() == "mine"


def test_a_list_that_names_a_file_elsewhere_removes_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    write_tree({"README.md": "old"}, folder)
    mine = tmp_path / "mine"
    mine.write_text("")
    empty = hashlib.sha256(b"").hexdigest()
    with (folder / ".podkit-export").open("a") as listed:
        listed.write(f"{empty}  ../mine\n")
    with pytest.raises(UsageError, match="elsewhere"):
        write_tree({"README.md": "new"}, folder)
    assert mine.exists()


def test_a_folder_below_a_file_is_refused_as_a_file_is(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UsageError):
        write_tree({"README.md": "new"}, tmp_path / "file")


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        (("--gpu", "Standard_NC6s_v3"), "retired"),
        (("--gpu", "v100"), "retired"),
        (("--gpu", "t4"), "too small"),  # Qwen3-VL
        (("--gpu", "abacus"), "no GPU"),
        (("--replicas", "4:1"), "no range"),
        (("--replicas", "0:0"), "no range"),
        (("--host", "https://api.example.org"), "no host name"),
        (("--host", "api.example.org;rm"), "no host name"),
        (("--page-host", "api.example.org"), "hosts of their own"),
        (("--name", "Acme OCR"), "Azure would refuse"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    changes: tuple[str, ...], what: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=what):
        export(tmp_path / "out", *AKS, *changes)
    assert not (tmp_path / "out").exists()


def test_the_size_that_replaces_a_retired_one_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refused:
        export(tmp_path, *AKS, "--gpu", "Standard_NC6s_v3")
    assert refused.value.hint == "use --gpu a100"


@pytest.mark.parametrize(
    "pattern",
    [
        r"NC6s_v3|NC12s_v3|NC24s_v3",
        r"kind: Ingress\b",
        r":latest\b|tag: ['\"]?latest",
        r"\bhf_[A-Za-z0-9]{8,}|\bsk-[A-Za-z0-9]{8,}|BEGIN [A-Z ]*PRIVATE KEY",
        r"^kind: Secret$",
        r"^\s*stringData:",
    ],
)
def test_no_export_has_a_secret_a_floating_tag_or_what_was_retired(
    pattern: str, tree: Tree
) -> None:
    wrong = re.compile(pattern, re.MULTILINE)
    assert [path for path, text in tree.items() if wrong.search(text)] == []


def test_the_readme_gives_each_step_its_check_its_undo_and_its_cost(tree: Tree) -> None:
    steps = re.split(r"^## \d+\. ", tree["README.md"], flags=re.MULTILINE)[1:]
    assert len(steps) > 7
    for step in steps:
        for word in ("- check: ", "- undo: ", "- costs: ", "```"):
            assert word in step, step


def test_the_readme_names_only_files_that_are_there(tree: Tree) -> None:
    named = re.findall(r"\b(?:base|jobs|engines|overlays|azure|ci)/[\w./-]*\w", tree["README.md"])
    assert named
    for name in named:
        folder = any(path.startswith(f"{name}/") for path in tree)
        assert name in tree or folder, name


def test_the_ids_that_azure_gave_are_in_every_place_that_has_none(tmp_path: Path) -> None:
    ids = ("--tenant-id", "1234", "--client-id", "5678", "--prometheus-url", "https://metrics")
    tree = export(tmp_path, *AKS, *ids)
    unknown = ("00000000-0000", "unknown.invalid")
    manifests = {path: text for path, text in tree.items() if path.endswith(".yaml")}
    assert [path for path, text in manifests.items() if any(word in text for word in unknown)] == []
    assert "1234" in tree["base/vault.yaml"]
    assert "https://metrics" in tree["engines/scaling-prod.yaml"]


def test_the_readme_says_what_it_costs_at_work_at_rest_and_elsewhere(
    tree_of: Callable[[str], Tree],
) -> None:
    told = tree_of("aks-production-stack")["README.md"]
    assert "$3.67 an hour (on demand, eastus, 2026-11-09); an A100 80 GB is $1.39 at RunPod" in told
    assert "With all replicas at work: $29.38 an hour" in told
    assert "At zero replicas the cluster still costs" in told
    assert "az aks stop" in told


def test_an_overlay_names_only_what_is_there_and_leaves_no_manifest_out(tree: Tree) -> None:
    used = set()
    for path, text in tree.items():
        if not path.endswith("kustomization.yaml"):
            continue
        told = yaml.safe_load(text)
        folder = posixpath.dirname(path)
        names = list(told["resources"])
        for generated in told.get("configMapGenerator", []):
            names += generated["envs"]
        for name in names:
            place = posixpath.normpath(f"{folder}/{name}")
            assert place in tree or f"{place}/kustomization.yaml" in tree, name
            used.add(place)
    manifests = {path for path in tree if re.match(r"(base|overlays/\w+)/(?!kustomization)", path)}
    assert manifests <= used
