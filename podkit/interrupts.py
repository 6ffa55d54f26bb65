"""Turns SIGINT, SIGTERM and SIGHUP into one orderly way out.

The first signal raises Interrupted in the main program, but never while it is held off: while a
create is in flight, modules are imported, or the last lines are written. A second one prints what
may be left running and leaves within two seconds, whatever the main program is stuck in.

Nothing of weight is imported here: this is the first module that a command loads.
"""

from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from podkit.errors import Interrupted, PodkitError
from podkit.text import fold, printable, width_of_terminal

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
LEAVE_SECONDS = 2.0
"""How long after a second signal the process ends for certain."""
WRITE_SECONDS = 0.5
"""A terminal or a pager that takes nothing for so long is taken for closed."""
PIECE = 512
"""Bytes that a pipe takes at once if it takes any (POSIX, PIPE_BUF)."""
ASKED = "podkit: interrupted; finding out first what was made (again to leave at once)\n"
SHOW_CURSOR = "\x1b[?25h"
"""A live block hides it."""


class Interrupts:
    """`report` gives the lines that name what may be left running; `left_file` is where they go if
    stderr does not take them.
    """

    def __init__(self) -> None:
        self.report: Callable[[], str] = _nothing
        self.left_file: Path | None = None
        self._pending: int | None = None
        self._depth = 0
        self._asked = ASKED

    def install(self) -> None:
        """Take over the signals of this process; one that is ignored, as under nohup, stays so."""
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._on_signal)

    def watch(self) -> None:
        """See to it that a second signal ends this process even while the main program is stuck
        where Python handles none, such as in a look-up of a host's name.
        """
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        threading.Thread(target=_leave_after_second, args=[reading], daemon=True).start()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Put a first signal off until the block, which must be bounded in time, has ended."""
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            if self._pending is not None and not self._depth:
                raise Interrupted(self._pending)

    def hold(self) -> None:
        """From here on a first signal changes nothing: the process is about to end."""
        self._depth += 1
        self._asked = ""

    @contextmanager
    def importing(self) -> Iterator[None]:
        """held(), without a word about a pod: none can have been made yet."""
        with self.held():
            self._asked = ""
            try:
                yield
            finally:
                self._asked = ASKED

    def cause_of(self, error: Exception) -> Exception:
        """The signal, if one came before what seems a defect: raised in the middle of an import,
        it breaks that import in ways of its own. Else `error` itself.
        """
        if self._pending is None or isinstance(error, PodkitError):
            return error
        return Interrupted(self._pending)

    def tell_left(self) -> None:
        """Write what may be left running, once, in one piece that no signal tears apart."""
        with self.held():
            text = self.report()
            if text:
                write_last(printable(text), self.left_file)
                self.report = _nothing

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if self._pending is not None:
            threading.Timer(LEAVE_SECONDS, os._exit, [128 + number]).start()
            write_last("\n" + printable(self.report()), self.left_file)
            os._exit(128 + number)
        self._pending = number
        if not self._depth:
            raise Interrupted(number)
        if self._asked:
            write_last("\n" + self._asked, None)


def write_last(text: str, file: Path | None) -> None:
    """Write `text` to stderr; if that is closed, or takes nothing, to `file`, which is made 0600.

    It never waits long, and never fails: these are a process's last words.
    """
    shown = text
    with suppress(OSError):
        if os.isatty(2):
            shown = SHOW_CURSOR + fold(text, width_of_terminal(2))
    if _write(2, shown.encode()) or file is None:
        return
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
        with os.fdopen(os.open(file, flags, 0o600), "ab") as kept:
            os.fchmod(kept.fileno(), 0o600)
            kept.write(text.lstrip("\n").encode())


def _write(target: int, data: bytes) -> bool:
    """Whether the file descriptor took all of `data`; one that is full is not waited for."""
    try:
        while data:
            _, ready, _ = select.select([], [target], [], WRITE_SECONDS)
            if not ready:
                return False
            data = data[os.write(target, data[:PIECE]) :]
    except (OSError, ValueError):
        return False
    return True


def _leave_after_second(reading: int) -> None:
    """End this process a while after its second signal, as each is told through `reading`."""
    told = 0
    while True:
        for number in os.read(reading, 64):
            told += number in SIGNALS
            if told >= 2:
                threading.Timer(LEAVE_SECONDS, os._exit, [128 + number]).start()


def _nothing() -> str:
    return ""
