"""Stands in for `uv venv` and `uv pip install`: a venv is a folder of wrappers around the sandbox's
Python.

With PODKIT_REAL_WEBUI=1 whatever concerns a venv named `venv-webui` goes to the real uv
(PODKIT_REAL_UV). PODKIT_SANDBOX_UV_ERROR makes an installation fail with a text of uv 0.13.8.
"""

import os
import shlex
import shutil
import sys
from pathlib import Path

ERRORS = {
    "index": (
        "error: Request failed after 3 retries in 7.0s\n"
        "  cause: Failed to fetch: https://index.invalid/simple/"
    ),
    "disk": (
        "error: Failed to write to the client cache\n"
        "  cause: failed to write to file `.tmpcT1kNe`: No space left on device (os error 28)"
    ),
}
OPEN_WEBUI = {
    "utils/auth.py": "from podkit_sandbox.shims.open_webui.accounts import get_password_hash\n",
    "main.py": (
        "from podkit_sandbox.shims.open_webui.server import LightPage\n\napp = LightPage().app()\n"
    ),
}
"""The modules of Open WebUI that a pod uses, and what stands in for them."""


def make_venv(folder: Path) -> None:
    path = f"{folder}/lib:{Path(__file__).parents[2]}"
    call = f'PYTHONPATH={shlex.quote(path)} exec {shlex.quote(sys.executable)} "$@"'
    write_program(folder / "bin/python", call)


def write_program(path: Path, call: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{call}\n")
    path.chmod(0o755)


def installed_toolkit() -> Path:
    """The Python of the olmOCR toolkit that this checkout has installed, beside its sandbox."""
    found = sorted(Path(os.environ["PODKIT_SHIMS"]).parents[1].glob("olmocr/*/bin/python"))
    if not found:
        sys.exit("error: the sandbox's pods use the toolkit of this checkout, which has none yet")
    return found[-1]


def install(python: Path, package: str) -> None:
    """Puts what stands in for a package into a venv. Ends the program if it is to fail."""
    error = os.environ.get("PODKIT_SANDBOX_UV_ERROR")
    if error:
        sys.exit(ERRORS[error])
    name = package.partition("==")[0]
    if name == "open-webui":
        for module, source in OPEN_WEBUI.items():
            path = python.parents[1] / "lib/open_webui" / module
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(source)
    elif name == "olmocr":
        write_program(python, f'exec {shlex.quote(str(installed_toolkit()))} "$@"')
    elif name != "obstore":  # the sandbox's own Python has it
        command = name.replace("huggingface-hub", "hf")
        shutil.copy(Path(os.environ["PODKIT_SHIMS"], "venv", command), python.parent)


def main(arguments: list[str]) -> int:
    """The exit status: 2 for what a pod never asks of uv."""
    of_the_page = any("venv-webui" in Path(argument).parts for argument in arguments)
    if os.environ.get("PODKIT_REAL_WEBUI") == "1" and of_the_page:
        uv = os.environ["PODKIT_REAL_UV"]
        os.execv(uv, ["uv", *arguments])  # noqa: S606 - the program that it was meant for
    match arguments:
        case ["venv", *_, folder]:
            make_venv(Path(folder))
        case ["pip", "install", "--python", python, *_, package]:
            install(Path(python), package)
        case _:
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
