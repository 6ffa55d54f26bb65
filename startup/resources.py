"""How much of its memory and disk the pod uses: a line in the log every five minutes, and a warning
where there is little left. It must never end anything, nor hold up the watchdog: a driver that
hangs hangs this alone.
"""

import shutil
import subprocess
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from pod_log import say

GIB = 2**30
PAUSE_SECONDS = 300
RAM_WARNING = 0.95
DISK_WARNING = 0.90
"""Shares in use above which the log warns, once until it is less again."""
GPU_QUERY = "--query-gpu=memory.used,memory.total"
CGROUP = Path("/sys/fs/cgroup")
MEMINFO = Path("/proc/meminfo")

Use = tuple[float, float]
"""GiB in use, and GiB there are."""


def watch_resources(local: Path) -> None:
    """Tells them for as long as the process lives, in a thread of its own."""
    threading.Thread(target=_watch, args=(local,), daemon=True).start()


def _watch(local: Path) -> None:
    warned: set[str] = set()
    while True:
        with suppress(Exception):  # whatever cannot be read is not told
            for line in lines(read_use(local), warned):
                say(line)
        time.sleep(PAUSE_SECONDS)


def lines(use: Mapping[str, Use], warned: set[str]) -> list[str]:
    """The status line, and a warning for each that has just become scarce; `warned` has those that
    were told.
    """
    shown = [f"{name}_gib={used:.1f}/{total:.1f}" for name, (used, total) in use.items()]
    told = [f"status {' '.join(shown)}"]
    for name, limit in (("ram", RAM_WARNING), ("disk", DISK_WARNING)):
        used, total = use.get(name, (0.0, 1.0))
        if used < total * limit:
            warned.discard(name)
        elif name not in warned:
            warned.add(name)
            told.append(f"warning: {used / total:.0%} of the pod's {name} are in use")
    return told


def read_use(local: Path) -> dict[str, Use]:
    """What can be read of GPU memory, RAM and the local disk."""
    found: dict[str, Use] = {}
    with suppress(OSError, ValueError, subprocess.SubprocessError):
        found["gpu"] = _gpu()
    with suppress(OSError, ValueError, LookupError):
        found["ram"] = ram(CGROUP, MEMINFO)
    with suppress(OSError):
        disk = shutil.disk_usage(local)
        found["disk"] = (disk.used / GIB, disk.total / GIB)
    return found


def ram(cgroup: Path, meminfo: Path) -> Use:
    """The container's own limit and use; the host's where it has no limit.

    Files in the page cache that nobody reads count as free: they go when memory is needed.
    """
    limit = cgroup / "memory.max"
    if limit.exists() and limit.read_text().strip() != "max":
        stat = dict(line.split() for line in (cgroup / "memory.stat").read_text().splitlines())
        used = int((cgroup / "memory.current").read_text()) - int(stat["inactive_file"])
        return used / GIB, int(limit.read_text()) / GIB
    host = {}
    for line in meminfo.read_text().splitlines():
        name, _, value = line.partition(":")
        host[name] = int(value.split()[0]) * 1024 / GIB
    return host["MemTotal"] - host["MemAvailable"], host["MemTotal"]


def _gpu() -> Use:
    command = ["nvidia-smi", GPU_QUERY, "--format=csv,noheader,nounits"]
    told = subprocess.check_output(command, text=True, timeout=60)
    used, total = told.splitlines()[0].split(",")
    return float(used) / 1024, float(total) / 1024
