"""Virtual environments of services, one for each content of a requirements.txt, and kept."""

import asyncio
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

STAMP = "podkit-complete"
"""A file in an environment that was installed to its end."""


class EnvironmentFailed(Exception):
    """The requirements could not be installed; the text is the installer's last line."""


class Environments:
    """Makes environments under `folder`, each once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._locks: dict[str, asyncio.Lock] = {}

    async def binaries(self, service: Path, log: Callable[[str], None]) -> Path:
        """The folder of programs with what the service requires installed.

        Without a requirements.txt it is that of this Python. Raises EnvironmentFailed.
        """
        requirements = service / "requirements.txt"
        if not requirements.exists():
            return Path(sys.executable).parent
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        content = requirements.read_bytes() + version.encode()
        name = hashlib.sha256(content).hexdigest()[:16]
        environment = self._folder / name
        async with self._locks.setdefault(name, asyncio.Lock()):
            if not (environment / STAMP).exists():
                log(f"installing {requirements.name} (once)")
                await asyncio.to_thread(_install, environment, requirements)
        return environment / "bin"


def _install(environment: Path, requirements: Path) -> None:
    shutil.rmtree(environment, ignore_errors=True)
    environment.parent.mkdir(parents=True, exist_ok=True)
    uv = str(Path(sys.executable).with_name("uv"))
    python = str(environment / "bin/python")
    _run([uv, "venv", "--quiet", "--python", sys.executable, str(environment)])
    _run([uv, "pip", "install", "--quiet", "--python", python, "-r", str(requirements)])
    (environment / STAMP).touch()


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["no output"]
        raise EnvironmentFailed(said[-1])
