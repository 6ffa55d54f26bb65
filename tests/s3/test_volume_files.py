"""`volume put`, `get` and `ls` as a person types them, through a door with the limits of the
provider's.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests_mock as mocking
from click.testing import CliRunner, Result

from podkit.commands.app import App
from podkit.commands.cli import cli
from podkit.errors import Missing, UsageError
from tests.podkit.samples import API, KEY, VOLUME
from tests.s3.servers import Door, Fault

pytestmark = pytest.mark.slow

KEYS = {"RUNPOD_S3_ACCESS_KEY": "user_test", "RUNPOD_S3_SECRET_KEY": "rps_word"}
Volume = Callable[..., Result]


@pytest.fixture
def volume(door: Door, volume_id: str, tmp_path: Path) -> Iterator[Volume]:
    """`podkit volume ...` in a checkout whose account has one volume."""
    environ = {"RUNPOD_API_KEY": KEY, "RUNPOD_S3_URL": door.url, **KEYS}
    root = tmp_path / "checkout"
    root.mkdir()

    def run(*arguments: str, **changes: str) -> Result:
        app = App(root, {**environ, **changes})
        return CliRunner().invoke(cli, ["volume", *arguments], obj=app)

    with mocking.Mocker(real_http=True) as api:
        api.get(f"{API}/network-volumes", json={"networkVolumes": [{**VOLUME, "id": volume_id}]})
        yield run


@pytest.fixture
def invoices(tmp_path: Path) -> Path:
    folder = tmp_path / "invoices"
    (folder / "2026").mkdir(parents=True)
    (folder / "march.pdf").write_bytes(b"%PDF march")
    (folder / "2026/may.pdf").write_bytes(b"%PDF may")
    (folder / "link.pdf").symlink_to("/etc/hostname")
    return folder


def test_a_folder_there_and_back_each_file_compared(
    volume: Volume, invoices: Path, tmp_path: Path
) -> None:
    put = volume("put", str(invoices), "--to", "/workspace/pdfs", "--json")
    assert put.exit_code == 0, put.output
    assert [(one["path"], one["checked"]) for one in json.loads(put.stdout)["files"]] == [
        ("pdfs/invoices/2026/may.pdf", "md5"),
        ("pdfs/invoices/march.pdf", "md5"),
    ]
    shown = volume("ls", "pdfs/invoices")
    assert shown.stdout == "pdfs/invoices/2026/\npdfs/invoices/march.pdf  10\n"
    got = volume("get", "pdfs/invoices", "--out", str(tmp_path / "back"))
    assert got.exit_code == 0, got.output
    assert (tmp_path / "back/march.pdf").read_bytes() == b"%PDF march"
    assert (tmp_path / "back/2026/may.pdf").read_bytes() == b"%PDF may"


def test_one_file_is_asked_for_by_its_key_and_nothing_is_listed(
    volume: Volume, door: Door, invoices: Path, tmp_path: Path
) -> None:
    volume("put", str(invoices / "march.pdf"))
    got = volume("get", "march.pdf", "--out", str(tmp_path / "back"))
    assert got.exit_code == 0, got.output
    assert (tmp_path / "back/march.pdf").read_bytes() == b"%PDF march"
    assert not [one for one in door.asked if "list-type" in one.path]


def test_two_files_that_would_lie_in_one_place_are_refused_before_anything_is_sent(
    volume: Volume, door: Door, invoices: Path, tmp_path: Path
) -> None:
    (tmp_path / "march.pdf").write_bytes(b"%PDF another march")
    put = volume("put", str(invoices / "march.pdf"), str(tmp_path / "march.pdf"))
    assert isinstance(put.exception, UsageError)
    assert "both go to 'march.pdf'" in put.exception.message
    assert door.asked == []
    assert volume("put", str(tmp_path / "march.pdf"), str(tmp_path / "march.pdf")).exit_code == 0


def test_an_upload_goes_on_after_a_break(volume: Volume, door: Door, large: Path) -> None:
    door.faults.append(Fault("PUT", "partNumber=3", "404"))
    broken = volume("put", str(large))
    assert broken.exit_code == 1
    before = len(door.asked)
    again = volume("put", str(large))
    assert again.exit_code == 0, again.output
    assert len([one for one in door.asked[before:] if "partNumber" in one.path]) == 1


def test_no_key_is_in_what_is_said(volume: Volume, door: Door, invoices: Path) -> None:
    door.faults.append(Fault("PUT", "march", "404", times=99))
    shown = volume("put", str(invoices), "--json")
    assert shown.exit_code == 1
    text = f"{shown.output} {shown.exception!r}"
    assert not [value for value in KEYS.values() if value in text]


def test_without_the_doors_own_keys_it_says_where_to_make_them(
    volume: Volume, invoices: Path
) -> None:
    shown = volume("put", str(invoices), RUNPOD_S3_SECRET_KEY="")
    assert isinstance(shown.exception, UsageError)
    assert "S3 API key" in shown.exception.hint


def test_more_than_the_volume_holds_is_refused_before_anything_is_sent(
    volume: Volume, door: Door, tmp_path: Path
) -> None:
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(101 * 10**9)  # a file with a hole
    shown = volume("put", str(tmp_path / "huge"))
    assert isinstance(shown.exception, UsageError)
    assert not door.asked


@pytest.mark.parametrize("path", ["../x", "a//b", "a/../b", "a\nb"])
def test_a_path_that_leads_elsewhere_is_refused(volume: Volume, path: str) -> None:
    assert isinstance(volume("get", path).exception, UsageError)


def test_what_is_not_there_is_said(volume: Volume) -> None:
    assert isinstance(volume("get", "nothing").exception, Missing)


def test_a_file_of_this_machine_is_replaced_only_if_that_is_wished(
    volume: Volume, invoices: Path, tmp_path: Path
) -> None:
    volume("put", str(invoices / "march.pdf"))
    (tmp_path / "march.pdf").write_text("mine")
    kept = volume("get", "march.pdf", "--out", str(tmp_path))
    assert kept.exit_code == 0
    assert not kept.stdout.strip()
    assert "march.pdf is there, and is left as it is" in kept.stderr
    assert (tmp_path / "march.pdf").read_text() == "mine"
    assert volume("get", "march.pdf", "--out", str(tmp_path), "--replace").exit_code == 0
    assert (tmp_path / "march.pdf").read_bytes() == b"%PDF march"


def test_a_file_that_went_up_in_other_parts_is_said_to_be_compared_by_size_alone(
    volume: Volume, large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume("put", str(large))
    monkeypatch.setattr("podkit.s3.PART_BYTES", 6 * 2**20)
    got = volume("get", "large.bin", "--out", str(tmp_path / "back"))
    assert "of 1 files only the size was compared" in got.stderr
