"""Programs from the package index, each in an environment of its own on local disk.

Only the pinned versions, only wheels, and only those with the pinned hash: a package that was
replaced in the index must never get in.
"""

from pathlib import Path

from boot.configuration import Configuration
from boot.failures import Fatal
from boot.services import Services

PACKAGES = {
    "hf": "huggingface-hub==2.4.0",
    "olmocr": "olmocr==0.4.27",
    "s3": "obstore==0.12.1",
    "vllm": "vllm==0.32.0",
    "webui": "open-webui==0.12.4",
}
"""What each environment is made for; bench/lock_constraints.py makes its constraints of this."""


def install(
    services: Services,
    configuration: Configuration,
    name: str,
    *options: str,
) -> Path:
    """The bin folder of the new environment for PACKAGES[name]. Raises Fatal of step
    install.

    constraints-<name>.txt has version and hash of everything in it. uv.env demands the hashes.
    """
    folder = configuration.local / f"venv-{name}"
    constraints = configuration.startup / f"constraints-{name}.txt"
    command = ["uv", "pip", "install", "--python", str(folder / "bin" / "python")]
    command += ["--compile-bytecode", "--quiet", "--no-build", "--constraints", str(constraints)]
    try:
        _make_environment(services, folder)
        services.run("uv", [*command, *options, PACKAGES[name]])
    except Fatal as failure:
        failure.step = "install"
        raise
    return folder / "bin"


def _make_environment(services: Services, folder: Path) -> None:
    command = ["uv", "venv", "--no-python-downloads", "--python"]
    try:
        services.run("uv", [*command, "3.12", str(folder)])
    except Fatal:
        services.run("uv", [*command, "3.11", str(folder)])
