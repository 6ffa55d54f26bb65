"""Images of the services, built without Docker: buildah as root, on a Debian base made with
mmdebstrap.

The host's package settings and certificates are lent to the build, so that it finds what the host
finds.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from podkit.lock import hold_lock

from .workers import ROOT, SERVICES

CACHE = ROOT / ".podkit/services"
BASE = "localhost/debian-base"
LENT = {
    Path("/etc/pip.conf"): "/etc/pip.conf",
    Path.home() / ".config/pip": "/root/.config/pip",
    Path("/etc/ssl/certs"): "/etc/ssl/certs",
    Path("/opt"): "/opt",
}


def require_buildah() -> None:
    """Skips where images cannot be built. Fails if only programs are missing and nothing may be
    skipped."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("images are built by root on Linux")
    missing = [name for name in ("buildah", "mmdebstrap") if not shutil.which(name)]
    if missing and os.environ.get("PODKIT_NO_SKIPS"):
        pytest.fail(f"not installed: {missing}")
    if missing:
        pytest.skip(f"not installed: {missing}")


class Images:
    """A store of images in `folder`, which is deleted by `remove`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def layers(self) -> Path:
        """Where every layer of every stage lies as files."""
        return self._folder / "root"

    def buildah(
        self, *arguments: str, check: bool = True, text: str = ""
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self._words(*arguments),
            input=text,
            capture_output=True,
            text=True,
            check=check,
            env=self._environment(),
        )

    def _words(self, *arguments: str) -> list[str]:
        return [
            "buildah",
            "--root",
            str(self._folder / "root"),
            "--runroot",
            str(self._folder / "run"),
            "--storage-driver",
            os.environ.get("STORAGE_DRIVER", "overlay"),
            *arguments,
        ]

    def _environment(self) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "HOME": str(self._folder)}

    def make_base(self) -> None:
        """A Debian with Python, in place of the base that only a registry has."""
        archive = CACHE / "debian-bookworm.tar"
        with hold_lock(archive.with_suffix(".lock"), lambda: None):  # each worker of a run
            if not archive.exists():
                half = archive.with_suffix(".half")
                packages = "--include=python3,python3-venv,ca-certificates"
                command = ["mmdebstrap", "--variant=minbase", packages, "bookworm", str(half)]
                subprocess.run(command, check=True, capture_output=True)
                half.rename(archive)
        container = self.buildah("from", "scratch").stdout.strip()
        self.buildah("add", "--quiet", container, str(archive), "/")
        self.buildah("commit", "--quiet", "--rm", container, BASE)

    def build(
        self,
        service: str,
        context: Path,
        secret: Path | None = None,
        file: Path | None = None,
    ) -> str:
        """Builds the image of `service` from `context`, a copy of services/ unless `file` is given.
        Returns its output.
        """
        lent = []
        if secret is not None:
            lent.append(f"--secret=id=hf_token,src={secret}")
        for path, place in LENT.items():
            if path.exists():
                lent += ["--volume", f"{path}:{place}:ro"]
        done = self.buildah(
            "bud",
            "--isolation=chroot",
            "--layers",
            "--pull-never",
            f"--build-arg=BASE={BASE}",
            *lent,
            f"--file={file or context / service / 'Dockerfile'}",
            f"--tag=localhost/{service}",
            str(context),
            check=False,
        )
        assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
        return done.stdout + done.stderr

    def mount(self, service: str) -> tuple[str, Path]:
        """A container of the image, and the folder of its files."""
        container = self.buildah("from", "--pull-never", f"localhost/{service}").stdout.strip()
        return container, Path(self.buildah("mount", container).stdout.strip())

    def run(
        self, container: str, *command: str, text: str = ""
    ) -> subprocess.CompletedProcess[str]:
        words = ("run", "--isolation=chroot", container, "--", *command)
        return self.buildah(*words, check=False, text=text)

    def start(self, container: str, *command: str, **variables: str) -> subprocess.Popen[bytes]:
        """A program in the container that runs until it is ended, on the host's network."""
        given = [f"--env={name}={value}" for name, value in variables.items()]
        words = self._words("run", "--isolation=chroot", *given, container, "--", *command)
        return subprocess.Popen(words, env=self._environment())

    def size(self, service: str) -> int:
        """MB, by what the files of the image take."""
        container, folder = self.mount(service)
        done = subprocess.run(
            ["du", "-sm", str(folder)], capture_output=True, text=True, check=True
        )
        self.buildah("rm", container)
        return int(done.stdout.split()[0])

    def remove(self) -> None:
        self.buildah("rm", "--all", check=False)
        self.buildah("rmi", "--all", "--force", check=False)


def make_context(folder: Path, service: str, model: Path) -> Path:
    """A copy of services/ whose `service` is given the model in `model`."""
    context = folder / "context"
    shutil.copytree(SERVICES, context, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(model, context / service / "given_model", dirs_exist_ok=True)
    return context
