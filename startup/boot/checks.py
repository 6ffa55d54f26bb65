"""What a boot needs, looked at before anything is installed: a failure here costs seconds, later it
costs minutes.
"""

import os
import re
import shutil
import subprocess
import sysconfig
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pod_log import say

from boot.configuration import Configuration
from boot.failures import Fatal
from boot.fit import GIB, Needs, holds_one_request

BCRYPT_BYTES = 72
OLDEST_CUDA = 13.0
"""vLLM's wheels are for CUDA 13 only from 0.20 on; this driver version belongs to it."""
VOLUME_SECONDS = 60
GPU_QUERY = "--query-gpu=name,memory.total,driver_version"


@dataclass(frozen=True)
class Gpu:
    """The pod's GPU as nvidia-smi tells it; `mib` is its memory. Its text is name and driver."""

    name: str
    mib: float
    driver: str

    def __str__(self) -> str:
        return f"{self.name} {self.driver}"


def check(configuration: Configuration) -> Gpu:
    """The GPU, once the pod has all that a boot needs. Raises Fatal naming what it lacks."""
    check_password(configuration.admin_password)
    check_compiler()
    check_disk(configuration.local, configuration.min_free_gib)
    try:
        _within(VOLUME_SECONDS, lambda: check_volume(configuration))
    except OSError as error:
        why = error.strerror or "no answer"
        reason = f"the network volume cannot be written: {why}"
        raise Fatal(reason, "enlarge it if full; deploy again") from error
    return check_gpu(configuration.model.needs, configuration.forced)


def check_password(password: str) -> None:
    if len(password.encode()) > BCRYPT_BYTES:
        reason = f"WEBUI_ADMIN_PASSWORD is longer than bcrypt's {BCRYPT_BYTES} bytes"
        raise Fatal(reason, "choose a shorter one in .env")


def check_compiler() -> None:
    header = Path(sysconfig.get_path("include"), "Python.h")
    if not shutil.which("cc") or not header.is_file():
        reason = "cc or Python.h is missing, with which vLLM compiles"
        raise Fatal(reason, "use the image that podkit names")


def check_disk(local: Path, needed_gib: float) -> None:
    free_gib = shutil.disk_usage(local).free / GIB
    if free_gib < needed_gib:
        reason = f"{free_gib:.1f} GiB free on the local disk, {needed_gib:g} needed"
        raise Fatal(reason, "deploy with a larger disk")


def check_volume(configuration: Configuration) -> None:
    """Its own free space is unknown: df shows the whole cluster, not the quota. Raises OSError if
    it refuses.
    """
    volume = configuration.volume
    if not volume.is_dir() or not (volume.is_mount() or configuration.volume_id):
        reason = f"no network volume at {volume}"
        raise Fatal(reason, "attach one: ./podkit.sh volume create --size 100")
    (volume / "podkit" / "cache").mkdir(parents=True, exist_ok=True)
    (volume / "podkit" / ".probe").write_bytes(bytes(2**20))
    used = folder_bytes(volume / "hf_cache") + folder_bytes(volume / "podkit")
    say(f"volume used_gib={used / GIB:.1f}")


def check_gpu(needs: Needs, forced: bool) -> Gpu:
    """The GPU. Its memory must hold one request of full length beside weights and
    overhead (assumed).
    """
    header = _output_of(["nvidia-smi"])
    cuda = re.search(r"CUDA (?:\w+ )?Version:\s*(\d+\.\d+)", header)
    found = cuda[1] if cuda else "0"
    if float(found) < OLDEST_CUDA:
        reason = f"the driver's CUDA is too old: {found}, {OLDEST_CUDA} is needed"
        raise Fatal(reason, f"deploy with gpu.minCudaVersion {OLDEST_CUDA}")
    rows = _output_of(["nvidia-smi", GPU_QUERY, "--format=csv,noheader,nounits"])
    name, memory_mib, driver = (part.strip() for part in rows.splitlines()[0].split(","))
    if not holds_one_request(needs, float(memory_mib) / 1024):
        reason = f"{name}: {memory_mib} MiB of GPU memory are too few for this model"
        if not forced:
            raise Fatal(reason, "use a larger GPU: --gpu")
        say(f"{reason}; going on because of --force")
    return Gpu(name, float(memory_mib), driver)


def folder_bytes(folder: Path) -> int:
    """Bytes in the folder's files; what cannot be read counts nothing."""
    return sum(status.st_size for status in file_statuses(folder))


def file_statuses(folder: Path) -> Iterator[os.stat_result]:
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                yield os.lstat(f"{parent}/{name}")


def _output_of(argv: list[str]) -> str:
    return subprocess.check_output(argv, text=True, timeout=60)


def _within(seconds: float, function: Callable[[], None]) -> None:
    """Raises TimeoutError, an OSError, after `seconds`: a dead network mount answers nothing."""
    pool = ThreadPoolExecutor(1)
    try:
        pool.submit(function).result(seconds)
    finally:
        pool.shutdown(wait=False)
