"""One process at a time: a lock on a file, which ends with the process that holds it."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from podkit.errors import UsageError


@contextmanager
def hold_lock(file: Path, busy: Callable[[], None]) -> Iterator[None]:
    """Hold the lock. While another process does, `busy` is called once: it may raise; else this
    waits. Raises UsageError if the file cannot be written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        opened = file.open("w")
    except OSError as error:
        what = f"cannot write {file}: {error.strerror}"
        raise UsageError(what, f"make {file.parent} writable") from None
    with opened as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            busy()
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
