"""What a service needs before it can run here: its requirements, and a model. Made once, and kept.

An environment is known by the content of requirements.txt. A service that has a `tiny_model.py`
makes its own small stand-in for the model of its image.
"""

import asyncio
import hashlib
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

STAMP = "podkit-complete"
"""A file in a folder that was made to its end."""
TINY_MODEL = "tiny_model.py"
MORE_FOR_TINY_MODEL = "requirements-tiny.txt"
"""What a small model is made with, where that is not the service's own requirements."""


class EnvironmentFailed(Exception):
    """The requirements or the model could not be made; the text is the last line that was said."""


@dataclass(frozen=True)
class Environment:
    """Where a service's programs and its model are; no model, if it makes none."""

    binaries: Path
    model: Path | None


class Environments:
    """Makes environments under `folder`, each once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._turn = asyncio.Lock()

    async def prepare(self, service: Path, log: Callable[[str], None]) -> Environment:
        """What the service in that folder needs. Raises EnvironmentFailed.

        Without a requirements.txt its programs are those of this Python.
        """
        requirements = service / "requirements.txt"
        binaries = Path(sys.executable).parent
        model = None
        async with self._turn:
            if requirements.exists():
                environment = self._folder / _name_of(requirements)
                if not (environment / STAMP).exists():
                    log(f"installing {requirements.name} (once)")
                    await _install(environment, requirements)
                binaries = environment / "bin"
            maker = service / TINY_MODEL
            if maker.exists():
                model = self._folder / f"model-{_name_of(maker)}"
                if not (model / STAMP).exists():
                    log(f"making a small stand-in for the model ({TINY_MODEL}, once)")
                    await _make_model(await self._for_making(service, binaries), maker, model)
        return Environment(binaries, model)

    async def _for_making(self, service: Path, binaries: Path) -> Path:
        """The programs that make the service's small model, if it needs others than its own."""
        more = service / MORE_FOR_TINY_MODEL
        if not more.exists():
            return binaries
        environment = self._folder / _name_of(more)
        if not (environment / STAMP).exists():
            await _install(environment, more)
        return environment / "bin"


def _name_of(file: Path) -> str:
    """A name for what is made from this file by this Python."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return hashlib.sha256(file.read_bytes() + version.encode()).hexdigest()[:16]


async def _install(environment: Path, requirements: Path) -> None:
    shutil.rmtree(environment, ignore_errors=True)
    environment.parent.mkdir(parents=True, exist_ok=True)
    uv = str(Path(sys.executable).with_name("uv"))
    python = str(environment / "bin/python")
    await _run([uv, "venv", "--quiet", "--python", sys.executable, str(environment)])
    await _run([uv, "pip", "install", "--quiet", "--python", python, "-r", str(requirements)])
    (environment / STAMP).touch()


async def _make_model(binaries: Path, maker: Path, model: Path) -> None:
    shutil.rmtree(model, ignore_errors=True)
    await _run([str(binaries / "python"), "-B", str(maker), str(model)])
    (model / STAMP).touch()


async def _run(command: list[str]) -> None:
    """Runs a program to its end; one that is cancelled is killed."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await process.communicate()
    finally:
        with suppress(ProcessLookupError):
            process.kill()
    if process.returncode:
        said = output.decode(errors="replace").strip().splitlines() or ["no output"]
        raise EnvironmentFailed(said[-1])
