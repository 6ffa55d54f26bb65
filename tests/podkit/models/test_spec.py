"""What travels to a pod: the packed startup folder, its environment, and the size of it all."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import lzma
import os
import re
import tarfile
from pathlib import Path
from typing import Any

import pytest
import requests

import podkit
from podkit.errors import UsageError
from podkit.models.fit import Needs
from podkit.models.spec import Model, model_names, model_of_pod, pack, read_model
from podkit.pods.request import ends_at, pod_spec
from podkit.runpod.types import create_body
from podkit.secret import Secret
from podkit.settings import PROXY_URL, Settings
from tests import contract
from tests.podkit.samples import API, CLIENT_KEY, CREATED, HEX, KEY, PASSWORD

STARTUP = podkit.ROOT / "startup"
EMAIL = "admin-0a1b2c@podkit.invalid"
OWN = {
    "WEBUI_ADMIN_EMAIL": Secret(EMAIL),
    "PODKIT_API_KEY": Secret(CLIENT_KEY),
    "WEBUI_ADMIN_PASSWORD": Secret(PASSWORD),
    "WEBUI_SECRET_KEY": Secret(HEX),
}
KEY_HEADER = {"Authorization": f"Bearer {KEY}"}
BODY_LIMIT = 102_400
"""Bytes of a request body above which the provider answers 413."""
SCRIPT = """#!/usr/bin/env bash
export MODEL_REPO="org/model"
export MODEL_REVISION=abc123
export MODEL_SERVED_NAMES='mine org/model'
export MODEL_WEIGHTS_GIB="9.5"
export MODEL_KV_BYTES_PER_TOKEN=1000
export MODEL_MAX_LEN='2000'
export MODEL_GPU_UTILIZATION="0.90"
export MODEL_PROBE=text
"""
NEEDS = Needs(9.5, 1000, 2000, 0.9)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "startup"
    folder.mkdir()
    for name, text in {
        "startup_mine.sh": SCRIPT,
        "start.sh": "echo start",
        "boot.py": "print()",
    }.items():
        (folder / name).write_text(text)
    return folder


def settings(**changes: Any) -> Settings:
    values: dict[str, Any] = {
        "api_url": API,
        "proxy_url": PROXY_URL,
        "api_key": Secret(KEY),
        "secrets_file": Path(".env"),
        "secrets": OWN,
    }
    return Settings(**{**values, **changes})


def archive(*members: tuple[str, bytes], **special: Any) -> str:
    """A packed folder with these files; `special` are fields of one more member of the script's
    name.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in members:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
        if special:
            entry = tarfile.TarInfo("startup/startup_mine.sh")
            for field, value in special.items():
                setattr(entry, field, value)
            tar.addfile(entry)
    return base64.b64encode(buffer.getvalue()).decode()


def test_the_same_files_pack_into_the_same_one_line_whenever_and_whoever_owns_them(
    folder: Path,
) -> None:
    before = pack(folder)
    for path in folder.iterdir():
        os.utime(path, (1, 1))
        path.chmod(0o600)
    assert pack(folder) == before
    assert base64.b64encode(base64.b64decode(before)).decode() == before
    assert "\n" not in before


def test_the_archive_holds_each_file_below_startup_and_nothing_hidden(folder: Path) -> None:
    (folder / ".secret").write_text("no")
    for path in (
        "__pycache__/boot.pyc",
        ".cache/file",
        "boot/__main__.py",
        "boot/__pycache__/a.pyc",
    ):
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text("print()")
    with tarfile.open(fileobj=io.BytesIO(base64.b64decode(pack(folder)))) as tar:
        members = {member.name: (member.mode, member.mtime, member.uid) for member in tar}
    assert members == {
        "startup/boot.py": (0o644, 0, 0),
        "startup/boot/__main__.py": (0o644, 0, 0),
        "startup/start.sh": (0o755, 0, 0),
        "startup/startup_mine.sh": (0o755, 0, 0),
    }


def test_a_changed_file_changes_the_archive(folder: Path) -> None:
    before = pack(folder)
    (folder / "boot.py").write_text("print(1)")
    assert pack(folder) != before


def test_a_model_is_what_its_script_exports(folder: Path) -> None:
    model = read_model(folder, "mine")
    assert model == Model("mine", "org/model@abc123", "mine", pack(folder), "echo start", NEEDS)


def test_an_unknown_model_names_those_there_are(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"no model '\.\./x'") as caught:
        read_model(folder, "../x")
    assert "models: mine" in caught.value.hint


@pytest.mark.parametrize(
    "script", ["", 'export MODEL_REPO="a"\n', SCRIPT.replace("mine org/model", "")]
)
def test_a_script_that_does_not_name_its_checkpoint_is_the_users_to_fix(
    folder: Path, script: str
) -> None:
    (folder / "startup_mine.sh").write_text(script)
    with pytest.raises(UsageError, match=r"startup_mine\.sh: .*MODEL_SERVED_NAMES is missing"):
        read_model(folder, "mine")


def test_a_script_with_a_wrong_number_is_the_users_to_fix_and_a_pods_is_taken(
    folder: Path,
) -> None:
    (folder / "startup_mine.sh").write_text(SCRIPT.replace("9.5", "much"))
    told = "startup_mine.sh: MODEL_WEIGHTS_GIB is 'much', which is not such a number"
    with pytest.raises(UsageError, match=re.escape(told)):
        read_model(folder, "mine")
    model = model_of_pod({"PODKIT_MODEL": "mine", "STARTUP_B64": pack(folder)})
    assert model
    assert model.needs is None


def test_no_two_models_have_a_name_or_a_checkpoint_in_common() -> None:
    models = [read_model(STARTUP, name) for name in model_names(STARTUP)]
    assert len({model.served_name for model in models}) == len(models)
    assert len({model.checkpoint for model in models}) == len(models)


@pytest.mark.parametrize("name", model_names(STARTUP))
def test_the_create_of_each_real_model_is_small_enough_and_within_the_contract(name: str) -> None:
    model = read_model(STARTUP, name)
    longest = settings(
        secrets={
            **OWN,
            "HF_TOKEN": Secret("hf_" + "x" * 40),
            "WEBUI_ADMIN_PASSWORD": Secret("x" * 72),
        }
    )
    spec = pod_spec(
        longest, model, "NVIDIA GeForce RTX 4090", f"podkit-{name}-0a1b2c", "vol1", CREATED
    )
    sent = requests.Request(
        "POST", f"{API}/pods", json=create_body(spec), headers=KEY_HEADER
    ).prepare()
    assert len(sent.body or b"") < BODY_LIMIT
    contract.check_request(contract.needed(), sent)


@pytest.mark.parametrize("name", model_names(STARTUP))
def test_the_environment_of_each_real_model_is_one_line_a_value(name: str) -> None:
    spec = pod_spec(settings(), read_model(STARTUP, name), "G", "n", "v", CREATED)
    env = create_body(spec)["env"]
    assert len(env) <= 50
    assert not [key for key, value in env.items() if not isinstance(value, str) or "\n" in value]
    served = model_of_pod(env)
    assert served
    assert served.checkpoint == read_model(STARTUP, name).checkpoint


def test_the_environment_of_a_pod_never_holds_the_accounts_key(folder: Path) -> None:
    model = read_model(folder, "mine")
    spec = pod_spec(
        settings(secrets={**OWN, "HF_TOKEN": Secret("hf_x")}),
        model,
        "NVIDIA L40S",
        "podkit-mine-0a1b2c",
        "vol1",
        CREATED,
    )
    body = create_body(spec)
    assert KEY not in json.dumps(body)
    assert body["env"] == {
        "PODKIT_MODEL": "mine",
        "PODKIT_API_KEY": CLIENT_KEY,
        "WEBUI_ADMIN_EMAIL": EMAIL,
        "PODKIT_SERVED_NAME": "mine",
        "PODKIT_CHECKPOINT": "org/model@abc123",
        "WEBUI_ADMIN_PASSWORD": PASSWORD,
        "WEBUI_SECRET_KEY": HEX,
        "PODKIT_ENDS_AT": "2026-11-22T00:00:00Z",
        "PODKIT_IDLE_MINUTES": "30",
        "PODKIT_BOOT_MINUTES": "30",
        "STARTUP_B64": pack(folder),
        "HF_TOKEN": "hf_x",
    }
    assert "HF_TOKEN" not in pod_spec(settings(), model, "G", "n", "v", CREATED).env


def test_a_pod_that_is_to_be_kept_when_it_fails_waits_half_an_hour_before_it_ends_itself(
    folder: Path,
) -> None:
    kept = pod_spec(settings(keep_failed=True), read_model(folder, "mine"), "G", "n", "v", CREATED)
    assert kept.env["PODKIT_GRACE_SECONDS"] == "1800"


@pytest.mark.parametrize(
    ("hours", "text"),
    [(0, ""), (12, "2026-11-22T00:00:00Z"), (0.5001, "2026-11-21T12:30:01Z"), (9e5, "2129-")],
)
def test_the_end_time_is_a_moment_rounded_up_or_nothing(hours: float, text: str) -> None:
    assert ends_at(CREATED, hours).startswith(text)
    assert bool(ends_at(CREATED, hours)) is bool(text)


def test_the_model_of_a_running_pod_is_read_from_what_it_was_given(folder: Path) -> None:
    packed = pack(folder)
    assert model_of_pod({"PODKIT_MODEL": "mine", "STARTUP_B64": packed}) == Model(
        "mine", "org/model@abc123", "mine", packed, needs=NEEDS
    )


def test_the_model_of_a_pod_of_an_older_podkit_is_read_too(folder: Path) -> None:
    packed = archive(("startup/startup_mine.sh", SCRIPT.encode()))
    model = model_of_pod({"PODKIT_MODEL": "mine", "STARTUP_B64": packed})
    assert model
    assert model.checkpoint == "org/model@abc123"


@pytest.mark.parametrize("name", model_names(STARTUP))
def test_what_travels_fits_in_one_line_of_60_kb(name: str) -> None:
    assert len(read_model(STARTUP, name).startup_b64) < 60 * 1024


NOISE = (
    b"".join(hashlib.sha256(bytes([n // 256, n % 256])).digest() for n in range(1000))
    .hex()
    .encode()
)  # too large for one read of a decompressor
GIGABYTE = {
    "id": lzma.FILTER_LZMA2,
    "dict_size": 2**30,
    "mf": lzma.MF_HC3,  # touches no more of it than there is to compress
    "mode": lzma.MODE_FAST,
}
BYTES = base64.b64decode(archive(("startup/startup_mine.sh", SCRIPT.encode() + b"# " + NOISE)))


@pytest.mark.parametrize(
    "packed",
    {
        "nothing": "",
        "no base64": "not base64!",
        "no ascii": "ключ",
        "no gzip": base64.b64encode(b"plain").decode(),
        "no tar": base64.b64encode(gzip.compress(b"x" * 2000)).decode(),
        "no script": archive(("startup/other.sh", b"")),
        "no text": archive(("startup/startup_mine.sh", b"\xff\xfe")),
        "no values": archive(("startup/startup_mine.sh", b"exit")),
        "cut off": base64.b64encode(BYTES[: len(BYTES) // 2]).decode(),
        "cut off xz": base64.b64encode(lzma.compress(BYTES, preset=0)[:200]).decode(),
        "no tar in xz": base64.b64encode(lzma.compress(b"x" * 2000, preset=0)).decode(),
        "xz that wants a gigabyte": base64.b64encode(
            lzma.compress(BYTES, filters=[GIGABYTE])
        ).decode(),
        "a folder": archive(type=tarfile.DIRTYPE),
        "a device": archive(type=tarfile.CHRTYPE),
        "a link out": archive(type=tarfile.SYMTYPE, linkname="/etc/passwd"),
        "a link to itself": archive(type=tarfile.SYMTYPE, linkname="startup_mine.sh"),
        "a size beyond its end": archive(size=10**12),
    }.items(),
    ids=lambda item: item[0],
)
def test_a_pod_with_a_hostile_archive_has_no_model(packed: tuple[str, str]) -> None:
    assert model_of_pod({"PODKIT_MODEL": "mine", "STARTUP_B64": packed[1]}) is None


def test_an_archive_with_any_one_byte_broken_is_read_or_given_up_but_never_an_error() -> None:
    for at in range(0, len(BYTES), 101):
        broken = bytearray(BYTES)
        broken[at] ^= 0xFF
        model_of_pod(
            {"PODKIT_MODEL": "mine", "STARTUP_B64": base64.b64encode(bytes(broken)).decode()}
        )


def test_a_sparse_script_of_a_terabyte_is_not_unfolded_in_memory() -> None:
    """GNU's old sparse format: the header claims 1 TB of zeros, which the archive does not hold."""
    entry = tarfile.TarInfo("startup/startup_mine.sh")
    entry.type = tarfile.GNUTYPE_SPARSE
    header = bytearray(entry.tobuf(tarfile.GNU_FORMAT))
    header[483:495] = b"\x80" + (10**12).to_bytes(11, "big")
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    packed = base64.b64encode(gzip.compress(bytes(header) + bytes(1024))).decode()
    assert model_of_pod({"PODKIT_MODEL": "mine", "STARTUP_B64": packed}) is None


def test_the_archive_of_a_running_pod_never_touches_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    packed = archive(
        ("../outside", b"x"),
        ("/tmp/podkit-outside", b"x"),
        ("startup/startup_mine.sh", SCRIPT.encode()),
    )
    assert model_of_pod({"PODKIT_MODEL": "mine", "STARTUP_B64": packed})
    assert list(tmp_path.iterdir()) == []
    assert not Path("/tmp/podkit-outside").exists()


def test_a_pod_behind_another_proxy_is_told_its_address() -> None:
    model = read_model(STARTUP, "olmocr")
    assert "PODKIT_WEBUI_URL" not in pod_spec(settings(), model, "G", "n", "v", CREATED).env
    other = "https://{pod_id}.pods.example"
    told = pod_spec(settings(proxy_url=other), model, "G", "n", "v", CREATED).env
    assert told["PODKIT_WEBUI_URL"] == other
