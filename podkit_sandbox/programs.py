"""The programs that stand in for what needs a GPU or a gigabyte, first in the PATH of every pod."""

import shlex
import sys
import sysconfig
from pathlib import Path

SHIMS = {
    "uv": "uv",
    "nvidia-smi": "nvidia_smi",
    "cc": "cc",
    "venv/vllm": "vllm",
    "venv/hf": "hf",
}
"""The module of podkit_sandbox.shims behind each program."""
PATCH = """\
import sysconfig
for scheme in sysconfig._INSTALL_SCHEMES.values():
    scheme['include'] = {folder!r}
"""
"""Has Python look for its header in the sandbox's folder."""


def write_shims(folder: Path) -> None:
    """Writes the programs into `folder`; `python3` is the sandbox's own."""
    here = Path(__file__).resolve().parent.parent
    site = folder / "site"
    for made in (site, folder / "venv"):
        made.mkdir(parents=True, exist_ok=True)
    _write(folder / "python3", site, [])
    for name, module in SHIMS.items():
        _write(folder / name, here, ["-P", "-m", f"podkit_sandbox.shims.{module}"])
    header = Path(sysconfig.get_path("include"), "Python.h")
    if not header.exists():  # a laptop may lack it, a pod's image does not
        (site / "Python.h").touch()
        (site / "sitecustomize.py").write_text(PATCH.format(folder=str(site)))


def _write(file: Path, python_path: Path, options: list[str]) -> None:
    """Writes a program that runs this Python with these options, then the caller's."""
    path = f"{shlex.quote(str(python_path))}${{PYTHONPATH:+:$PYTHONPATH}}"
    command = shlex.join([sys.executable, *options])
    file.write_text(f'#!/bin/bash\nPYTHONPATH={path} exec {command} "$@"\n')
    file.chmod(0o755)
