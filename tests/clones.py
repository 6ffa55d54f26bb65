"""Fresh copies of the checkout, for tests that run its scripts as people do."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
INSTALLERS = (
    "PIP_",
    "UV_",
    "SSL_CERT",
    "npm_config_",
    "NPM_CONFIG_",
    "NODE_EXTRA_CA",
    "HTTPS_PROXY",
    "https_proxy",
)
"""Variables by which a machine tells pip, uv and npm where and how to install.

A clone's environment keeps them, and PODKIT_SANDBOX_OWNER: the clone's sandbox ends with this run.
"""


@dataclass(frozen=True)
class Clone:
    """A fresh copy of the checkout, in a folder with a space.

    Its HOME is empty, and its PATH nearly so.
    """

    root: Path
    home: Path
    programs: Path

    @property
    def record(self) -> Path:
        """One JSON list a call of its sandbox: method, path, query, body, status, answer."""
        return self.home.parent / "calls.jsonl"

    def environment(self, **more: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name.startswith(INSTALLERS)}
        return {
            **kept,
            "PODKIT_SANDBOX_OWNER": str(os.getpid()),
            "PODKIT_SANDBOX_RECORD": str(self.record),
            "PATH": f"{self.programs}:/usr/bin:/bin",
            "HOME": str(self.home),
            **more,
        }

    def run(
        self,
        script: str | Path,
        *arguments: str,
        env: dict[str, str] | None = None,
        cwd: Path | None = None,
        seconds: float = 300,
    ) -> subprocess.CompletedProcess[str]:
        """Run a script of the checkout as a person would, and hand back what it printed."""
        command = [str(self.root / script), *arguments]
        return subprocess.run(
            command,
            env=self.environment(**(env or {})),
            cwd=cwd or self.home,
            capture_output=True,
            text=True,
            timeout=seconds,
            stdin=subprocess.DEVNULL,
            check=False,
        )


def copy_checkout(to: Path) -> None:
    """Copy what a clone would hold: the tracked files, and new ones that git does not ignore."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, to / name)


def new_clone(folder: Path, *programs: str | Path) -> Clone:
    """A clone below `folder` whose PATH has the given programs, under their own names,
    and the system's.
    """
    clone = Clone(folder / "a clone" / "podkit", folder / "home", folder / "programs")
    for path in (clone.root, clone.home, clone.programs):
        path.mkdir(parents=True)
    copy_checkout(clone.root)
    for program in map(Path, programs):
        (clone.programs / program.name).symlink_to(program)
    return clone
