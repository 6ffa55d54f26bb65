"""Where the checkpoint comes from. Its folder on the volume is whole and right, or absent."""

import re
import shutil
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path

from pod_log import say

from boot.checks import file_statuses, folder_bytes
from boot.configuration import Configuration
from boot.failures import Fatal
from boot.fit import GIB
from boot.packages import install
from boot.phases import Phases
from boot.services import Services

ATTEMPTS = 3
STILL_SECONDS = 120.0
"""A download that does not grow for so long never ends: seen with hf_xet 1.5.1 (July 2026)."""
LONGEST_DOWNLOAD_SECONDS = 86_400
"""An unfinished download that is older belongs to nobody."""
WITHOUT_XET = ("/usr/bin/env", "HF_HUB_DISABLE_XET=1")
"""Before a command: huggingface_hub fetches over plain HTTPS then."""
WRONG_FILE = re.compile(r"^ +- (.+): expected \w+ \([\w-]+\), got \w+$", re.MULTILINE)
"""A line of `hf cache verify` (huggingface_hub 2.4.0)."""
NOT_WHOLE = re.compile(r"Checksum verification failed|Missing files \(present remotely")
DAMAGED = re.compile(
    r"SafetensorError|[Ee]rror while deserializing header|safetensors.*(corrupt|truncated)"
)
"""What vLLM says of weights that cannot be read."""


class StandsStill(Exception):
    """The download has not grown for STILL_SECONDS."""


class Download:
    """One checkpoint on its way from the Hub into a folder of its own."""

    def __init__(
        self,
        services: Services,
        configuration: Configuration,
        phases: Phases,
        incoming: Path,
    ) -> None:
        self._services = services
        self._model = configuration.model
        self._phases = phases
        self._incoming = incoming
        self._hf = install(services, configuration, "hf") / "hf"
        self._size = 0
        self._grew_at = 0.0

    def run(self) -> None:
        """Fetches all files and compares them with the Hub's. What is there already is kept.

        Raises Fatal if that fails, at once for a reason that a second attempt does not change.
        """
        for attempt in range(1, ATTEMPTS + 1):
            try:
                self._fetch(WITHOUT_XET if attempt > 1 else ())
                self._verify()
                return
            except StandsStill:
                say(f"the download stood still for {STILL_SECONDS:g} s, attempt {attempt}")
            except Fatal as failure:
                if not NOT_WHOLE.search(failure.output):
                    raise
                say(f"{failure.reason}, attempt {attempt}")
                self._remove_wrong_files(failure.output)
        reason = f"the checkpoint did not arrive whole in {ATTEMPTS} attempts"
        raise Fatal(reason, "deploy again; if it stays so, see status.huggingface.co")

    def _fetch(self, transport: tuple[str, ...]) -> None:
        self._grew_at = self._phases.elapsed()
        command = [*transport, str(self._hf), "download", self._model.repo]
        options = ["--revision", self._model.revision, "--local-dir", str(self._incoming)]
        self._services.run("hf", [*command, *options], self._tell_progress)

    def _verify(self) -> None:
        """Every file's SHA-256, or git's own hash of small ones, against the pinned revision."""
        command = [str(self._hf), "cache", "verify", self._model.repo]
        options = ["--revision", self._model.revision, "--local-dir", str(self._incoming)]
        self._services.run("hf", [*command, *options, "--fail-on-missing-files"])

    def _tell_progress(self) -> None:
        """Logs how far it is. Raises StandsStill."""
        now = self._phases.elapsed()
        total = int(self._model.needs.weights_gib * GIB)
        fetched = folder_bytes(self._incoming)
        say(f"phase=fetch event=progress t={now} bytes={fetched} total={total}")
        size = 0
        for status in file_statuses(self._incoming):
            size += status.st_size + status.st_blocks  # a file may have its whole size at once
        if size != self._size:
            self._size = size
            self._grew_at = now
        if now - self._grew_at >= STILL_SECONDS:
            raise StandsStill

    def _remove_wrong_files(self, output: str) -> None:
        """Only what is absent is fetched again."""
        for name in WRONG_FILE.findall(output):
            path = (self._incoming / name).resolve()
            if path.is_relative_to(self._incoming.resolve()):
                path.unlink(missing_ok=True)


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
    """Into a folder of its own, renamed when complete: two pods may do this at once.

    The folder has the pod's name: a container that is started again goes on with it.
    """
    incoming = target.with_name(f".incoming-{configuration.pod}-{target.name}")
    target.parent.mkdir(exist_ok=True)
    _remove_unfinished(target.parent, incoming)
    Download(services, configuration, phases, incoming).run()
    _let_others_read(incoming)
    with suppress(OSError):  # another pod may have been first
        incoming.rename(target)
    shutil.rmtree(incoming, ignore_errors=True)


def names_damaged_weights(failure: Fatal) -> bool:
    return bool(DAMAGED.search(failure.output))


def set_aside(checkpoint: Path) -> None:
    """Renames a damaged checkpoint, so that the next fetch is a new one; the last such is kept."""
    damaged = checkpoint.with_name(f"damaged-{checkpoint.name}")
    shutil.rmtree(damaged, ignore_errors=True)
    with suppress(OSError):  # another pod may have done this
        checkpoint.rename(damaged)
    say(f"vLLM cannot read {checkpoint.name}: it is {damaged.name} now and is fetched again")


def _remove_unfinished(folder: Path, ours: Path) -> None:
    """Removes what dead pods left; another living pod's download stays."""
    for old in folder.glob(".incoming-*"):
        age = time.time() - old.stat().st_mtime
        if old != ours and age > LONGEST_DOWNLOAD_SECONDS:
            shutil.rmtree(old, ignore_errors=True)


def _let_others_read(folder: Path) -> None:
    """vLLM is another user; the volume refuses chown, but takes chmod (October 2026)."""
    subprocess.call(["/bin/chmod", "-R", "a+rX", str(folder)])


def _read_into_memory(folder: Path) -> None:
    """Begins to read the weights, so that vLLM finds them in memory; nobody waits for it."""
    command = ["/bin/cat", "/dev/null", *map(str, folder.glob("*.safetensors"))]

    def read() -> None:
        subprocess.call(command, stdout=subprocess.DEVNULL)

    threading.Thread(target=read, daemon=True).start()
