"""What of a sandbox pod still runs on this machine."""

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
