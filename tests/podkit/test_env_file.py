"""What podkit reads from and writes into an environment file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from podkit.env_file import how_to_set, parse_env_file, tighten, write_secrets
from podkit.errors import UsageError


@pytest.fixture
def env_file(tmp_path: Path) -> Path:
    return tmp_path / ".env"


def test_a_file_that_is_not_there_is_empty(env_file: Path) -> None:
    assert parse_env_file(env_file) == {}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("A=1\nthis is a sentence\nB=2\n", 2),
        ("A=1\n\n\nNAME_ALONE\n", 4),
        ("# comment\r\n\r\nA='no end\r\n", 3),
        ("A='x' trailing", 1),
    ],
)
def test_a_line_that_is_no_setting_is_named_without_its_content(
    env_file: Path, text: str, line: int
) -> None:
    env_file.write_text(text, newline="")
    with pytest.raises(UsageError) as caught:
        parse_env_file(env_file)
    assert caught.value.message == f"{env_file}, line {line}: this is not NAME=value"


@pytest.mark.parametrize(
    "make", [lambda p: p.mkdir(), lambda p: p.write_bytes(b"A=\xff\n")], ids=["folder", "latin-1"]
)
def test_an_unreadable_env_file_is_said_so(env_file: Path, make: Any) -> None:
    make(env_file)
    with pytest.raises(UsageError, match="cannot read"):
        parse_env_file(env_file)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "A=1\nB=2\n"),
        ("X=0\nA=\n# end\n", "X=0\nA=1\n# end\nB=2\n"),
        ("X=0", "X=0\nA=1\nB=2\n"),
        ('export A=""\nB= \nX=0', "export A=1\nB=2\nX=0"),
        ("A=\r\nX=0\r\n", "A=1\r\nX=0\r\nB=2\r\n"),
        ("\ufeffA=\nB=''\n", "\ufeffA=1\nB=2\n"),
        ("A=\nA=\nB=\n", "A=1\nA=1\nB=2\n"),
        ("  # A=\nX='a $b'  # keep\n\nBA=\n", "  # A=\nX='a $b'  # keep\n\nBA=\nA=1\nB=2\n"),
    ],
)
def test_empty_lines_are_filled_in_place_and_others_left_alone(
    env_file: Path, before: str, after: str
) -> None:
    env_file.write_bytes(before.encode())
    write_secrets(env_file, {"A": "1", "B": "2"})
    assert env_file.read_bytes().decode() == after
    values = parse_env_file(env_file)
    assert (values["A"], values["B"]) == ("1", "2")


def test_what_is_written_is_private_whatever_it_was_before(env_file: Path) -> None:
    env_file.write_text("A=\n")
    env_file.chmod(0o644)
    write_secrets(env_file, {"A": "1"})
    assert env_file.stat().st_mode & 0o777 == 0o600


def test_a_link_to_the_env_file_stays_a_link(env_file: Path, tmp_path: Path) -> None:
    real = tmp_path / "elsewhere" / "env"
    env_file.symlink_to(real)
    write_secrets(env_file, {"A": "1"})
    assert env_file.is_symlink()
    assert real.read_text() == "A=1\n"


@pytest.mark.parametrize("step", ["fdopen", "replace"])
def test_a_write_that_fails_half_way_leaves_the_old_file_and_nothing_else(
    env_file: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    env_file.write_text("A=\nX=0\n")
    monkeypatch.setattr(os, step, full)
    with pytest.raises(UsageError, match="No space left on device") as caught:
        write_secrets(env_file, {"A": "the-value"})
    assert "the-value" not in caught.value.message + caught.value.hint
    assert [path.name for path in env_file.parent.iterdir()] == [".env"]
    assert env_file.read_text() == "A=\nX=0\n"


def test_an_env_file_that_cannot_be_written_is_said_so_even_to_root(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot write"):
        write_secrets(tmp_path / "file" / ".env", {"A": "1"})


def test_a_loose_mode_is_tightened_and_told(env_file: Path) -> None:
    assert tighten(env_file) is False
    env_file.write_text("A=1")
    env_file.chmod(0o640)
    assert tighten(env_file) is True
    assert env_file.stat().st_mode & 0o777 == 0o600
    assert tighten(env_file) is False


def test_the_next_step_for_a_missing_setting_never_overwrites_a_file_that_is_there(
    env_file: Path,
) -> None:
    assert "cp .env.example .env" in how_to_set("RUNPOD_API_KEY", "...", env_file)
    env_file.write_text("PODKIT_API_KEY=made\n")
    assert how_to_set("RUNPOD_API_KEY", "...", env_file) == (
        f"put this line into {env_file}: RUNPOD_API_KEY=..."
    )
