"""The programs of an export's Jobs, run as their containers run them: the fetch with the sandbox's
hf, the smoke test through a real gateway, the reader of a folder with the real toolkit.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from podkit import ROOT
from podkit.ocr.toolkit import install_toolkit
from tests.gateway.process import Gateway
from tests.pages import page
from tests.podkit.export.exports import of_kind
from tests.podkit.export.tools import program
from tests.sandbox.shims.stand_ins import serving_model

pytestmark = pytest.mark.slow

Tree = dict[str, str]
FILES = ROOT / "podkit/export/files"
READER = ROOT / "startup/read_workspace.py"
MODEL = "allenai/olmOCR-2-7B-1025-FP8 19133a8e allenai--olmOCR@19133a8e\n"
KEY = "the-engines-key"


def fetch(folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Runs fetch.sh as the Job does, with the sandbox's hf."""
    (folder / "models.txt").write_text(MODEL)
    (folder / "store").mkdir(exist_ok=True)
    (folder / "hf").write_text(
        f'#!/bin/sh\nexec "{sys.executable}" -m podkit_sandbox.shims.hf "$@"\n'
    )
    (folder / "hf").chmod(0o755)
    given = {"PATH": f"{folder}:/usr/bin:/bin", "PYTHONPATH": str(ROOT), **env}
    script = [program("sh"), str(FILES / "fetch.sh"), str(folder / "models.txt")]
    command = [*script, str(folder / "store")]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=given)


def test_a_checkpoint_is_fetched_once_and_is_whole(tmp_path: Path) -> None:
    first = fetch(tmp_path)
    assert first.returncode == 0, first.stderr
    stored = tmp_path / "store/allenai--olmOCR@19133a8e"
    assert json.loads((stored / "config.json").read_text())["revision"] == "19133a8e"
    (stored / "config.json").write_text("{}")
    assert fetch(tmp_path).stdout == "there already: allenai--olmOCR@19133a8e\n"
    assert (stored / "config.json").read_text() == "{}"


def test_a_checkpoint_that_is_not_the_pinned_one_is_not_stored(tmp_path: Path) -> None:
    damaged = fetch(tmp_path, PODKIT_SANDBOX_HF_ERROR="damaged")
    assert damaged.returncode == 1
    assert list((tmp_path / "store").iterdir()) == []
    assert fetch(tmp_path).returncode == 0


def test_a_fetch_that_fails_fails_the_job(tmp_path: Path) -> None:
    refused = fetch(tmp_path, PODKIT_SANDBOX_HF_ERROR="gated")
    assert refused.returncode != 0
    assert "requires approval" in refused.stderr
    assert not (tmp_path / "store/allenai--olmOCR@19133a8e").exists()


@pytest.fixture(scope="module")
def served(
    tree_of: Callable[[str], Tree], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Gateway, str]]:
    """A gateway with an export's own file, before the sandbox's vLLM with the export's own flags;
    and a key of it.
    """
    tree = tree_of("kubernetes-plain")
    folder = tmp_path_factory.mktemp("served")
    deployment = of_kind(tree, "Deployment")["engine-olmocr"]
    command = deployment["spec"]["template"]["spec"]["containers"][0]["command"]
    flags = command[command.index("--served-model-name") :]
    with serving_model(folder, *flags, VLLM_API_KEY=KEY) as (url, _):
        told = of_kind(tree, "ConfigMap")["gateway-models"]["data"]["gateway.toml"]
        config = told.replace("http://engine-olmocr:8000", url)
        gateway = Gateway(folder, config, ENGINE_KEY=KEY)
        gateway.prepare()
        gateway.start()
        yield gateway, gateway.make_key()
        gateway.stop()


def smoke(served: tuple[Gateway, str], models: str) -> subprocess.CompletedProcess[str]:
    gateway, key = served
    given = {
        "OPENAI_BASE_URL": f"{gateway.url}/v1",
        "OPENAI_API_KEY": key,
        "MODELS": models,
        "PATH": os.environ["PATH"],
    }
    command = [sys.executable, str(FILES / "smoke.py")]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=given)


def test_the_smoke_test_passes_where_a_model_answers(served: tuple[Gateway, str]) -> None:
    done = smoke(served, "olmocr")
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert [line.split(":")[0].split()[-1] for line in lines] == [
        "list",
        "answer",
        "stream",
        "picture",
    ]
    assert all(line.startswith("ok ") for line in lines)


def test_the_smoke_test_names_what_fails(served: tuple[Gateway, str]) -> None:
    done = smoke(served, "olmocr unknown")
    assert done.returncode == 1
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
    assert [line.split(":")[0] for line in failed] == [
        f"FAILED  unknown {what}" for what in ("list", "answer", "stream", "picture")
    ]


def test_the_client_of_the_smoke_test_is_the_one_that_is_tested(
    tree_of: Callable[[str], Tree],
) -> None:
    import openai

    pinned = tree_of("aks-kaito")["images/requirements-smoke.txt"]
    assert pinned == f"openai=={openai.__version__}\n"


@pytest.mark.usefixtures("poppler")
def test_a_folder_is_read_by_the_real_toolkit_and_what_cannot_be_is_named(tmp_path: Path) -> None:
    image, words = page()
    folder = tmp_path / "documents/in/2026"
    folder.mkdir(parents=True)
    Image.open(BytesIO(image)).save(folder / "march, april.pdf", resolution=110)
    (folder / "broken.pdf").write_bytes(b"%PDF")
    python = install_toolkit(tmp_path / "toolkit", os.environ["PATH"], print)
    flags = ["--served-model-name", "olmocr", "--max-model-len", "16384"]
    with serving_model(tmp_path, *flags) as (url, _):
        done = subprocess.run(
            [str(python), str(READER), str(tmp_path / "documents")],
            capture_output=True,
            text=True,
            check=False,
            env={
                "OCR_SERVER": f"{url}/v1",
                "OCR_MODEL": "olmocr",
                "PATH": os.environ["PATH"],
                "HOME": str(tmp_path),
            },
        )
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    texts = tmp_path / "documents/out"
    assert words[0] in (texts / "2026/march, april.md").read_text()
    assert (texts / "missing.txt").read_text() == "2026/broken.pdf\n"


def test_the_fleet_runs_the_program_that_pods_run(tree_of: Callable[[str], Tree]) -> None:
    programs = of_kind(tree_of("aks-production-stack"), "ConfigMap", "jobs")
    assert programs["ocr"]["data"] == {"read_workspace.py": READER.read_text()}
