"""The last lines of pods that have ended: what is kept, for how long, and who may read it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from podkit.pods.kept_logs import KEPT_SECONDS, MOST_BYTES, KeptLogs
from podkit.runpod.logs import LogLine
from tests.podkit.pods.lines import told
from tests.podkit.samples import POD, Clock

ID = POD["id"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / ".podkit/logs"


@pytest.fixture
def kept(folder: Path, clock: Clock) -> KeptLogs:
    return KeptLogs(folder, clock, folder.parent / "boots.jsonl")


def keep(kept: KeptLogs, *lines: LogLine, pod_id: str = ID) -> None:
    assert list(kept.recording(pod_id, lines)) == list(lines)


def test_lines_are_kept_as_they_pass_each_once(kept: KeptLogs) -> None:
    one, two, three = told("one", "zwölf", "three")
    (host,) = told("create container", source="system")
    keep(kept, one, two, host)
    keep(kept, two, three)
    assert kept.read(ID, "container") == [one, two, three]
    assert kept.read(ID, "system") == [host]
    assert kept.read("another", "container") == []


def test_nobody_else_may_read_them(kept: KeptLogs, folder: Path) -> None:
    keep(kept, *told("one"))
    assert stat.S_IMODE((folder / f"{ID}.jsonl").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_pod_is_found_by_the_start_of_its_id(kept: KeptLogs) -> None:
    assert kept.find("abc") == ""
    keep(kept, *told("one"))
    keep(kept, *told("two"), pod_id="abd")
    assert kept.find(ID) == ID
    assert kept.find("abc") == ID
    assert kept.find("ab") == ""
    assert kept.find("") == ""


def test_after_a_week_they_are_gone(kept: KeptLogs, folder: Path, clock: Clock) -> None:
    keep(kept, *told("one"))
    os.utime(folder / f"{ID}.jsonl", (clock(), clock()))
    clock.now += KEPT_SECONDS - 1
    keep(kept, *told("two"), pod_id="other1")
    assert kept.find(ID) == ID
    clock.now += 2
    keep(kept, *told("two"), pod_id="other2")
    assert kept.find(ID) == ""


def test_a_long_log_keeps_its_end(kept: KeptLogs, folder: Path) -> None:
    keep(kept, *told(*(f"{number} {'x' * 1000}" for number in range(1200))))
    (last,) = told("last")
    keep(kept, last)
    assert (folder / f"{ID}.jsonl").stat().st_size < MOST_BYTES
    lines = kept.read(ID, "container")
    assert lines[-1] == last
    assert lines[-2].text.startswith("1199 ")


@pytest.mark.parametrize("pod_id", ["../../.bashrc", "a/b", ""])
def test_an_id_that_is_no_file_name_writes_nowhere(
    kept: KeptLogs, folder: Path, pod_id: str
) -> None:
    keep(kept, *told("one"), pod_id=pod_id)
    assert not folder.exists()


def test_a_folder_that_cannot_be_written_or_a_torn_line_ends_nothing(
    kept: KeptLogs, folder: Path
) -> None:
    folder.parent.mkdir()
    folder.write_text("a file stands in the way")
    keep(kept, *told("one"))
    assert kept.read(ID, "container") == []
    folder.unlink()
    (one,) = told("one")
    keep(kept, one)
    with (folder / f"{ID}.jsonl").open("a") as file:
        file.write('{"ts": "tor')
    assert kept.read(ID, "container") == [one]


def test_a_link_is_not_written_through(kept: KeptLogs, folder: Path, tmp_path: Path) -> None:
    target = tmp_path / ".bashrc"
    folder.mkdir(parents=True)
    (folder / f"{ID}.jsonl").symlink_to(target)
    keep(kept, *told("one"))
    assert not target.exists()


def test_what_a_boot_taught_is_kept_once_and_for_good(kept: KeptLogs, clock: Clock) -> None:
    lesson, other = told('podkit: learned {"at": "2026-11-20"}', "podkit: phase=load event=done")
    keep(kept, lesson, other)
    keep(kept, lesson)
    clock.now += KEPT_SECONDS + 1
    keep(kept, other, pod_id="later")
    assert kept.learned_lines() == ['{"at": "2026-11-20"}']
