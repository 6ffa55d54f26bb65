"""./ocr_pdfs.sh from the outside: the real toolkit, real PDFs, and a sandbox pod, as a person runs
it.
"""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import psutil
import pytest
import requests
import requests_mock as mocking

from podkit.interrupts import Interrupts
from podkit.ocr.one_pod import OnePod
from podkit.ocr.wanted import Surroundings, Wanted
from podkit.pods.readiness import World
from podkit.runpod.client import RunpodClient
from tests.clones import Clone
from tests.pages import share
from tests.pod_processes import command_lines
from tests.podkit.ocr.documents import pdf_of, report, short_pages
from tests.podkit.samples import API, POD
from tests.podkit.samples import pod as pod_of
from tests.waiting import LONG, eventually

pytestmark = pytest.mark.usefixtures("poppler")
PAGES = 12
"""So many that a run is far from its end when its first answers are there."""


def environment(clone: Clone) -> dict[str, str]:
    """What `podkit.sh env` prints."""
    shown = clone.run("podkit.sh", "env", "--sandbox").stdout
    return dict(re.findall(r"^export (\w+)=(.+)$", shown, re.MULTILINE))


def counted(clone: Clone, name: str) -> int:
    """A figure of the pod's model server."""
    env = environment(clone)
    url = env["OPENAI_BASE_URL"].removesuffix("/v1")
    headers = {"Authorization": f"Bearer {env['OPENAI_API_KEY']}"}
    shown = requests.get(f"{url}/metrics", headers=headers, timeout=10).text
    return int(float(re.findall(rf"^vllm:{name}\S* (\S+)", shown, re.MULTILINE)[0]))


def completions(clone: Clone) -> int:
    """How many the pod's model server has given."""
    return counted(clone, "request_success_total")


def until_idle(clone: Clone) -> None:
    """Wait until the pod works on no question any more."""
    deadline = time.monotonic() + LONG
    while counted(clone, "num_requests_running") or counted(clone, "num_requests_waiting"):
        assert time.monotonic() < deadline


def tree(of: psutil.Process) -> list[psutil.Process]:
    return [of, *of.children(recursive=True)]


@pytest.fixture(scope="module")
def pod(clone: Clone) -> Iterator[str]:
    """A sandbox that holds one pod, which serves OLMoCR."""
    clone.run("podkit.sh", "stop", "--all", "--yes", "--sandbox")
    done = clone.run("deploy_olmocr.sh", "--sandbox")
    assert done.returncode == 0, done.stderr
    yield done.stdout.splitlines()[0]
    clone.run("podkit.sh", "stop", "--all", "--yes", "--sandbox")


def started(clone: Clone, *arguments: str | Path) -> subprocess.Popen[str]:
    command = [str(clone.root / "ocr_pdfs.sh"), "--sandbox", *map(str, arguments)]
    return subprocess.Popen(
        command,
        env=clone.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def kept(clone: Clone) -> int:
    """How many answers are on disk."""
    return len(
        [
            path
            for path in clone.root.glob(".podkit/ocr/sandbox-answers/*")
            if not path.name.startswith(".")
        ]
    )


def until(clone: Clone, answers: int, process: subprocess.Popen[str]) -> None:
    def has_them() -> bool:
        assert process.poll() is None, process.communicate()
        return kept(clone) >= answers

    eventually(has_them)


def test_without_a_pod_it_says_how_to_get_one(clone: Clone, tmp_path: Path) -> None:
    clone.run("podkit.sh", "stop", "--all", "--yes", "--sandbox")
    (tmp_path / "a.pdf").write_bytes(short_pages(1))
    ended = clone.run("ocr_pdfs.sh", "a.pdf", "--sandbox", cwd=tmp_path)
    assert ended.returncode == 1
    assert (
        "no OLMoCR pod is running\n  next: the same command with --deploy makes one" in ended.stderr
    )


def test_input_of_which_nothing_can_be_read_is_a_usage_error_and_needs_no_pod(
    clone: Clone, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("not a PDF")
    ended = clone.run(
        "ocr_pdfs.sh", "empty", "notes.txt", "gone.pdf", "--json", "--sandbox", cwd=tmp_path
    )
    assert ended.returncode == 2
    for line in (
        "empty: it holds no PDF",
        "notes.txt: it is not a PDF",
        "gone.pdf: it cannot be read: No such file",
    ):
        assert line in ended.stderr
    [shown] = map(json.loads, ended.stdout.splitlines())
    assert [document["pdf"] for document in shown["documents"]] == [
        "empty",
        "notes.txt",
        "gone.pdf",
    ]
    assert (shown["ok"], shown["error"]["code"]) == (False, "usage")


def test_deploy_read_and_stop_gives_the_words_of_every_kind_of_page(
    clone: Clone, tmp_path: Path
) -> None:
    content, words = report()
    (tmp_path / "in/deep").mkdir(parents=True)
    (tmp_path / "in/deep/report.pdf").write_bytes(content)
    (tmp_path / "in/locked.pdf").write_bytes(pdf_of("secret", password="user"))
    ended = clone.run(
        "ocr_pdfs.sh", "in", "--out", "out", "--deploy", "--stop-after", "--sandbox", cwd=tmp_path
    )
    assert (ended.returncode, ended.stdout) == (1, "out/deep/report.md\n")
    assert share(words, (tmp_path / "out/deep/report.md").read_text(encoding="utf-8")) >= 0.95
    assert "4 of 4 pages, " in ended.stderr
    assert "in/locked.pdf: it is encrypted, and asks for a password" in ended.stderr
    assert "is gone and no longer billed" in ended.stderr
    assert json.loads(clone.run("list_pods.sh", "--json", "--sandbox").stdout)["pods"] == []


def test_a_run_that_was_killed_goes_on_without_reading_a_page_twice(
    clone: Clone, pod: str, tmp_path: Path
) -> None:
    (tmp_path / "a.pdf").write_bytes(short_pages(PAGES))
    secrets = [
        value
        for name, value in environment(clone).items()
        if "URL" not in name and "EMAIL" not in name
    ]
    process = started(clone, tmp_path / "a.pdf", "--concurrency", "1")
    until(clone, 1, process)
    running = tree(psutil.Process(process.pid))
    arguments = command_lines(running)
    assert "run_olmocr" in arguments
    assert not [secret for secret in secrets if secret in arguments]
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert (
        psutil.wait_procs(running, timeout=LONG)[1] == []
    )  # the toolkit has a process group of its own
    assert not (tmp_path / "a.md").exists()
    until_idle(clone)
    asked = completions(clone)
    there = kept(clone)
    ended = clone.run("ocr_pdfs.sh", "a.pdf", "--sandbox", "--json", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert (
        completions(clone) - asked == PAGES - there + 1
    )  # and one that looks whether the pod is ready
    [document] = json.loads(ended.stdout.splitlines()[-1])["documents"]
    assert (document["pdf"], document["markdown"], document["pages"]) == ("a.pdf", "a.md", PAGES)
    text = (tmp_path / "a.md").read_text(encoding="utf-8")
    assert [int(number) for number in re.findall(r"num.ro (\d+)", text)] == list(
        range(1, PAGES + 1)
    )
    assert not [secret for secret in secrets if secret in ended.stdout + ended.stderr]
    assert not (clone.root / ".podkit/ocr/sandbox-answers").exists()


def test_a_second_run_does_only_what_changed(clone: Clone, pod: str, tmp_path: Path) -> None:
    for name in ("a.pdf", "b.pdf"):
        (tmp_path / name).write_bytes(short_pages(1))
    assert clone.run("ocr_pdfs.sh", str(tmp_path), "--sandbox").returncode == 0
    (tmp_path / "b.pdf").write_bytes(pdf_of("Un autre texte."))
    again = clone.run("ocr_pdfs.sh", str(tmp_path), "--sandbox")
    assert again.stdout == f"{tmp_path}/b.md\n"
    assert "PDFs to do: 1; done: 1" in again.stderr
    assert "autre" in (tmp_path / "b.md").read_text(encoding="utf-8")
    third = clone.run("ocr_pdfs.sh", str(tmp_path), "--sandbox")
    assert (third.returncode, third.stdout) == (0, "")


def test_on_a_terminal_a_bar_shows_the_pages(clone: Clone, pod: str, tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(short_pages(2))
    ours, theirs = pty.openpty()
    command = [str(clone.root / "ocr_pdfs.sh"), "--sandbox", str(tmp_path / "a.pdf")]
    env = clone.environment(TERM="xterm", COLUMNS="120")
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=theirs)
    os.close(theirs)
    said = b""
    with suppress(OSError):  # the other end is closed
        while piece := os.read(ours, 4096):
            said += piece
    os.close(ours)
    assert (process.communicate()[0], process.returncode) == (f"{tmp_path}/a.md\n".encode(), 0)
    assert "━" in said.decode()
    assert re.search(r"2 of 2 pages, \S+ a minute", said.decode())


def test_ctrl_c_ends_the_toolkit_and_says_what_goes_on_costing(
    clone: Clone, pod: str, tmp_path: Path
) -> None:
    (tmp_path / "a.pdf").write_bytes(short_pages(PAGES))
    process = started(clone, tmp_path / "a.pdf", "--concurrency", "1")
    until(clone, 1, process)
    running = tree(psutil.Process(process.pid))
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=LONG)
    assert process.returncode == 130
    assert psutil.wait_procs(running, timeout=LONG)[1] == []
    assert re.search(
        rf"pod {pod} \(\S+\) goes on at \$0.86/h; end it now: ./stop_pod.sh --sandbox {pod}", said
    )


def test_stop_after_ends_the_pod_even_if_nothing_is_left_to_do(
    clone: Clone, tmp_path: Path
) -> None:
    (tmp_path / "a.pdf").write_bytes(short_pages(1))
    assert clone.run("ocr_pdfs.sh", "a.pdf", "--deploy", "--sandbox", cwd=tmp_path).returncode == 0
    again = clone.run("ocr_pdfs.sh", "a.pdf", "--stop-after", "--sandbox", cwd=tmp_path)
    assert "PDFs to do: 0; done: 1" in again.stderr
    assert "is gone and no longer billed" in again.stderr
    assert (
        clone.run("ocr_pdfs.sh", "a.pdf", "--stop-after", "--sandbox", cwd=tmp_path).returncode == 0
    )


@pytest.mark.parametrize(("status", "is_gone"), [("RUNNING", False), ("TERMINATED", True)])
def test_the_last_words_name_no_pod_that_is_gone(
    api: mocking.Mocker, client: RunpodClient, status: str, is_gone: bool
) -> None:
    api.get(f"{API}/pods/{POD['id']}", json={**POD, "status": status})
    interrupts = Interrupts()
    interrupts.report = lambda: "goes on"
    unused: Any = None
    around = Surroundings(
        folder=Path(),
        is_sandbox=False,
        path="",
        say=print,
        draws=False,
        wrote=print,
        connect=lambda: (unused, client),
        world=lambda _: cast(World, SimpleNamespace(interrupts=interrupts)),
        session=unused,
        deploy=unused,
        model=unused,
        turn=unused,
        tell_left=unused,
        rates=unused,
        startup=Path(),
        clock=time.monotonic,
        sleep=unused,
    )
    wanted = Wanted([], None, "", 1, may_deploy=False, stop_after=False)
    assert OnePod(around, wanted)._is_gone(pod_of(id=POD["id"])) is is_gone
    assert interrupts.report() == ("" if is_gone else "goes on")
