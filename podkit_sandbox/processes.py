"""Process trees that belong to a folder, ended whole. Must never end anybody else's."""

import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import psutil

MARK = "PODKIT_SANDBOX_POD"
"""The variable by which a process is known to belong to a pod or worker: its folder."""
START_TOLERANCE = 2.0  # seconds between the writing of a pid file and the process's own start


def tree(folder: Path) -> set[psutil.Process]:
    """The living processes of a folder: process 1, what carries its mark, and their descendants."""
    first_pid = 0
    first_since = 0.0
    file = folder / "pid"  # some systems hide the environment of /bin/bash, so its id is in a file
    if file.exists():
        first_pid = int(file.read_text())
        first_since = file.stat().st_mtime
    found = set()
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            is_first = (
                process.pid == first_pid
                and abs(process.create_time() - first_since) < START_TOLERANCE
            )
            if is_first or process.environ().get(MARK) == str(folder):
                found |= {process, *process.children(recursive=True)}
    return found


def kill(folder: Path, known: Iterable[psutil.Process] = ()) -> None:
    """Ends a folder's processes, the known ones and what they start meanwhile."""
    for _ in range(3):
        alive = tree(folder) | {*known}
        for process in alive:
            with suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(alive, timeout=0.2)


def sweep(root: Path) -> None:
    """Ends what a killed sandbox left running, and removes the folders of its pods and workers."""
    for folder in [*root.glob("pods/*"), *root.glob("workers/*")]:
        kill(folder)
        shutil.rmtree(folder, ignore_errors=True)
