"""Stands in for `uv venv` and `uv pip install`: a venv is a folder of wrappers around the sandbox's Python.

With PODKIT_REAL_WEBUI=1 whatever concerns a venv named `venv-webui` goes to the real uv (PODKIT_REAL_UV).
"""

import os
import shlex
import shutil
import sys
from pathlib import Path

COMMANDS = {"vllm": "vllm", "huggingface_hub": "hf", "huggingface-hub": "hf", "open-webui": "open-webui"}


def make_venv(folder: Path) -> None:
    """A `bin/python` that finds the modules in the folder's own `lib` first."""
    paths = f"{folder.resolve() / 'lib'}:{Path(__file__).parents[2]}"
    wrapper = f'#!/bin/sh\nPYTHONPATH={shlex.quote(paths)} exec {shlex.quote(sys.executable)} "$@"\n'
    (folder / "bin").mkdir(parents=True, exist_ok=True)
    (folder / "bin/python").write_text(wrapper)
    (folder / "bin/python").chmod(0o755)


def install(folder: Path, packages: list[str]) -> None:
    """The commands of the packages (`NAME==VERSION`), and what of Open WebUI writes a login."""
    for package in packages:
        command = COMMANDS.get(package.partition("==")[0])
        if command:
            shutil.copy(Path(os.environ["PODKIT_SHIMS"], "venv", command), folder / "bin")
        if command == "open-webui":
            for module in ("utils/auth.py", "models/auths.py", "models/users.py"):
                target = folder / "lib/open_webui" / module
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(Path(__file__).with_name("open_webui_accounts.py"), target)
        print(f" + {package}", file=sys.stderr)


def main() -> None:
    """Runs one of the two commands; exits 2 on any other."""
    args, real = sys.argv[1:], os.environ.get("PODKIT_REAL_UV", "uv")
    if os.environ.get("PODKIT_REAL_WEBUI") == "1" and any("venv-webui" in Path(arg).parts for arg in args):
        os.execv(real, [real, *args])  # noqa: S606 - the same command line, to the program it was meant for
    if args[:1] == ["venv"]:
        make_venv(Path(args[-1]))
    elif args[:2] == ["pip", "install"]:
        python = Path(args[args.index("--python") + 1])
        install(python.parents[1], [arg for arg in args if "==" in arg])
    else:
        print("error: unrecognized subcommand (podkit sandbox)", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
