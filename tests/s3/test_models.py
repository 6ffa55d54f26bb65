"""`model publish`, `check` and `list`: a bucket holds the pinned revision whole, or says that it
does not.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from huggingface_hub import HfApi

from podkit.commands.app import App
from podkit.commands.cli import cli
from podkit.errors import Missing, PodkitError, UsageError
from podkit.models.manifest import NAME, read_manifest
from tests.podkit.models.hub import Hub
from tests.s3.servers import Door, Fault, Server

pytestmark = pytest.mark.slow

REVISION = "0123456789012345678901234567890123456789"
CHECKPOINT = f"org/model@{REVISION}"
FOLDER = f"podkit/org--model@{REVISION}"
SCRIPT = f"""export MODEL_REPO="org/model"
export MODEL_REVISION="{REVISION}"
export MODEL_SERVED_NAMES="mine"
export MODEL_WEIGHTS_GIB="9.5"
export MODEL_KV_BYTES_PER_TOKEN="57344"
export MODEL_MAX_LEN="16384"
export MODEL_GPU_UTILIZATION="0.90"
export MODEL_PROBE="text"
"""
FILES = {
    "config.json": b"{}",
    "model.safetensors": b"w" * 6 * 2**20,
    "tokenizer/vocab.json": b"[]",
}
Model = Callable[..., Result]


def sibling(name: str, content: bytes) -> dict[str, Any]:
    """A file as the Hub tells of it: large ones by SHA-256, small ones by git's hash."""
    blob = b"blob %d\0" % len(content) + content
    told = {
        "rfilename": name,
        "blobId": hashlib.sha1(blob, usedforsecurity=False).hexdigest(),
        "size": len(content),
    }
    if name.endswith(".safetensors"):
        digest = hashlib.sha256(content).hexdigest()
        told["lfs"] = {"sha256": digest, "size": len(content), "pointerSize": 134}
    return told


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    server = Hub()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    siblings = [sibling(name, content) for name, content in FILES.items()]
    siblings.append({"rfilename": ".gitattributes", "blobId": "0" * 40, "size": 1})
    page = {"id": "org/model", "sha": REVISION, "siblings": siblings}
    server.pages[f"/api/models/org/model/revision/{REVISION}"] = page
    monkeypatch.setattr(
        "podkit.models.checkpoint.open_hub", lambda _: HfApi(server.url, token=False)
    )
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    (folder / ".cache").mkdir()
    (folder / ".cache/note").write_text("of the library")
    return folder


@pytest.fixture
def model(door: Door, volume_id: str, tmp_path: Path) -> Model:
    root = tmp_path / "checkout"
    (root / "startup").mkdir(parents=True)
    (root / "startup/startup_mine.sh").write_text(SCRIPT)
    (root / "startup/start.sh").write_text("echo start")
    environ = {
        "PODKIT_S3_URL": door.url,
        "PODKIT_S3_ACCESS_KEY": "user_test",
        "PODKIT_S3_SECRET_KEY": "rps_word",
        "PODKIT_MODEL_BUCKET": f"s3://{volume_id}/podkit",
    }

    def run(*arguments: str, **changes: str) -> Result:
        app = App(root, {**environ, **changes})
        return CliRunner().invoke(cli, ["model", *arguments], obj=app)

    return run


def test_a_model_is_published_whole_with_its_manifest_last(
    model: Model, hub: Hub, folder: Path, door: Door, moto: str, volume_id: str
) -> None:
    shown = model("publish", "mine", "--from", str(folder), "--json")
    assert shown.exit_code == 0, shown.output
    said = json.loads(shown.stdout)
    assert (said["checkpoint"], said["published"]) == (CHECKPOINT, True)
    manifest = read_manifest(Server(moto).get(volume_id, f"{FOLDER}/{NAME}"))
    assert manifest.digest == said["digest"]
    assert {file.path: file.sha256 for file in manifest.files} == {
        name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()
    }
    puts = [one.path for one in door.asked if one.method == "PUT"]
    assert puts[-1].endswith(NAME)
    checked = model("check", "mine", "--hash")
    assert checked.exit_code == 0, checked.output
    assert "whole by the SHA-256 of 3 files" in checked.stderr
    assert model("list").stdout == f"org--model@{REVISION}  0.01 GB\n"


def test_the_same_model_twice_is_sent_once(
    model: Model, hub: Hub, folder: Path, door: Door
) -> None:
    model("publish", "mine", "--from", str(folder))
    before = len(door.asked)
    again = model("publish", "mine", "--from", str(folder), "--json")
    assert json.loads(again.stdout)["published"] is False
    assert not [one for one in door.asked[before:] if one.method == "PUT"]


def test_a_publish_that_broke_off_leaves_nothing_that_a_pod_takes_and_goes_on(
    model: Model, hub: Hub, folder: Path, door: Door
) -> None:
    door.faults.append(Fault("PUT", "tokenizer", "404", times=99))
    assert model("publish", "mine", "--from", str(folder)).exit_code == 1
    assert isinstance(model("check", "mine").exception, Missing)
    assert model("list").stdout == f"org--model@{REVISION}  not whole\n"
    door.faults.clear()
    before = len(door.asked)
    assert model("publish", "mine", "--from", str(folder)).exit_code == 0
    sent = [one.path.rpartition("/")[2] for one in door.asked[before:] if one.method == "PUT"]
    assert sent[-1] == NAME
    assert not [path for path in sent if "safetensors" in path]


@pytest.mark.parametrize(
    ("name", "content"),
    [("model.safetensors", b"other"), ("config.json", b"[]"), ("more.json", b"{}")],
    ids=["weights", "a small file", "a file that the Hub does not have"],
)
def test_a_folder_that_is_not_the_pinned_revision_is_never_published(
    model: Model, hub: Hub, folder: Path, door: Door, name: str, content: bytes
) -> None:
    (folder / name).write_bytes(content)
    shown = model("publish", "mine", "--from", str(folder))
    assert isinstance(shown.exception, PodkitError)
    assert f"is not {CHECKPOINT}: {name}" in shown.exception.message
    assert not door.asked


def test_a_check_names_what_is_wrong(
    model: Model, hub: Hub, folder: Path, moto: str, volume_id: str
) -> None:
    model("publish", "mine", "--from", str(folder))
    server = Server(moto)
    server.put(volume_id, f"{FOLDER}/tokenizer/vocab.json", b"{}")  # of the same size
    assert model("check", "mine").exit_code == 0
    shown = model("check", "mine", "--hash")
    assert isinstance(shown.exception, PodkitError)
    assert "tokenizer/vocab.json is another file" in shown.exception.message
    server.put(volume_id, f"{FOLDER}/config.json", b"{ }")
    assert "config.json has 3 of 2 bytes" in str(model("check", "mine").exception)


@pytest.mark.parametrize("missing", ["PODKIT_MODEL_BUCKET", "PODKIT_S3_SECRET_KEY"])
def test_without_a_bucket_or_keys_it_says_what_to_set(model: Model, missing: str) -> None:
    shown = model("list", **{missing: ""})
    assert isinstance(shown.exception, UsageError)
    assert ".env" in shown.exception.hint
