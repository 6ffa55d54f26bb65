"""A model's files from the Hub, at one commit. Used when an image is built, never by a worker."""

from __future__ import annotations

import re
from pathlib import Path

TOKEN_FILE = Path("/run/secrets/hf_token")
"""Where a build secret of the id hf_token is mounted. Absent for a public model."""


def fetch_snapshot(
    repo: str,
    revision: str,
    folder: Path,
    only: str | None = None,
) -> None:
    """Fills `folder` with the files of `repo` at `revision`, or `only` those that fit a pattern.

    Raises ValueError unless that is a full commit: a branch would be another model tomorrow.
    """
    from huggingface_hub import snapshot_download

    if not re.fullmatch(r"[0-9a-f]{40}", revision):
        raise ValueError(f"MODEL_REVISION must be a full commit of 40 hex digits, not {revision!r}")
    token = None
    if TOKEN_FILE.exists():
        token = TOKEN_FILE.read_text(encoding="ascii").strip() or None
    snapshot_download(repo, revision=revision, local_dir=folder, token=token, allow_patterns=only)
