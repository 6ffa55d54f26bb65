"""Programs from the package index, each in an environment of its own on local disk; constraints pin
every version.
"""

from pathlib import Path

from boot.configuration import Configuration
from boot.failures import Fatal
from boot.services import Services


def install(
    services: Services,
    configuration: Configuration,
    package: str,
    name: str,
    *options: str,
) -> Path:
    """The bin folder of the new environment; constraints-<name>.txt pins what is in it. Raises
    Fatal of step install.
    """
    folder = configuration.local / f"venv-{name}"
    constraints = configuration.startup / f"constraints-{name}.txt"
    command = ["uv", "pip", "install", "--python", str(folder / "bin" / "python")]
    command += ["--compile-bytecode", "--quiet", "--constraints", str(constraints)]
    try:
        _make_environment(services, folder)
        services.run("uv", [*command, *options, package])
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
