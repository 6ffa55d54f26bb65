"""What of a sandbox pod still runs on this machine."""

from collections.abc import Iterable
from contextlib import suppress

import psutil


def processes_of(pod: str) -> list[psutil.Process]:
    """The processes whose environment is that of the pod with this id."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("RUNPOD_POD_ID") == pod:
                found.append(process)
        except psutil.Error:
            continue
    return found


def command_lines(processes: Iterable[psutil.Process]) -> str:
    """Those of the processes that have not ended meanwhile, a line each."""
    lines = []
    for one in processes:
        with suppress(psutil.Error):
            lines.append(" ".join(one.cmdline()))
    return "\n".join(lines)
