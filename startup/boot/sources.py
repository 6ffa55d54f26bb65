"""Where the checkpoint comes from. Its folder on the volume is whole or absent, never half."""

import os
import shutil
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path

from pod_log import say

from boot.checks import folder_bytes
from boot.configuration import Configuration
from boot.fit import GIB
from boot.packages import install
from boot.phases import Phases
from boot.services import Services

LONGEST_DOWNLOAD_SECONDS = 86_400
"""An unfinished download that is older belongs to nobody."""


def fetch(services: Services, configuration: Configuration, phases: Phases) -> Path:
    """The pinned checkpoint's folder: untouched if it is there, else downloaded."""
    target = configuration.volume / "hf_cache" / configuration.model.folder_name
    if not (target / "config.json").is_file():
        download(services, configuration, phases, target)
    _read_into_memory(target)
    return target


def download(
    services: Services,
    configuration: Configuration,
    phases: Phases,
    target: Path,
) -> None:
    """Into a folder of its own, renamed when complete: two pods may do this at once."""
    model = configuration.model
    target.parent.mkdir(exist_ok=True)
    _remove_unfinished(target.parent, configuration.pod)
    incoming = target.with_name(f".incoming-{configuration.pod}-{os.urandom(4).hex()}")
    hf = install(services, configuration, "huggingface-hub", "hf") / "hf"
    total = int(model.needs.weights_gib * GIB)

    def tell_progress() -> None:
        event = f"phase=fetch event=progress t={phases.elapsed()}"
        say(f"{event} bytes={folder_bytes(incoming)} total={total}")

    command = [str(hf), "download", model.repo, "--revision", model.revision]
    services.run("hf", [*command, "--local-dir", str(incoming)], tell_progress)
    with suppress(OSError):  # another pod may have been first
        incoming.rename(target)
    shutil.rmtree(incoming, ignore_errors=True)


def _remove_unfinished(folder: Path, pod: str) -> None:
    """Removes what this pod and dead ones left; another living pod's download stays."""
    for old in folder.glob(".incoming-*"):
        age = time.time() - old.stat().st_mtime
        if f"-{pod}-" in old.name or age > LONGEST_DOWNLOAD_SECONDS:
            shutil.rmtree(old, ignore_errors=True)


def _read_into_memory(folder: Path) -> None:
    """Begins to read the weights, so that vLLM finds them in memory; nobody waits for it."""
    command = ["/bin/cat", "/dev/null", *map(str, folder.glob("*.safetensors"))]

    def read() -> None:
        subprocess.call(command, stdout=subprocess.DEVNULL)

    threading.Thread(target=read, daemon=True).start()
