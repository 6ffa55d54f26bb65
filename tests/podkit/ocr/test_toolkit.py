"""Runs of the real toolkit against a pod that the tests play: failed pages, broken runs, and what
it is given.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
import requests_mock as mocking

from podkit.errors import PodkitError
from podkit.ocr.documents import Document, Done, examine
from podkit.ocr.toolkit import install_toolkit, progress, transcribe
from tests.podkit.ocr.answers import ACCESS, HEAD, POD_KEY, URL, Clock, relay_to, stream
from tests.podkit.ocr.documents import SHORT, pdf_of, short_pages

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("poppler")]
UV = """\
echo "$@" >>"${0%/*}/calls"
for place; do :; done
[ "$1" = pip ] || { mkdir -p "$place/bin" && ln -sf /bin/sh "$place/bin/python"; }
"""
"""Stands in for uv: notes each call, and makes an environment that holds nothing."""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a freshly installed toolkit."""
    return install_toolkit(tmp_path_factory.mktemp("toolkit"), os.environ["PATH"], print)


THREE_PAGES = "read\n\n<!-- page 2 -->\n\nread\n\n<!-- page 3 -->\n\nread\n"


@dataclass
class Run:
    """Runs of the toolkit in one folder. The pod answers as `answer` says; `asked` counts what
    reached it.
    """

    folder: Path
    python: Path
    answer: Callable[..., str] = lambda *_: stream(HEAD, "read")
    asked: int = 0
    texts: dict[str, str] = field(default_factory=dict)
    look: Callable[[int], Any] = lambda _: None

    def __call__(self, *documents: Document) -> list[Document]:
        def place(document: Document, text: str) -> Document:
            self.texts[document.pdf.name] = text
            return document

        session = requests.Session()
        clock = Clock()
        kept = self.folder / "answers"
        with (
            mocking.Mocker(session=session) as pod,
            relay_to(ACCESS, session, kept, clock, lambda: True) as relay,
        ):
            pod.post(URL, text=self.answer)
            path = os.environ["PATH"]
            try:
                return transcribe(
                    documents, self.python, self.folder, path, relay, 4, place, self.look
                )
            finally:
                self.asked += pod.call_count


@pytest.fixture
def run(tmp_path: Path, python: Path) -> Run:
    return Run(tmp_path, python)


def program(path: Path, script: str) -> Path:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def document(folder: Path, name: str, content: bytes) -> Document:
    (folder / name).write_bytes(content)
    found = examine(Document(folder / name, folder / f"{name}.md"), Done(folder / "done.json"))
    assert found
    return found


def refusing_one_page(refuses: int) -> Callable[..., str]:
    """A pod that answers every page but refuses the one whose image it has seen as the `refuses`th
    new one.
    """
    images: list[str] = []

    def answer(request: Any, context: Any) -> str:
        image = request.json()["messages"][0]["content"][1]["image_url"]["url"]
        if image not in images:
            images.append(image)
        if images.index(image) == refuses - 1:
            context.status_code = 400
            return '{"error": {"message": "this image cannot be read"}}'
        return stream(HEAD, "read")

    return answer


BEFORE: set[int] = set()
"""Processes below this one that other tests of the same run keep."""


@pytest.fixture(autouse=True)
def _processes_before() -> None:
    BEFORE.clear()
    BEFORE.update(one.pid for one in psutil.Process().children(recursive=True))


def descendants() -> list[psutil.Process]:
    """The processes below this one that the test began and that live."""
    found = []
    for one in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # it has just ended
            if one.pid not in BEFORE and one.status() != psutil.STATUS_ZOMBIE:
                found.append(one)
    return found


def test_each_page_is_asked_for_once_and_pdfs_keep_their_own_text(run: Run) -> None:
    odd = "a --b 'c'::d é.PDF"
    documents = [
        document(run.folder, "a.pdf", short_pages(3)),
        document(run.folder, odd, pdf_of("one")),
    ]
    assert sorted(run(*documents), key=str) == sorted(documents, key=str)
    assert run.asked == 4
    assert run.texts == {"a.pdf": THREE_PAGES, odd: "read\n"}
    assert {path.name for path in run.folder.iterdir()} == {"a.pdf", odd, "olmocr.log"}


def test_a_failed_page_is_named_with_its_reason_and_asked_for_again_alone(run: Run) -> None:
    run.answer = refusing_one_page(2)
    one = document(run.folder, "a.pdf", short_pages(3))
    [ended] = run(one)
    [failed] = ended.failed_pages
    assert "400" in failed["reason"]
    assert "this image cannot be read" in failed["reason"]
    assert ended.reason == ""
    assert "Cette page porte" in run.texts["a.pdf"]  # the PDF's own text stands in
    run.answer = lambda *_: stream(HEAD, "read")
    before = run.asked
    assert run(one) == [one]
    assert run.asked - before == 1
    assert run.texts["a.pdf"] == THREE_PAGES


def test_some_pages_alone_are_read_and_keep_their_numbers(run: Run) -> None:
    part = replace(document(run.folder, "a.pdf", short_pages(9)), pages=3, page_numbers=(3, 4, 9))
    assert run(part) == [part]
    assert run.asked == 3
    assert (
        run.texts["a.pdf"]
        == "\n\n".join(f"<!-- page {number} -->\n\nread" for number in (3, 4, 9)) + "\n"
    )


def test_a_failed_page_of_some_is_named_by_its_number_in_the_pdf(run: Run) -> None:
    run.answer = refusing_one_page(1)
    part = replace(document(run.folder, "a.pdf", short_pages(9)), pages=1, page_numbers=(7,))
    [ended] = run(part)
    assert [lost["page"] for lost in ended.failed_pages] == [7]
    assert SHORT.format(7) in run.texts["a.pdf"]  # the PDF's own text stands in


def test_pages_that_cannot_be_taken_out_are_said(run: Run) -> None:
    part = replace(document(run.folder, "a.pdf", short_pages(2)), page_numbers=(3,))
    with pytest.raises(PodkitError, match=r"its pages cannot be taken out .*IndexError"):
        run(part)


def test_an_answer_that_is_always_cut_off_is_a_failed_page(run: Run) -> None:
    run.answer = lambda *_: stream(HEAD, "half of", finish="length")
    [ended] = run(document(run.folder, "a.pdf", short_pages(1)))
    assert (ended.failed_pages, ended.reason) == (
        ({"page": 1, "reason": "no answer was complete"},),
        "",
    )
    assert run.asked == 8


def test_a_pdf_without_any_text_is_done_with_a_remark(run: Run) -> None:
    run.answer = lambda *_: stream(HEAD)
    [ended] = run(document(run.folder, "a.pdf", short_pages(1)))
    assert ended.failures() == []
    assert run.texts == {"a.pdf": "<!-- no text was found in this PDF -->\n"}


def test_a_pod_that_is_gone_ends_the_run_and_the_toolkit(run: Run) -> None:
    def gone(_: Any, context: Any) -> str:
        context.status_code = 404
        return "no such pod"

    run.answer = gone
    [ended] = run(document(run.folder, "a.pdf", short_pages(2)))
    assert ended.reason == "the pod is gone: it answers 404"
    assert descendants() == []


def test_an_interrupted_run_ends_what_the_toolkit_is_at(run: Run, tmp_path: Path) -> None:
    run.python = program(tmp_path / "python", "sleep 60 & wait")
    children: list[psutil.Process] = []

    def interrupt(_: int) -> None:
        children[:] = descendants()
        if len(children) == 2:
            raise KeyboardInterrupt

    run.look = interrupt
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run(document(run.folder, "a.pdf", short_pages(1)))
    assert [
        child.name() for child in children if child.is_running() and child.status() != "zombie"
    ] == []
    assert len(children) == 2
    assert time.monotonic() - began < 30
    assert not (run.folder / "work").exists()


def test_the_toolkit_gets_no_key_but_the_relays_and_none_in_its_arguments(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNPOD_API_KEY", "rpa_the-account-key")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_PROFILE", "none")
    shown: list[tuple[str, dict[str, str]]] = []

    def look(_: int) -> None:
        for child in descendants():
            with suppress(psutil.Error):
                shown.append((" ".join(child.cmdline()), child.environ()))

    run.look = look
    run(document(run.folder, "a.pdf", short_pages(1)))
    assert any(arguments.endswith("run_olmocr.py") for arguments, _ in shown)
    for arguments, environ in shown:
        assert not re.search(r"api_key|127\.0\.0\.1", arguments)
        assert set(environ) <= {"PATH", "HOME", "TMPDIR", "PYTHONUTF8", "LC_CTYPE"}
        assert POD_KEY not in str(environ)
    assert "api_key" not in (run.folder / "olmocr.log").read_text()


def test_a_toolkit_that_does_not_start_says_where_its_log_is(run: Run, tmp_path: Path) -> None:
    run.python = program(tmp_path / "python", "echo broken >&2; exit 1")
    [ended] = run(document(run.folder, "a.pdf", short_pages(1)))
    assert (
        ended.reason == f"the toolkit ended before it was done; {tmp_path / 'olmocr.log'} says why"
    )
    assert (tmp_path / "olmocr.log").read_text() == "broken\n"


def test_the_environment_is_made_once_and_again_if_it_is_not_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path / "uv", UV)
    said: list[str] = []
    python = install_toolkit(tmp_path / "toolkit", f"{tmp_path}:/usr/bin:/bin", said.append)
    assert install_toolkit(tmp_path / "toolkit", f"{tmp_path}:/usr/bin:/bin", said.append) == python
    calls = (tmp_path / "calls").read_text().splitlines()
    assert [call.split()[0] for call in calls] == ["venv", "pip"]
    assert len(said) == 1
    for number, part in enumerate((python.parents[1] / "complete", python), 2):
        part.unlink()
        install_toolkit(tmp_path / "toolkit", f"{tmp_path}:/usr/bin:/bin", said.append)
        assert len((tmp_path / "calls").read_text().splitlines()) == 2 * number


def test_a_long_set_up_says_that_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("podkit.ocr.toolkit.STILL_SECONDS", 0.1)
    program(tmp_path / "uv", f"sleep 0.3\n{UV}")
    said: list[str] = []
    install_toolkit(tmp_path / "toolkit", f"{tmp_path}:/usr/bin:/bin", said.append)
    assert "still installing, 0 s" in said


def test_an_environment_that_cannot_be_made_is_not_used(tmp_path: Path) -> None:
    program(tmp_path / "uv", "exit 1")
    for _ in range(2):
        with pytest.raises(PodkitError, match="could not be installed"):
            install_toolkit(tmp_path / "toolkit", str(tmp_path), print)


def test_the_progress_is_said_twice_a_minute_and_at_the_end() -> None:
    clock = Clock()
    said: list[str] = []
    with progress(40, lambda: 0.86 * clock.now / 3600, said.append, clock) as show:
        for pages in range(0, 41, 4):
            show(pages)
            clock.sleep(10)
    assert said == [
        "12 of 40 pages, 24.0 a minute, about $0.01 in this run, 1:10 left",
        "24 of 40 pages, 24.0 a minute, about $0.01 in this run, 0:40 left",
        "36 of 40 pages, 24.0 a minute, about $0.02 in this run, 0:10 left",
        "40 of 40 pages, 24.0 a minute, about $0.02 in this run",
    ]
