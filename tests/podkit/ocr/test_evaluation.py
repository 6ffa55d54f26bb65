"""Whether errors are counted as a reader would, and whether the pages that judge a pod can be read
at all.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from podkit.errors import UsageError
from podkit.ocr.evaluation import LOOKS, built_in, draw_page, pair_cases, plain, score
from tests.clones import Clone
from tests.podkit.ocr.documents import short_pages

SAME = {
    "Markdown": ("# A **bold** title\n\nand `code`", "a bold title and code"),
    "a Markdown table": ("|Level|Change|\n|---|---|\n|128.4|+12.5|", "Level Change 128.4 12.5"),
    "an HTML table": (
        "<table><tr><td>Level</td><td>128.4 &amp; 0,8</td></tr></table>",
        "level 128.4 0,8",
    ),
    "a link to an image": ("before ![a chart](page_1_2.png) after", "before after"),
    "quotes and dashes": (
        "L\u2019écart \u2014 “réduit” \u2013 d'un demi\u2011mètre",
        "l'écart, \"réduit\", d'un demi-mètre",
    ),
    "composed and decomposed accents, ligatures": ("e\u0301te\u0301 ﬁn", "été fin"),
    "white space": (" one\t two\n\n three\u00a0four ", "one two three four"),
}
NOT_SAME = {
    "a lost decimal point": ("128.4 cm", "1284 cm"),
    "a decimal point for a comma": ("0,8", "0.8"),
    "a lost accent": ("Évian", "Evian"),
    "another order": ("left right", "right left"),
    "less than is no tag": ("a < b and b > c", "a c"),
}


@pytest.mark.parametrize("case", SAME)
def test_what_a_reader_would_not_call_an_error_is_evened_out(case: str) -> None:
    one, other = SAME[case]
    assert plain(one) == plain(other)


@pytest.mark.parametrize("case", NOT_SAME)
def test_what_a_reader_would_call_an_error_stays(case: str) -> None:
    one, other = NOT_SAME[case]
    assert plain(one) != plain(other)


@pytest.mark.parametrize(
    ("expected", "got", "wer", "cer"),
    [
        ("one two three four", "One, two: three four!", 0, 0),
        ("one two three four", "one too three", 2 / 4, (1 + len(" four")) / 18),
        ("one two", "one two two two", 2 / 2, len(" two two") / 7),
        ("one two", "", 1, 1),
        ("one two", "...", 1, 1),
    ],
)
def test_wrong_missing_and_added_words_are_errors(
    expected: str, got: str, wer: float, cer: float
) -> None:
    found = score("x", [expected], [got])
    assert found.wer == pytest.approx(wer)
    assert found.cer == pytest.approx(cer)


def test_in_all_each_text_counts_by_its_length() -> None:
    found = score("all", ["a b c d e f g h i j", "k l"], ["a b c d e f g h i j", "x y"])
    assert (found.name, found.words) == ("all", 12)
    assert found.wer == pytest.approx(2 / 12)
    assert found.cer == pytest.approx(2 / 22)


@pytest.mark.slow
def test_a_page_is_the_same_every_time(tmp_path: Path) -> None:
    for name, draw in LOOKS.items():
        draw(tmp_path / "a.png")
        draw(tmp_path / "b.png")
        assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes(), name


@pytest.mark.slow
def test_each_built_in_page_looks_different(tmp_path: Path) -> None:
    assert len({case.images[0].read_bytes() for case in built_in(tmp_path)}) == len(LOOKS) == 8


def seen(image: Path) -> str:
    """What the sandbox's OCR reads."""
    from podkit_sandbox.shims import ocr

    return ocr.read(image.read_bytes())


@pytest.mark.slow
def test_a_page_beyond_reading_has_a_score_that_says_so(tmp_path: Path) -> None:
    """Noise alone, or columns read across, are not called readable."""
    text = draw_page(tmp_path / "noise.png", noise=0.97)
    assert score("noise", [text], [seen(tmp_path / "noise.png")]).wer > 0.5
    lines = text.splitlines()
    assert score("across", [text], ["\n".join([*lines[4:], *lines[:4]])]).wer > 0.5


@pytest.fixture
def folder(tmp_path: Path, poppler: None) -> Path:
    """A PDF of two pages and an image, each with its text."""
    folder = tmp_path / "my pages"
    folder.mkdir()
    (folder / "a.pdf").write_bytes(short_pages(2))
    (folder / "a.txt").write_text(
        "Cette page porte le numéro 1 et rien de plus.\n\nCette page porte le numéro 2"
    )
    draw_page(folder / "b.PNG")
    (folder / "b.md").write_text("# Some text", encoding="utf-8-sig")
    return folder


@pytest.mark.slow
def test_documents_are_paired_with_their_texts_and_pdfs_are_rendered(
    folder: Path, tmp_path: Path
) -> None:
    said: list[str] = []
    first, second = pair_cases(folder, tmp_path, said.append)
    assert (first.name, len(first.images), second.images) == ("a", 2, (folder / "b.PNG",))
    assert "numéro 1" in seen(first.images[0])
    assert "numéro 2" in seen(first.images[1])
    assert plain(second.text) == "some text"
    assert said == []


def test_a_file_without_a_partner_is_named_and_hidden_ones_are_not(
    folder: Path, tmp_path: Path
) -> None:
    for name in ("lone.pdf", "lonely.txt", "notes.docx", ".DS_Store"):
        (folder / name).touch()
    said: list[str] = []
    assert len(pair_cases(folder, tmp_path, said.append)) == 2
    assert said == ["left out, without a partner: lone.pdf, lonely.txt, notes.docx"]


def no_pair(folder: Path) -> None:
    (folder / "a.txt").unlink()
    (folder / "b.md").unlink()


BAD_FOLDERS: dict[str, Callable[[Path], object]] = {
    "no document .* has its text": no_pair,
    r"no words in .*a\.txt": lambda folder: (folder / "a.txt").write_text("--- \n"),
    r"cannot read .*a\.txt: .*utf-8": lambda folder: (folder / "a.txt").write_bytes(
        b"\xff\xfe\xfa"
    ),
    r"cannot render .*a\.pdf: \S": lambda folder: (folder / "a.pdf").write_bytes(
        b"%PDF-1.7 broken"
    ),
}


@pytest.mark.parametrize("what", BAD_FOLDERS)
def test_a_folder_that_cannot_be_used_is_told_before_anything_is_sent(
    what: str, folder: Path, tmp_path: Path
) -> None:
    BAD_FOLDERS[what](folder)
    with pytest.raises(UsageError, match=what) as raised:
        pair_cases(folder, tmp_path, lambda _: None)
    assert raised.value.hint


def test_without_poppler_the_message_names_the_packages(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UsageError, match="poppler is not installed") as raised:
        pair_cases(folder, tmp_path, lambda _: None)
    assert "apt install poppler-utils" in raised.value.hint


@pytest.fixture(scope="module")
def deployed(clone: Clone) -> Iterator[Clone]:
    clone.run("podkit.sh", "stop", "--all", "--yes", "--sandbox")
    done = clone.run("deploy_olmocr.sh", "--sandbox")
    assert done.returncode == 0, done.stderr
    yield clone
    clone.run("podkit.sh", "stop", "--all", "--yes", "--sandbox")


def test_eval_installs_what_it_needs_and_a_sandbox_pod_reads_each_page(deployed: Clone) -> None:
    done = deployed.run("podkit.sh", "eval", "--sandbox")
    assert done.returncode == 0, done.stderr
    header, *rows = done.stdout.splitlines()
    assert re.split("  +", header) == ["CASE", "WORDS", "WER", "CER"]
    told = [re.split("  +", row) for row in rows]
    assert [case for case, *_ in told] == [*LOOKS, "all"]
    for case, _, wer, _ in told:
        assert float(wer.removesuffix("%")) < 5, case
    assert re.search(
        r"^the OCR works: [0-4]\.\d% of the words are wrong$", done.stderr, re.MULTILINE
    )


def test_eval_fails_where_the_pods_answers_are_not_the_text(
    deployed: Clone, tmp_path: Path
) -> None:
    draw_page(tmp_path / "page.png")
    (tmp_path / "page.txt").write_text(
        "Quite another text that nobody has ever written on this page."
    )
    done = deployed.run("podkit.sh", "eval", "--folder", str(tmp_path), "--json", "--sandbox")
    assert done.returncode == 1, done.stderr
    [result] = map(json.loads, done.stdout.splitlines())
    assert (result["ok"], result["error"]["code"]) == (False, "failed")
    assert (result["model"], result["total"]["words"]) == ("olmocr", 11)
    assert result["total"]["wer"] > 1
