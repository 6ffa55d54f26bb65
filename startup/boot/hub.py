"""The checkpoint from the Hugging Face Hub: every file of the pinned revision, compared with the
Hub's own hashes.
"""

import os
import re
from contextlib import suppress
from pathlib import Path

from pod_log import say

from boot.checks import file_statuses, folder_bytes
from boot.configuration import Configuration
from boot.failures import Fatal
from boot.fit import GIB
from boot.manifest import NAME, SHA256, make_manifest
from boot.packages import install
from boot.phases import Phases
from boot.services import Services

ATTEMPTS = 3
STILL_SECONDS = 120.0
"""A download that does not grow for so long never ends: seen with hf_xet 1.5.1 (July 2026)."""
WITHOUT_XET = ("/usr/bin/env", "HF_HUB_DISABLE_XET=1")
"""Before a command: huggingface_hub fetches over plain HTTPS then."""
WRONG_FILE = re.compile(r"^ +- (.+): expected \w+ \([\w-]+\), got \w+$", re.MULTILINE)
"""A line of `hf cache verify` (huggingface_hub 2.4.0)."""
NOT_WHOLE = re.compile(r"Checksum verification failed|Missing files \(present remotely")
METADATA = Path(".cache/huggingface/download")
"""Where huggingface_hub 2.4.0 notes of each file its commit, then its ETag: for a large file that
is its SHA-256.
"""


class StandsStill(Exception):
    """The download has not grown for STILL_SECONDS."""


class Growth:
    """Tells how far a download into a folder is, and when it stands still."""

    def __init__(
        self,
        configuration: Configuration,
        phases: Phases,
        folder: Path,
        *,
        is_ours: bool = True,
    ) -> None:
        """`is_ours` is false for another pod's download, which is only watched."""
        self._total = int(configuration.model.needs.weights_gib * GIB)
        self._phases = phases
        self._folder = folder
        self._is_ours = is_ours
        self._size = 0
        self._grew_at = phases.elapsed()

    def beat(self) -> None:
        """Shows other pods on the volume that this one is at work: boot/turns.py looks at it."""
        if self._is_ours:
            with suppress(OSError):
                os.utime(self._folder)

    def begin(self) -> None:
        """A new attempt."""
        self._grew_at = self._phases.elapsed()

    def tell(self) -> None:
        """Logs how far it is. Raises StandsStill."""
        self.beat()
        now = self._phases.elapsed()
        fetched = folder_bytes(self._folder)
        say(f"phase=fetch event=progress t={now} bytes={fetched} total={self._total}")
        size = 0
        for status in file_statuses(self._folder):
            size += status.st_size + status.st_blocks  # a file may have its whole size at once
        if size != self._size:
            self._size = size
            self._grew_at = now
        if now - self._grew_at >= STILL_SECONDS:
            raise StandsStill


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
        self._growth = Growth(configuration, phases, incoming)
        self._incoming = incoming
        self._hf = install(services, configuration, "hf") / "hf"

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
        self._growth.begin()
        command = [*transport, str(self._hf), "download", self._model.repo]
        options = ["--revision", self._model.revision, "--local-dir", str(self._incoming)]
        self._services.run("hf", [*command, *options], self._growth.tell)

    def _verify(self) -> None:
        """Every file's SHA-256, or git's own hash of small ones, against the pinned revision."""
        command = [str(self._hf), "cache", "verify", self._model.repo]
        options = ["--revision", self._model.revision, "--local-dir", str(self._incoming)]
        self._services.run("hf", [*command, *options, "--fail-on-missing-files"], self._growth.beat)

    def _remove_wrong_files(self, output: str) -> None:
        """Only what is absent is fetched again."""
        for name in WRONG_FILE.findall(output):
            path = (self._incoming / name).resolve()
            if path.is_relative_to(self._incoming.resolve()):
                path.unlink(missing_ok=True)


def fetch_from_hub(
    services: Services, configuration: Configuration, phases: Phases, folder: Path
) -> bool:
    """Fills `folder`, and writes its manifest. Raises Fatal if that fails."""
    Download(services, configuration, phases, folder).run()
    model = configuration.model
    manifest = make_manifest(folder, model.repo, model.revision, hashes_of_hub(folder))
    (folder / NAME).write_text(manifest.text())
    return True


def hashes_of_hub(folder: Path) -> dict[str, str]:
    """The SHA-256 of large files, as `hf download` noted them and `hf cache verify` proved them."""
    known = {}
    for note in (folder / METADATA).rglob("*.metadata"):
        lines = note.read_text(errors="replace").splitlines()
        if len(lines) > 1 and SHA256.fullmatch(lines[1]):
            name = note.relative_to(folder / METADATA).as_posix()
            known[name.removesuffix(".metadata")] = lines[1]
    return known
