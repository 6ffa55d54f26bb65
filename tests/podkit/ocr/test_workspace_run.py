"""./ocr_pdfs.sh --workspace from the outside: sandbox pods that read by themselves, on a volume."""

from __future__ import annotations

import json
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.clones import Clone
from tests.pod_processes import processes_of
from tests.podkit.ocr.test_fleet_run import WANTED, empty, living, numbers, pdfs

__all__ = ["empty", "pdfs"]  # fixtures
pytestmark = [pytest.mark.usefixtures("poppler")]
WHERE = ("--workspace", "volume/test", "--sandbox")


def collect(clone: Clone, pdfs: Path) -> subprocess.CompletedProcess[str]:
    return clone.run("podkit.sh", "ocr", "collect", str(pdfs), *WHERE)


def log(clone: Clone, pod: str) -> str:
    file = clone.root / f".podkit/sandbox/logs/{pod}.log"
    return file.read_text() if file.exists() else ""


def done(clone: Clone) -> int:
    """How many PDFs are done."""
    shown = clone.run("podkit.sh", "ocr", "status", "--json", *WHERE)
    assert shown.returncode == 0, shown.stderr
    return int(json.loads(shown.stdout)["pdfs_done"])


def test_pods_read_a_workspace_by_themselves_though_one_is_killed(empty: Clone, pdfs: Path) -> None:
    start = ("ocr_pdfs.sh", str(pdfs), "--pods", "2", "--budget", "3", *WHERE)
    ended = empty.run(*start)
    assert ended.returncode == 0, ended.stderr
    pods = ended.stdout.split()
    assert len(pods) == 2
    for pod in pods:  # nothing that bills goes unmentioned
        assert f"end it now: ./stop_pod.sh --sandbox {pod}" in ended.stderr
    again = empty.run(*start)
    assert again.stdout.split() == pods, "the same command, again, takes the pods that are there"
    early = collect(empty, pdfs)
    assert early.returncode == 1
    assert "no pod has read it yet" in early.stderr
    deadline = time.monotonic() + 200
    busy: list[str] = []
    while not busy:
        assert time.monotonic() < deadline
        busy = [pod for pod in pods if "processing work item" in log(empty, pod)]
        time.sleep(0.1)
    killed = processes_of(busy[0])
    for process in killed:
        with suppress(psutil.Error):  # it ended with its parent
            process.kill()
    empty.run("stop_pod.sh", busy[0], "--sandbox")  # as a host that is gone
    psutil.wait_procs(killed, 10)
    while living(empty):
        assert time.monotonic() < deadline
        time.sleep(1)
    assert done(empty) == len(list(pdfs.glob("*.pdf")))
    needless = empty.run(*start)
    assert (needless.returncode, needless.stdout.strip()) == (0, "")
    assert "all is done" in needless.stderr
    collected = collect(empty, pdfs)
    assert collected.returncode == 0, collected.stderr
    assert numbers(pdfs) == WANTED
    assert collect(empty, pdfs).stdout == ""  # nothing is written twice


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--workspace", "volume"), "--pods"),
        (("--workspace", "volume", "--pods", "2", "--stop-after"), "--stop-after"),
        (("--workspace", "volume", "--pods", "2", "--pages", "1"), "--pages"),
        (("--workspace", "volume/../x", "--pods", "2"), "volume/../x"),
        (("--workspace", "s3://bucket", "--pods", "2"), "s3://bucket"),
        (("--workspace", "s3://bucket/folder", "--pods", "2"), "sandbox"),
    ],
)
def test_a_workspace_that_cannot_be_is_refused(
    clone: Clone, pdfs: Path, options: tuple[str, ...], named: str
) -> None:
    ended = clone.run("ocr_pdfs.sh", str(pdfs), *options, "--sandbox")
    assert ended.returncode == 2, ended.stderr
    assert named in ended.stderr
