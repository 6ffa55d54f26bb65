"""The last lines of pods' logs, as far as podkit saw them: the API forgets a pod's log with the
pod. What boots taught about memory is kept besides, for good.

Kept for a week in .podkit, readable by their owner alone. A file that cannot be written or read
must never end a command: these lines are a comfort."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from podkit.errors import ApiError
from podkit.models.learned import MARK, read_boots
from podkit.pods.logs import LogPosition
from podkit.private_files import open_to_append, write_private
from podkit.runpod.client import RunpodClient
from podkit.runpod.logs import LogLine

KEPT_SECONDS = 7 * 24 * 3600.0
MOST_BYTES = 1_000_000
LEARNED_WITHIN = 1000
"""Lines of a log, counted from its end, in which what a boot taught is looked for."""
POD_ID = re.compile(r"[A-Za-z0-9_-]+")
"""What may be the name of a file; the ids of pods are of this shape."""


class KeptLogs:
    """The logs in one folder, a file a pod; in `boots` is what boots taught. `clock` gives seconds
    since 1970."""

    def __init__(self, folder: Path, clock: Callable[[], float], boots: Path) -> None:
        self._folder = folder
        self._boots = boots
        self._clock = clock

    def recording(self, pod_id: str, lines: Iterable[LogLine]) -> Iterator[LogLine]:
        """The lines as they come; each is kept on the way."""
        descriptor = self._open(pod_id)
        try:
            for line in lines:
                if descriptor is not None:
                    with suppress(OSError):
                        os.write(descriptor, json.dumps(asdict(line)).encode() + b"\n")
                if line.text.startswith(MARK):
                    self.learn([line.text.removeprefix(MARK)])
                yield line
        finally:
            if descriptor is not None:
                os.close(descriptor)

    def learned_lines(self) -> list[str]:
        """What boots taught, for podkit.models.learned to read."""
        with suppress(OSError):
            return self._boots.read_text("utf-8", "replace").splitlines()
        return []

    def learn(self, lines: Iterable[str]) -> None:
        """Keeps what other lines of boots teach, each once."""
        known = set(self.learned_lines())
        for line in lines:
            if line not in known:
                known.add(line)
                self._append(line)

    def learn_from_pod(self, client: RunpodClient, pod_id: str) -> None:
        """Reads a pod's log for what its boot taught, unless that is known, as it is where the boot
        was followed; no log is no failure."""
        if pod_id in {boot.pod for boot in read_boots(self.learned_lines())}:
            return
        lines = client.pod_log(pod_id, "container", LEARNED_WITHIN, brief=True)
        with suppress(ApiError):
            for _ in self.recording(pod_id, lines):
                pass

    def find(self, wanted: str) -> str:
        """The id of the pod that `wanted` is the id of, or the start of the id of; empty for none
        or several."""
        ids = []
        with suppress(OSError):
            ids = [file.stem for file in self._folder.glob("*.jsonl")]
        if wanted in ids:
            return wanted
        begun = [pod_id for pod_id in ids if wanted and pod_id.startswith(wanted)]
        return begun[0] if len(begun) == 1 else ""

    def read(self, pod_id: str, source: str) -> list[LogLine]:
        """What was seen of a pod's log, `source` container or system, each line once."""
        position = LogPosition()
        lines = []
        for line in self._read(pod_id):
            if line.source == source and position.is_new(line):
                lines.append(line)
        return lines

    def _append(self, line: str) -> None:
        with suppress(OSError):
            descriptor = open_to_append(self._boots)
            with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
                opened.write(f"{line}\n")

    def _read(self, pod_id: str) -> Iterator[LogLine]:
        with suppress(OSError):
            for raw in self._file(pod_id).read_text("utf-8", "replace").splitlines():
                with suppress(ValueError, TypeError):  # a line that was cut short
                    yield LogLine(**json.loads(raw))

    def _open(self, pod_id: str) -> int | None:
        """Where to write, None if nothing can be kept; what is old or too long goes first."""
        if not POD_ID.fullmatch(pod_id):
            return None
        file = self._file(pod_id)
        try:
            self._forget_old()
            if file.exists() and file.stat().st_size > MOST_BYTES:
                _, _, rest = file.read_text("utf-8", "replace")[-MOST_BYTES // 2 :].partition("\n")
                write_private(file, rest)
            return open_to_append(file)
        except OSError:
            return None

    def _forget_old(self) -> None:
        for file in self._folder.glob("*.jsonl"):
            if file.stat().st_mtime < self._clock() - KEPT_SECONDS:
                file.unlink(missing_ok=True)

    def _file(self, pod_id: str) -> Path:
        return self._folder / f"{pod_id}.jsonl"
