"""What deploys of this checkout made, so that the next one does not make a second pod while lists
lag.

The list of the account stays the truth: an entry here only says what to wait for. It must never
make podkit take, or end, a pod.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from podkit.private_files import write_private

KEPT = 200
"""Entries of the file: enough for the names of a month's bills."""


@dataclass(frozen=True)
class MadePod:
    """A create that was sent: `made_at` in seconds since 1970, `pod_id` empty until it is known."""

    name: str
    pod_id: str
    made_at: float
    is_ended: bool = False


class MadePods:
    """The newest creates of this checkout, in a file of mode 0600.

    A file that cannot be read or written is as an empty one: the list decides.
    """

    def __init__(self, file: Path) -> None:
        self._file = file

    def of_model(self, stem: str) -> list[MadePod]:
        """Those whose name is `stem` and a suffix and whose end is not known, oldest first."""
        found = []
        for one in self._read().values():
            if one.name.rpartition("-")[0] == stem and not one.is_ended:
                found.append(one)
        return sorted(found, key=lambda one: one.made_at)

    def names(self) -> dict[str, str]:
        """The name of each by its id, also of those that have ended."""
        return {one.pod_id: one.name for one in self._read().values() if one.pod_id}

    def note(self, name: str, pod_id: str, made_at: float) -> None:
        """A create of this name was sent, and made this pod if that is known."""
        entries = self._read()
        entries[name] = MadePod(name, pod_id, made_at)
        self._write(entries)

    def forget(self, name: str) -> None:
        """No pod of this name was made."""
        entries = self._read()
        if entries.pop(name, None):
            self._write(entries)

    def note_end(self, name: str) -> None:
        """The pod of this name has ended."""
        entries = self._read()
        if name in entries:
            entries[name] = replace(entries[name], is_ended=True)
            self._write(entries)

    def _read(self) -> dict[str, MadePod]:
        found = {}
        with suppress(OSError, ValueError, TypeError, KeyError):
            for entry in json.loads(self._file.read_text(encoding="utf-8")):
                one = MadePod(
                    str(entry["name"]),
                    str(entry["pod_id"]),
                    float(entry["made_at"]),
                    bool(entry.get("is_ended")),
                )
                found[one.name] = one
        return found

    def _write(self, entries: dict[str, MadePod]) -> None:
        text = json.dumps([asdict(one) for one in list(entries.values())[-KEPT:]])
        with suppress(OSError):
            write_private(self._file, text)
