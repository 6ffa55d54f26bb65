"""Signals: one line and the right code at any moment, and last words that are not lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from contextlib import suppress
from pathlib import Path

import pytest

from podkit import ROOT
from podkit.errors import Interrupted, PodkitError
from podkit.interrupts import Interrupts, write_last
from tests.waiting import eventually

LINE = "podkit: pod abc123 (podkit-olmocr-0a1b2c) is there; end it now: ./stop_pod.sh abc123\n"


def python(code: str, *arguments: str, **options: object) -> subprocess.Popen[str]:
    argv = [sys.executable, "-c", textwrap.dedent(code), *arguments]
    return subprocess.Popen(argv, cwd=ROOT, text=True, **options)  # type: ignore[call-overload,no-any-return]


@pytest.mark.parametrize("module", ["podkit.interrupts", "click", "podkit.settings"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_modules_are_imported_leaves_one_line_and_its_code(
    module: str, number: int
) -> None:
    code = """
        import os, runpy, sys

        class Sender:
            def find_spec(self, name, *_):
                if name == sys.argv[1]:
                    os.kill(os.getpid(), int(sys.argv[2]))

        sys.meta_path.insert(0, Sender())
        runpy.run_module("podkit", run_name="__main__")
    """
    child = python(code, module, str(int(number)), stderr=subprocess.PIPE)
    _, told = child.communicate(timeout=60)
    assert (child.returncode, told) == (128 + number, "podkit: interrupted\n")


def test_a_second_signal_leaves_even_where_python_handles_none() -> None:
    """The main program is in C, as in a look-up of a host's name that hangs."""
    code = """
        import hashlib
        from podkit import interrupts

        interrupts.LEAVE_SECONDS = 0.1
        ours = interrupts.Interrupts()
        ours.install()
        ours.watch()
        with ours.held():
            print("stuck", flush=True)
            hashlib.pbkdf2_hmac("sha256", b"x", b"x", 2_000_000_000)
    """
    child = python(code, stdout=subprocess.PIPE)
    assert child.stdout
    assert child.stdout.readline() == "stuck\n"

    def has_left() -> bool:
        child.send_signal(signal.SIGINT)
        return child.poll() is not None

    try:
        eventually(has_left, every=0.1)  # two signals at once count as one
        assert child.returncode == 130
    finally:
        child.kill()
        child.stdout.close()


LAST_WORDS = """
    import sys
    from pathlib import Path
    from podkit.interrupts import Interrupts

    ours = Interrupts()
    ours.report = lambda: sys.argv[1]
    ours.left_file = Path(sys.argv[2])
    ours.tell_left()
"""


def test_a_pager_that_takes_nothing_does_not_swallow_what_may_be_billed(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    while True:
        try:
            os.write(writing, b"x" * 4096)
        except BlockingIOError:
            break
    os.set_blocking(writing, True)
    file = tmp_path / ".podkit/left.txt"
    child = python(LAST_WORDS, LINE, str(file), stderr=writing)
    assert child.wait(60) == 0
    assert file.read_text() == LINE
    assert file.stat().st_mode & 0o777 == 0o600
    os.close(reading)
    os.close(writing)


def test_a_closed_terminal_does_not_swallow_what_may_be_billed(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    file = tmp_path / "left.txt"
    file.write_text("earlier\n")
    file.chmod(0o644)
    child = python(LAST_WORDS, LINE, str(file), stderr=writing)
    assert child.wait(60) == 0
    assert file.read_text() == "earlier\n" + LINE
    assert file.stat().st_mode & 0o777 == 0o600
    os.close(writing)


def test_a_planted_link_is_not_written_through(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    other = tmp_path / "other"
    (tmp_path / "left.txt").symlink_to(other)
    child = python(LAST_WORDS, LINE, str(tmp_path / "left.txt"), stderr=writing)
    assert child.wait(60) == 0
    assert not other.exists()
    os.close(writing)


def test_what_stderr_takes_is_written_nowhere_else(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write_last(LINE * 50, tmp_path / "left.txt")
    assert capfd.readouterr().err == LINE * 50
    assert list(tmp_path.iterdir()) == []


def test_a_signal_that_was_held_off_arrives_after_the_outermost_block() -> None:
    ours = Interrupts()
    done = []
    with pytest.raises(Interrupted) as caught, ours.held():  # noqa: PT012
        with ours.held():
            ours._on_signal(signal.SIGTERM, None)
        done.append("the rest of the outer block")
    assert caught.value.exit_code == 143
    assert done


def test_a_signal_changes_nothing_once_the_process_is_about_to_end() -> None:
    ours = Interrupts()
    ours.hold()
    ours._on_signal(signal.SIGINT, None)


def test_what_breaks_after_a_signal_is_told_as_the_signal() -> None:
    interrupts = Interrupts()
    defect = KeyError("half an import")
    assert interrupts.cause_of(defect) is defect
    with suppress(Interrupted):
        interrupts._on_signal(signal.SIGINT, None)
    told = interrupts.cause_of(defect)
    assert isinstance(told, Interrupted)
    assert told.exit_code == 130
    ours = PodkitError("a pod may exist")
    assert interrupts.cause_of(ours) is ours
