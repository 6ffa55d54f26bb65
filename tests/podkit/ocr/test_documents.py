"""Which PDFs are found, where their Markdown goes; what is done, missing, changed or impossible."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from podkit.errors import PodkitError, UsageError
from podkit.ocr.documents import (
    MOST_BYTES,
    Document,
    Done,
    examine,
    find,
    make_room,
    only_pages,
    put,
    turn,
)
from tests.podkit.ocr.documents import pdf_of

pytestmark = pytest.mark.usefixtures("poppler")


def pdf() -> bytes:
    return pdf_of("Une page.")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """in/a.pdf, in/deep/b.PDF, and in/notes.txt."""
    folder = tmp_path / "in"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.pdf").write_bytes(pdf())
    (folder / "deep/b.PDF").write_bytes(pdf())
    (folder / "notes.txt").write_text("not a PDF")
    return folder


@pytest.fixture
def done(tmp_path: Path) -> Done:
    return Done(tmp_path / "done.json")


def reason(path: Path, done: Done) -> str:
    document = examine(Document(path, path.with_suffix(".md")), done)
    assert document
    return document.reason


def test_markdown_goes_beside_each_pdf(folder: Path) -> None:
    assert [document.markdown for document in find([folder], None)] == [
        folder / "a.md",
        folder / "deep/b.md",
    ]


def test_or_below_a_folder_that_mirrors_the_one_given(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert [document.markdown for document in find([folder], out)] == [
        out / "a.md",
        out / "deep/b.md",
    ]
    assert [document.markdown for document in find([folder / "deep/b.PDF"], out)] == [out / "b.md"]


def test_a_pdf_given_twice_is_done_once(folder: Path) -> None:
    assert len(find([folder, folder / "a.pdf", folder / "deep/../a.pdf"], None)) == 2


def test_of_two_pdfs_that_would_become_one_markdown_the_second_says_so(
    folder: Path, tmp_path: Path
) -> None:
    (folder / "deep/a.pdf").write_bytes(pdf())
    first, second = find([folder / "a.pdf", folder / "deep/a.pdf"], tmp_path / "out")
    assert (first.reason, first.markdown) == ("", second.markdown)
    assert second.reason.startswith(f"{folder / 'a.pdf'} becomes {first.markdown}, too")


def test_a_pdf_beside_one_whose_suffix_is_written_large_does_not_stop_the_rest(
    folder: Path, done: Done
) -> None:
    (folder / "a.PDF").write_bytes(pdf())
    reasons = {}
    for document in find([folder], None):
        looked = examine(document, done)
        assert looked
        reasons[looked.pdf.name] = bool(looked.reason)
    assert reasons == {"a.PDF": False, "a.pdf": True, "b.PDF": False}


def test_a_link_to_a_folder_above_is_not_followed(folder: Path) -> None:
    (folder / "deep/loop").symlink_to(folder)
    assert len(find([folder], None)) == 2


def test_what_a_mac_leaves_beside_a_pdf_is_not_one(folder: Path) -> None:
    (folder / "._a.pdf").write_bytes(b"\0\5\26\7")
    assert len(find([folder], None)) == 2


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (lambda: b"", "it is empty"),
        (lambda: b"Dear all,", "it is not a PDF"),
        (lambda: pdf()[: len(pdf()) // 2], "it is broken: "),
        (lambda: pdf_of("secret", password="user"), "it is encrypted, and asks for a password"),
    ],
    ids=["empty", "not-a-pdf", "broken", "encrypted"],
)
def test_a_pdf_that_cannot_be_read_says_why(
    folder: Path, done: Done, content: Callable[[], bytes], why: str
) -> None:
    (folder / "a.pdf").write_bytes(content())
    assert reason(folder / "a.pdf", done).startswith(why)


def test_what_is_not_there_and_a_folder_without_pdfs_are_named(
    folder: Path, done: Done, tmp_path: Path
) -> None:
    assert reason(tmp_path / "gone.pdf", done) == "it cannot be read: No such file or directory"
    (tmp_path / "empty").mkdir()
    [document] = find([tmp_path / "empty"], None)
    assert reason(document.pdf, done) == "it holds no PDF"


def test_pages_are_counted_and_the_sum_is_known(folder: Path, done: Done) -> None:
    (folder / "a.pdf").write_bytes(pdf_of("one", "two", "three"))
    document = examine(Document(folder / "a.pdf", folder / "a.md"), done)
    assert document
    assert (document.pages, len(document.sha256), document.reason) == (3, 64, "")


def test_a_pdf_is_done_until_it_changes_or_its_markdown_goes(
    folder: Path, done: Done, tmp_path: Path
) -> None:
    def look() -> Document | None:
        return examine(Document(folder / "a.pdf", folder / "a.md"), Done(tmp_path / "done.json"))

    document = look()
    assert document
    done.place(document, "# été\n")
    assert (folder / "a.md").read_text(encoding="utf-8") == "# été\n"
    assert look() is None
    (folder / "a.pdf").write_bytes(pdf_of("changed"))
    assert look()
    (folder / "a.pdf").write_bytes(pdf())
    (folder / "a.md").unlink()
    assert look()


def test_a_pdf_with_a_failed_page_is_to_be_done_again(folder: Path, done: Done) -> None:
    document = examine(Document(folder / "a.pdf", folder / "a.md"), done)
    assert document
    done.place(replace(document, failed_pages=({"page": 1, "reason": "cut"},)), "text")
    again = examine(Document(folder / "a.pdf", folder / "a.md"), done)
    assert again
    assert again.reason == ""


def test_a_markdown_that_podkit_did_not_make_is_not_touched(folder: Path, done: Done) -> None:
    (folder / "a.md").write_text("mine")
    assert "podkit did not make it: move it away, or use another --out" in reason(
        folder / "a.pdf", done
    )
    assert (folder / "a.md").read_text() == "mine"


def made(folder: Path, done: Done) -> Document:
    """in/a.pdf as it is once its Markdown is in place."""
    document = examine(Document(folder / "a.pdf", folder / "a.md"), done)
    assert document
    done.place(document, "its text")
    return document


def test_a_markdown_that_was_changed_since_is_not_written_over(folder: Path, done: Done) -> None:
    made(folder, done)
    (folder / "a.pdf").write_bytes(pdf_of("Une autre page."))
    assert reason(folder / "a.pdf", done) == ""  # its PDF changed, it did not: it is made again
    (folder / "a.md").write_text("its text, and a remark")
    assert "it was changed after podkit made it" in reason(folder / "a.pdf", done)


def test_a_markdown_that_somebody_wrote_during_the_run_is_not_written_over(
    folder: Path, done: Done
) -> None:
    document = examine(Document(folder / "a.pdf", folder / "a.md"), done)
    assert document
    (folder / "a.md").write_text("mine")
    placed = done.place(document, "its text")
    assert "podkit did not make it: move it away, or use another --out" in placed.reason
    assert (folder / "a.md").read_text() == "mine"


def test_the_text_of_one_pdf_is_not_written_over_by_that_of_another(
    folder: Path, done: Done
) -> None:
    document = made(folder, done)
    other = examine(Document(folder / "deep/b.PDF", document.markdown), done)
    assert other
    assert f"it is the text of {document.pdf}" in other.reason


def test_a_folder_that_cannot_be_is_told_before_a_pod_is_looked_for(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"notes.txt.* cannot be made a folder"):
        make_room([Document(folder / "a.pdf", folder / "notes.txt/a.md")])


def test_this_folder_may_be_given_as_a_dot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, done: Done
) -> None:
    monkeypatch.chdir(tmp_path)
    [nothing] = find([Path(".")], None)
    assert examine(nothing, done) == replace(nothing, reason="it holds no PDF")


@pytest.mark.parametrize("at", [1, 2, 3])
def test_a_kill_at_any_step_leaves_a_pdf_that_is_to_be_done(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    steps = 0

    def killed(path: Path, data: bytes) -> None:
        nonlocal steps
        steps += 1
        if steps == at:
            raise KeyboardInterrupt
        put(path, data)

    document = examine(Document(folder / "a.pdf", folder / "a.md"), Done(tmp_path / "done.json"))
    assert document
    monkeypatch.setattr("podkit.ocr.documents.put", killed)
    with pytest.raises(KeyboardInterrupt):
        Done(tmp_path / "done.json").place(document, "text")
    assert reason(folder / "a.pdf", Done(tmp_path / "done.json")) == ""


@pytest.mark.parametrize("at", [1, 2, 3])
def test_a_kill_while_a_text_is_made_anew_does_not_make_it_somebody_elses(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    made(folder, Done(tmp_path / "done.json"))
    (folder / "a.pdf").write_bytes(pdf_of("Une autre page."))
    steps = iter(range(1, 4))

    def killed(path: Path, data: bytes) -> None:
        if next(steps) == at:
            raise KeyboardInterrupt
        put(path, data)

    document = examine(Document(folder / "a.pdf", folder / "a.md"), Done(tmp_path / "done.json"))
    assert document
    with monkeypatch.context() as patched:
        patched.setattr("podkit.ocr.documents.put", killed)
        with pytest.raises(KeyboardInterrupt):
            Done(tmp_path / "done.json").place(document, "another text")
    assert reason(folder / "a.pdf", Done(tmp_path / "done.json")) == ""


def test_markdown_that_cannot_be_written_is_said(folder: Path, done: Done) -> None:
    document = Document(folder / "a.pdf", folder / "a.pdf/a.md")
    with pytest.raises(PodkitError, match=r"cannot write .*a\.pdf"):
        done.place(document, "text")


def test_nothing_is_written_through_a_link_that_lies_in_the_folder(
    folder: Path, done: Done, tmp_path: Path
) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    (folder / ".a.md.part").symlink_to(precious)
    made(folder, done)
    assert precious.read_text() == "mine"
    (folder / "a.md").unlink()
    (folder / "a.md").symlink_to(precious)
    put(folder / "a.md", b"text")
    assert precious.read_text() == "mine"
    assert (folder / "a.md").read_text() == "text"


def test_the_file_that_is_written_first_has_a_name_that_must_be_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("secrets.token_hex", lambda _: "guessed")
    (tmp_path / "precious").write_text("mine")
    (tmp_path / ".guessed.part").symlink_to(tmp_path / "precious")
    with pytest.raises(FileExistsError):
        put(tmp_path / "a.md", b"text")
    assert (tmp_path / "precious").read_text() == "mine"


def test_only_a_regular_file_of_a_bearable_size_is_read(folder: Path, done: Done) -> None:
    os.mkfifo(folder / "fifo.pdf")
    (folder / "zero.pdf").symlink_to("/dev/zero")
    for name in ("fifo.pdf", "zero.pdf"):
        assert reason(folder / name, done) == "it is not a regular file"
    with (folder / "large.pdf").open("wb") as file:
        file.write(pdf())
        file.truncate(MOST_BYTES + 1)
    assert reason(folder / "large.pdf", done) == "it is larger than 1,024 MiB"


def test_a_pdf_whose_pages_take_forever_to_count_is_broken(
    folder: Path, done: Done, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    endless = tmp_path / "pdfinfo"
    endless.write_text("#!/bin/sh\nexec sleep 600\n")
    endless.chmod(0o755)
    monkeypatch.setattr("podkit.ocr.documents.program", lambda _: str(endless))
    monkeypatch.setattr("podkit.ocr.documents.PDFINFO_SECONDS", 0.1)
    assert "not counted within" in reason(folder / "a.pdf", done)


def test_two_runs_at_once_are_refused(tmp_path: Path) -> None:
    with turn(tmp_path / "ocr"):
        with pytest.raises(PodkitError, match="another"), turn(tmp_path / "ocr"):
            pass
        assert (tmp_path / "ocr").stat().st_mode & 0o777 == 0o700


def test_a_document_says_what_failed() -> None:
    lost = ({"page": 3, "reason": "cut"}, {"page": 5, "reason": "odd"})
    document = Document(Path("a.pdf"), Path("a.md"), failed_pages=lost)
    assert document.failures() == [
        "a.pdf, page 3: cut (the PDF's own text stands in)",
        "a.pdf, page 5: odd (the PDF's own text stands in)",
    ]
    assert replace(document, reason="it is empty").failures() == ["a.pdf: it is empty"]


def test_a_part_of_a_pdf_is_never_taken_for_the_whole(folder: Path, done: Done) -> None:
    pdf = folder / "a.pdf"
    pdf.write_bytes(pdf_of("one", "two", "three"))
    part = examine(only_pages(find([pdf], None), (2, 3)), done)
    assert part
    assert (part.markdown, part.pages) == (folder / "a.pages-2-3.md", 2)
    done.place(part, "two three")
    assert examine(only_pages(find([pdf], None), (2, 3)), done) is None
    whole = examine(find([pdf], None)[0], done)
    assert whole
    assert (whole.markdown, whole.pages, whole.reason) == (folder / "a.md", 3, "")


def test_a_page_that_the_pdf_has_not_is_said(folder: Path, done: Done) -> None:
    document = examine(only_pages(find([folder / "a.pdf"], None), (1, 7)), done)
    assert document
    assert document.reason == "it has 1 pages, and page 7 is asked for"


def test_pages_of_several_pdfs_are_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match="--pages is for one PDF, not for 2"):
        only_pages(find([folder], None), (1,))


def test_what_the_sandbox_read_is_nothing_done_for_the_account(
    folder: Path, tmp_path: Path
) -> None:
    def look(*, is_sandbox: bool) -> Document | None:
        record = Done(tmp_path / "done.json", is_sandbox=is_sandbox)
        return examine(Document(folder / "a.pdf", folder / "a.md"), record)

    made = look(is_sandbox=True)
    assert made
    Done(tmp_path / "done.json", is_sandbox=True).place(made, "by the sandbox")
    assert look(is_sandbox=True) is None
    again = look(is_sandbox=False)
    assert again
    assert again.reason == ""
    Done(tmp_path / "done.json").place(again, "by a rented pod")
    assert look(is_sandbox=True) is None


def test_the_sandbox_does_not_write_over_what_a_rented_pod_read(
    folder: Path, tmp_path: Path
) -> None:
    document = examine(Document(folder / "a.pdf", folder / "a.md"), Done(tmp_path / "done.json"))
    assert document
    Done(tmp_path / "done.json").place(document, "by a rented pod")
    (folder / "a.pdf").write_bytes(pdf_of("Une autre page."))
    assert "a rented pod read it" in reason(
        folder / "a.pdf", Done(tmp_path / "done.json", is_sandbox=True)
    )
