"""What deploys of this checkout made, so that the next one does not make a second pod while lists
lag.

The list of the account stays the truth: an entry here only says what to wait for. It must never
make podkit take, or end, a pod.
"""

from __future__ import annotations

import json
import os
import tempfile
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class MadePod:
    """A create that was sent: `made_at` in seconds since 1970, `pod_id` empty until it is known."""

    name: str
    pod_id: str
    made_at: float


class MadePods:
    """The creates of this checkout whose pods are not known to have ended, in a file of mode 0600.

    A file that cannot be read or written is as an empty one: the list decides.
    """

    def __init__(self, file: Path) -> None:
        self._file = file

    def of_model(self, stem: str) -> list[MadePod]:
        """Those whose name is `stem` and a suffix, oldest first."""
        found = [one for one in self._read().values() if one.name.rpartition("-")[0] == stem]
        return sorted(found, key=lambda one: one.made_at)

    def note(self, name: str, pod_id: str, made_at: float) -> None:
        entries = self._read()
        entries[name] = MadePod(name, pod_id, made_at)
        self._write(entries)

    def forget(self, name: str) -> None:
        entries = self._read()
        if entries.pop(name, None):
            self._write(entries)

    def _read(self) -> dict[str, MadePod]:
        found = {}
        with suppress(OSError, ValueError, TypeError, KeyError):
            for entry in json.loads(self._file.read_text(encoding="utf-8")):
                one = MadePod(str(entry["name"]), str(entry["pod_id"]), float(entry["made_at"]))
                found[one.name] = one
        return found

    def _write(self, entries: dict[str, MadePod]) -> None:
        text = json.dumps([asdict(one) for one in entries.values()])
        with suppress(OSError):
            self._file.parent.mkdir(exist_ok=True)
            descriptor, part = tempfile.mkstemp(dir=self._file.parent)  # mode 0600
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
            os.replace(part, self._file)
