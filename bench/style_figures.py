"""How dense podkit's code is, beside that of well-read Python projects: per 100 lines of code.

Run it as: .venv/bin/python bench/style_figures.py. It installs the others, without what they need,
into an environment that it removes again.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from tests.style import figures  # noqa: E402

OWN = ("podkit", "startup", "podkit_sandbox")
OTHERS = {"httpx": "httpx", "pipx": "pipx", "hcloud": "hcloud"}
"""Name of the distribution -> name of the package."""


def installed(folder: Path) -> dict[str, Path]:
    """Name and version of each of the others -> where its sources are now."""
    uv = ROOT / ".venv/bin/uv"
    subprocess.run(
        [uv, "pip", "install", "--quiet", "--no-deps", "--target", folder, *OTHERS],
        check=True,
    )
    found = {}
    for distribution, package in OTHERS.items():
        (metadata,) = folder.glob(f"{distribution}-*.dist-info")
        found[metadata.name.removesuffix(".dist-info").replace("-", " ")] = folder / package
    return found


def row(name: str, sources: Path) -> str:
    measured = figures(sorted(sources.rglob("*.py")))
    cells = [f"{measured[column]:.2f}" for column in COLUMNS]
    return f"| {name} | {measured['lines']:.0f} | {' | '.join(cells)} |"


COLUMNS = (
    "tuple assignments",
    "comprehensions",
    "conditional expressions",
    "characters per line",
)


def main() -> None:
    print(f"| sources | lines of code | {' | '.join(COLUMNS)} |")
    print("|---" * (len(COLUMNS) + 2) + "|")
    for name in OWN:
        print(row(f"{name}/", ROOT / name))
    with tempfile.TemporaryDirectory() as temporary:
        for name, sources in installed(Path(temporary)).items():
            print(row(name, sources))


if __name__ == "__main__":
    main()
