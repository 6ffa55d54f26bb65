"""Stands in for `uv venv` and `uv pip install`: a venv is a folder of wrappers around the sandbox's Python.

With PODKIT_REAL_WEBUI=1 whatever concerns a venv named `venv-webui` goes to the real uv (PODKIT_REAL_UV).
PODKIT_SANDBOX_UV_ERROR makes an installation fail with a text of uv 0.13.8.
"""

import os
import shlex
import shutil
import sys
from pathlib import Path

ERRORS = {
    "index": "error: Request failed after 3 retries in 7.0s\n  cause: Failed to fetch: https://index.invalid/simple/",
    "disk": "error: Failed to write to the client cache\n"
    "  cause: failed to write to file `.tmpcT1kNe`: No space left on device (os error 28)",
}

args = sys.argv[1:]
if os.environ.get("PODKIT_REAL_WEBUI") == "1" and any(
    "venv-webui" in Path(arg).parts for arg in args
):
    os.execv(os.environ["PODKIT_REAL_UV"], ["uv", *args])  # noqa: S606 - the program that it was meant for
match args:
    case ["venv", *_, folder]:
        path = f"{folder}/lib:{Path(__file__).parents[2]}"
        wrapper = Path(folder, "bin/python")
        wrapper.parent.mkdir(parents=True, exist_ok=True)
        wrapper.write_text(
            f'#!/bin/sh\nPYTHONPATH={shlex.quote(path)} exec {shlex.quote(sys.executable)} "$@"\n'
        )
        wrapper.chmod(0o755)
    case ["pip", "install", "--python", python, *_, package]:
        if error := os.environ.get("PODKIT_SANDBOX_UV_ERROR"):
            sys.exit(ERRORS[error])
        command = package.partition("==")[0].replace("huggingface-hub", "hf")
        shutil.copy(Path(os.environ["PODKIT_SHIMS"], "venv", command), Path(python).parent)
        if command == "open-webui":
            library = Path(python).parents[1] / "lib/open_webui"
            (library / "utils").mkdir(parents=True, exist_ok=True)
            stand_in = "from podkit_sandbox.shims.open_webui import"
            (library / "utils/auth.py").write_text(f"{stand_in} get_password_hash\n")
            (library / "main.py").write_text(f"{stand_in} app, database\n\ndatabase()\n")
    case _:
        sys.exit(2)
