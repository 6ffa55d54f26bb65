"""./ocr_pdfs.sh --pods from the outside: the real toolkit, real PDFs, and several sandbox pods."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.clones import Clone
from tests.pod_processes import processes_of
from tests.podkit.ocr.documents import SHORT, pdf_of
from tests.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("poppler")]
PDFS = 3
PAGES = 4


@pytest.fixture
def empty(clone: Clone) -> Iterator[Clone]:
    """A sandbox without a pod, before and after."""
    clone.run("podkit.sh", "stop", "--all", "--yes", "--sandbox")
    yield clone
    clone.run("podkit.sh", "stop", "--all", "--yes", "--sandbox")


@pytest.fixture
def pdfs(tmp_path: Path) -> Path:
    """A folder of PDFs, no two pages alike."""
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(PDFS):
        texts = [SHORT.format(10 * number + page) for page in range(1, PAGES + 1)]
        (folder / f"{number}.pdf").write_bytes(pdf_of(*texts))
    return folder


def living(clone: Clone) -> list[dict[str, Any]]:
    listed = clone.run("list_pods.sh", "--json", "--sandbox")
    found: list[dict[str, Any]] = json.loads(listed.stdout)["pods"]
    return found


def numbers(folder: Path) -> list[int]:
    """Those that the pages bear, by PDF and place."""
    text = "\n".join(path.read_text("utf-8") for path in sorted(folder.glob("*.md")))
    return [int(number) for number in re.findall(r"num.ro (\d+)", text)]


WANTED = [1, 2, 3, 4, 11, 12, 13, 14, 21, 22, 23, 24]
"""The numbers of PDFS times PAGES pages."""


def test_three_pods_give_the_same_bytes_as_one(empty: Clone, pdfs: Path, tmp_path: Path) -> None:
    one = tmp_path / "one"
    ended = empty.run("ocr_pdfs.sh", str(pdfs), "--out", str(one), "--deploy", "--sandbox")
    assert ended.returncode == 0, ended.stderr
    many = tmp_path / "many"
    fleet = ("--pods", "3", "--stop-after", "--json", "--sandbox")
    ended = empty.run("ocr_pdfs.sh", str(pdfs), "--out", str(many), *fleet)
    assert ended.returncode == 0, ended.stderr
    assert numbers(many) == WANTED
    for path in one.glob("*.md"):
        assert (many / path.name).read_bytes() == path.read_bytes()
    assert "is already there" in ended.stderr  # the pod of the first run is one of them
    assert len(re.findall(r"created pod", ended.stderr)) == 2
    shown = json.loads(ended.stdout.splitlines()[-1])
    assert sum(pod["answers"] for pod in shown["pods"]) >= PDFS * PAGES
    assert living(empty) == []


def started(clone: Clone, pdfs: Path, *options: str) -> subprocess.Popen[str]:
    """A run of two pods."""
    command = [str(clone.root / "ocr_pdfs.sh"), str(pdfs), "--pods", "2", "--concurrency", "2"]
    return subprocess.Popen(
        [*command, *options, "--sandbox"],
        env=clone.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def until_both_live(clone: Clone, process: subprocess.Popen[str]) -> list[str]:
    """The ids of the two pods."""

    def ids() -> list[str]:
        assert process.poll() is None, process.communicate()
        found = [pod["id"] for pod in living(clone)]
        return found if len(found) == 2 else []

    both: list[str] = eventually(ids)
    return both


def until_first_page(clone: Clone, process: subprocess.Popen[str]) -> None:
    def has_answer() -> bool:
        assert process.poll() is None, process.communicate()
        return bool(list(clone.root.glob(".podkit/ocr/*answers/*")))

    eventually(has_answer, 200)


def test_a_pod_that_is_killed_in_mid_run_costs_no_page(empty: Clone, pdfs: Path) -> None:
    process = started(empty, pdfs, "--stop-after")
    pod = until_both_live(empty, process)[0]
    until_first_page(empty, process)
    for one in processes_of(pod):
        with suppress(psutil.Error):
            one.kill()
    empty.run("stop_pod.sh", pod, "--sandbox")  # its host does not come back
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    assert numbers(pdfs) == WANTED
    assert living(empty) == []


def test_a_laptop_that_is_killed_in_mid_run_goes_on_with_the_same_pods(
    empty: Clone, pdfs: Path
) -> None:
    killed = started(empty, pdfs)
    until_first_page(empty, killed)
    killed.kill()
    _, said = killed.communicate(timeout=60)
    pods = sorted(pod["id"] for pod in living(empty))
    assert len(pods) == 2, said
    again = empty.run("ocr_pdfs.sh", str(pdfs), "--pods", "2", "--stop-after", "--sandbox")
    assert again.returncode == 0, again.stderr
    assert again.stderr.count("is already there") == 2
    assert "created pod" not in again.stderr
    assert numbers(pdfs) == WANTED
    assert living(empty) == []


def test_ctrl_c_ends_every_pod_with_stop_after(empty: Clone, pdfs: Path) -> None:
    command = [str(empty.root / "ocr_pdfs.sh"), str(pdfs), "--pods", "2", "--stop-after"]
    process = subprocess.Popen(
        [*command, "--sandbox"],
        env=empty.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until_both_live(empty, process)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=100)
    assert process.returncode == 130, said
    assert living(empty) == []
    assert said.count("is gone and no longer billed") == 2


def test_the_plan_shows_a_row_for_each_number_of_pods_and_makes_none(
    empty: Clone, pdfs: Path
) -> None:
    shown = empty.run("ocr_pdfs.sh", str(pdfs), "--plan", "--sandbox")
    assert shown.returncode == 0, shown.stderr
    assert [line.split()[0] for line in shown.stdout.splitlines()[:5]] == [
        "PODS",
        "1",
        "2",
        "4",
        "8",
    ]
    assert f"{PDFS * PAGES} pages on " in shown.stdout
    as_json = empty.run("ocr_pdfs.sh", str(pdfs), "--plan", "--json", "--sandbox")
    assert json.loads(as_json.stdout)["plan"]["pages"] == PDFS * PAGES
    assert living(empty) == []


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--pods", "2", "--deploy"), "--deploy"),
        (("--plan", "--deploy"), "--plan"),
        (("--plan", "--pod", "abc"), "--plan"),
        (("--budget", "3"), "--pods"),
        (("--data-center", "EU-RO-1"), "--pods"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    clone: Clone, pdfs: Path, options: tuple[str, ...], named: str
) -> None:
    ended = clone.run("ocr_pdfs.sh", str(pdfs), *options, "--sandbox")
    assert ended.returncode == 2, ended.stderr
    assert named in ended.stderr
