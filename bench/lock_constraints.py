"""Makes startup/constraints-*.txt again: what a pod installs, each version with the hash of its
wheel.

    python bench/lock_constraints.py [NAME...]

Versions are resolved for every platform, since the sandbox's real Open WebUI runs on laptops too. A
pod is Linux on x86_64 with Python 3.12: for that there is one hash a package, of the one wheel that
fits best, because all of startup/ travels in one environment variable. Packages newer than CUTOFF
do not exist for it, so the same files come out whenever this runs. Raises SystemExit for a package
without a wheel: a pod builds nothing.
"""

import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from packaging.markers import Marker
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import parse_wheel_filename

STARTUP = Path(__file__).resolve().parents[1] / "startup"
sys.path.insert(0, str(STARTUP))
from boot.packages import PACKAGES  # noqa: E402 - found through the line above

CUTOFF = "2026-11-20T00:00:00Z"
"""The same moment as UV_EXCLUDE_NEWER in startup/uv.env."""
ON_LAPTOPS_TOO = {"webui"}
"""The sandbox can install the real one; of the others it has stand-ins."""
PYTHON = (3, 12)
NEWEST_GLIBC = 39
"""Ubuntu 24.04, on which the pod's image is built, has glibc 2.39."""
OLDEST_GLIBC = 5
OLD_NAMES = {17: "manylinux2014_x86_64", 12: "manylinux2010_x86_64", 5: "manylinux1_x86_64"}
POD = {
    "implementation_name": "cpython",
    "implementation_version": "3.12.3",
    "os_name": "posix",
    "platform_machine": "x86_64",
    "platform_python_implementation": "CPython",
    "platform_release": "",
    "platform_system": "Linux",
    "platform_version": "",
    "python_full_version": "3.12.3",
    "python_version": "3.12",
    "sys_platform": "linux",
}


def resolve(name: str) -> list[dict[str, Any]]:
    """Every package that PACKAGES[name] needs, as uv's pylock.toml has it."""
    with tempfile.TemporaryDirectory() as folder:
        lock = Path(folder, "pylock.toml")
        command = ["uv", "pip", "compile", "-", "--universal", "--python-version", "3.11"]
        command += ["--exclude-newer", CUTOFF, "--quiet", "--output-file", str(lock)]
        overrides = STARTUP / f"{name}-overrides.txt"
        if overrides.exists():
            command += ["--override", str(overrides)]
        subprocess.run(command, input=PACKAGES[name], text=True, check=True)
        packages: list[dict[str, Any]] = tomllib.loads(lock.read_text())["packages"]
    return packages


def pod_tags() -> list[Tag]:
    """What a pod can install, the best first."""
    platforms = []
    for minor in range(NEWEST_GLIBC, OLDEST_GLIBC - 1, -1):
        platforms.append(f"manylinux_2_{minor}_x86_64")
        if minor in OLD_NAMES:
            platforms.append(OLD_NAMES[minor])
    platforms.append("linux_x86_64")
    tags = list(cpython_tags(PYTHON, platforms=platforms))
    tags += compatible_tags(PYTHON, interpreter="cp312", platforms=platforms)
    return tags


def wheel_hash(package: dict[str, Any], tags: list[Tag]) -> str:
    """SHA-256 of the wheel that a pod installs. Raises SystemExit if there is none."""
    best = ""
    best_rank = len(tags)
    for wheel in package.get("wheels", []):
        filename = wheel.get("name") or wheel["url"].rpartition("/")[2]
        for tag in parse_wheel_filename(filename)[3]:
            rank = tags.index(tag) if tag in tags else len(tags)
            if rank < best_rank:
                best = wheel["hashes"]["sha256"]
                best_rank = rank
    if not best:
        sys.exit(f"{package['name']} {package['version']} has no wheel for a pod")
    return best


def laptops() -> list[dict[str, str]]:
    """Where the sandbox runs."""
    found = []
    for minor in range(11, 15):
        python = f"3.{minor}"
        version = {"python_version": python, "python_full_version": f"{python}.1"}
        for machine in ("x86_64", "aarch64"):
            found.append({**POD, **version, "platform_machine": machine})
        mac = {"sys_platform": "darwin", "platform_system": "Darwin", "platform_machine": "arm64"}
        found.append({**POD, **version, **mac})
    return found


def requirement(package: dict[str, Any], places: list[dict[str, str]], tags: list[Tag]) -> str:
    """A line of a requirements file; with a hash if a pod installs the package.

    Empty if nobody does. `places` are those besides a pod that install from this file. The marker
    is left out where it is true everywhere.
    """
    marker = Marker(package.get("marker", "python_version >= '3'"))
    wanted = [marker.evaluate(place) for place in [POD, *places]]
    if not any(wanted):
        return ""
    line = f"{package['name']}=={package['version']}"
    if not all(wanted):
        line += f" ; {marker}"
    if wanted[0]:
        line += f" --hash=sha256:{wheel_hash(package, tags)}"
    return line


def main(names: list[str]) -> None:
    tags = pod_tags()
    for name in names or sorted(PACKAGES):
        lines = [f"# {PACKAGES[name]}, made by bench/lock_constraints.py"]
        places = laptops() if name in ON_LAPTOPS_TOO else []
        for package in resolve(name):
            line = requirement(package, places, tags)
            if line:
                lines.append(line)
        (STARTUP / f"constraints-{name}.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
