"""A pod that reads the PDFs of a workspace by itself, beside others, and then ends: the toolkit,
and what keeps its queue alive (read_workspace.py).
"""

import shutil
import subprocess
from pathlib import Path

from boot.configuration import Configuration
from boot.failures import Fatal
from boot.packages import install
from boot.services import Services

POPPLER = "pdftoppm"
"""The toolkit renders with it; no Python package brings it."""


class QueueDone(Exception):
    """Every PDF of the workspace was read: the pod is to end."""


def install_reader(services: Services, configuration: Configuration) -> Path:
    """The Python of the toolkit's new environment. Raises Fatal of step install."""
    if not shutil.which(POPPLER):
        services.run("apt", ["apt-get", "-q", "update"])
        install_poppler = ["install", "-q", "-y", "--no-install-recommends", "poppler-utils"]
        services.run("apt", ["apt-get", *install_poppler])
    return install(services, configuration, "olmocr") / "python"


def read_workspace(services: Services, configuration: Configuration, python: Path) -> None:
    """Reads until nothing is left, and raises QueueDone. Raises Fatal if that cannot be."""
    place = configuration.workspace
    if not place.startswith("s3://"):
        folder = configuration.volume / place.replace("volume", "podkit/ocr", 1)
        folder.mkdir(parents=True, exist_ok=True)
        # The toolkit is another user; the volume refuses chown, but takes chmod (October 2026).
        subprocess.call(["/bin/chmod", "-R", "a+rwX", str(folder)])
        place = str(folder)
    program = str(configuration.startup / "read_workspace.py")
    try:
        services.run("olmocr", [str(python), program, place])
    except Fatal as failure:
        failure.step = "read"
        raise
    raise QueueDone
