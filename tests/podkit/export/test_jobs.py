"""The programs of an export's Jobs, run as their containers run them: the fetch with the sandbox's
hf, the smoke test through a real gateway, the reader of a share with a toolkit that dies.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from podkit import ROOT
from podkit.ocr.toolkit import installed
from tests.gateway.process import Gateway
from tests.pages import page
from tests.podkit.export.exports import of_kind
from tests.podkit.export.tools import program
from tests.sandbox.shims.stand_ins import serving_model

pytestmark = pytest.mark.slow

Tree = dict[str, str]
FILES = ROOT / "podkit/export/files"
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


TOOLKIT = '''\
"""Stands in for the toolkit: reads each PDF whose name is not in UNREADABLE, and dies after so many
as DIES_AFTER says.
"""
import json, os, sys
from pathlib import Path
queue = Path(sys.argv[1]) / "results"
queue.mkdir(parents=True)
names = Path(sys.argv[sys.argv.index("--pdfs") + 1]).read_text().splitlines()
for number, name in enumerate(names):
    if number == int(os.environ.get("DIES_AFTER", "99")):
        (queue / "output_last.jsonl").write_text('{"text": "hal')
        os._exit(137)
    with open(os.environ["READ"], "a") as read:
        read.write(name + "\\n")
    if Path(name).name not in os.environ.get("UNREADABLE", "").split():
        told = {"Source-File": name, "total-fallback-pages": 0}
        line = json.dumps({"text": "of " + Path(name).name, "metadata": told})
        (queue / f"output_{number}.jsonl").write_text(line)
'''


class Fleet:
    """Shares of a folder of PDFs, each read by a process of its own."""

    def __init__(self, folder: Path, pdfs: int) -> None:
        self.documents = folder / "documents"
        self._toolkit = folder / "toolkit"
        self._read = folder / "read"
        self._read.touch()
        (self._toolkit / "olmocr").mkdir(parents=True)
        (self._toolkit / "olmocr/pipeline.py").write_text(TOOLKIT)
        for number in range(pdfs):
            pdf = self.documents / f"in/folder {number % 3}/{number}.pdf"
            pdf.parent.mkdir(parents=True, exist_ok=True)
            pdf.write_bytes(b"%PDF")

    def run(self, index: int, **env: str) -> subprocess.CompletedProcess[str]:
        given = {
            "DOCUMENTS": str(self.documents),
            "PODS": "4",
            "MODEL": "olmocr",
            "JOB_COMPLETION_INDEX": str(index),
            "PYTHONPATH": str(self._toolkit),
            "READ": str(self._read),
            **env,
        }
        command = [sys.executable, str(FILES / "ocr_share.py")]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=given)

    def read(self) -> list[str]:
        """The PDFs that the toolkit read, in its order."""
        return self._read.read_text().splitlines()

    def texts(self) -> set[str]:
        return {path.stem for path in (self.documents / "out").rglob("*.md")}


def test_every_pdf_is_read_by_exactly_one_pod(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, 40)
    for index in range(4):
        assert fleet.run(index).returncode == 0
    assert fleet.texts() == {str(number) for number in range(40)}
    assert len(fleet.read()) == len(set(fleet.read())) == 40
    text = fleet.documents / "out/folder 1/1.md"
    assert text.read_text() == "of 1.pdf"


def test_a_share_that_is_started_again_reads_only_what_is_missing(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, 40)
    assert fleet.run(0, DIES_AFTER="2").returncode == 1
    assert len(fleet.texts()) == 2
    again = fleet.run(0)
    assert again.returncode == 0
    assert re.match(r"share 0: (\d+) PDFs, (\d+) to read\n", again.stdout)
    assert len(fleet.read()) == len(set(fleet.read()))
    assert not list((fleet.documents / "out").rglob("*.part"))


def test_a_pod_that_is_taken_away_loses_nothing_that_was_read(tmp_path: Path) -> None:
    """Killed with its toolkit, before it could put a text into its place."""
    fleet = Fleet(tmp_path, 40)
    assert fleet.run(0, DIES_AFTER="2").returncode == 1
    shutil.rmtree(fleet.documents / "out")
    assert fleet.run(0).returncode == 0
    assert len(fleet.read()) == len(set(fleet.read()))


def test_a_pdf_that_cannot_be_read_is_named_and_fails_its_share_alone(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, 12)
    codes = []
    named = ""
    for index in range(4):
        ended = fleet.run(index, UNREADABLE="7.pdf")
        codes.append(ended.returncode)
        named += ended.stdout
    assert sorted(codes) == [0, 0, 0, 1]
    assert "missing: folder 1/7.pdf" in named
    assert fleet.texts() == {str(number) for number in range(12) if number != 7}


@pytest.mark.usefixtures("poppler")
def test_a_share_is_read_by_the_real_toolkit(tmp_path: Path) -> None:
    image, words = page()
    root = tmp_path / "documents/in"
    root.mkdir(parents=True)
    Image.open(BytesIO(image)).save(root / "march.pdf", resolution=110)
    python = installed(tmp_path / "toolkit", os.environ["PATH"], print)
    flags = ["--served-model-name", "olmocr", "--max-model-len", "16384"]
    with serving_model(tmp_path, *flags) as (url, _):
        start = f"import sys, ocr_share; ocr_share.ENGINE = {url + '/v1'!r}; "
        done = subprocess.run(
            [str(python), "-c", f"{start}sys.exit(ocr_share.main())"],
            capture_output=True,
            text=True,
            check=False,
            env={
                "DOCUMENTS": str(tmp_path / "documents"),
                "PODS": "1",
                "MODEL": "olmocr",
                "JOB_COMPLETION_INDEX": "0",
                "PYTHONPATH": str(FILES),
                "PATH": os.environ["PATH"],
                "HOME": str(tmp_path),
            },
        )
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    text = (tmp_path / "documents/out/march.md").read_text()
    assert words[0] in text
