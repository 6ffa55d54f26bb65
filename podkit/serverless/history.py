"""What was applied to an endpoint from this checkout: the way back. A file of lines for each id.

It is made 0600. A variable that the config fills in is kept as `${NAME}`, and one that seems to be
a secret in the config itself as HIDDEN, so no secret is ever in it. What the API shows of variables
never gets here.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from podkit.private_files import open_to_append

HIDDEN = "***"
"""Stands for a value that is not kept: that of the endpoint is taken again."""


@dataclass(frozen=True)
class Applied:
    """The settings of an endpoint as they were applied, their `env` unexpanded.

    `version` is the endpoint's release then, None if it was not known; `at` is RFC 3339.
    """

    at: str
    version: int | None
    settings: Mapping[str, Any] = field(repr=False)


class History:
    """The lines under `folder`, oldest first."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, endpoint_id: str) -> list[Applied]:
        """What was applied to the endpoint; a line that cannot be read is left out."""
        found = []
        with suppress(OSError):
            for line in self._file(endpoint_id).read_text(encoding="utf-8").splitlines():
                with suppress(ValueError, TypeError):
                    applied = Applied(**json.loads(line))
                    if "env" in applied.settings:
                        found.append(applied)
        return found

    def add(self, endpoint_id: str, applied: Applied) -> None:
        """Note what was applied. Raises OSError."""
        with os.fdopen(open_to_append(self._file(endpoint_id)), "a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(applied)) + "\n")

    def forget(self, endpoint_id: str) -> None:
        """Drop the lines of an endpoint that is gone."""
        with suppress(OSError):
            self._file(endpoint_id).unlink()

    def _file(self, endpoint_id: str) -> Path:
        """An id is the provider's word: nothing in it may leave the folder."""
        return self._folder / f"{re.sub(r'[^A-Za-z0-9_-]', '_', endpoint_id)}.jsonl"
