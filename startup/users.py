"""Which user each program of the pod runs as, so that a hole in one of them reads nothing of
another.

A container starts as root. The boot stays root: it writes to the volume, which refuses chown. The
chat page, vLLM and the watchdog get users of their own: none of them can read another's
environment, where the keys are, nor stop another. Where that cannot be (a container of an ordinary
user, folders that others cannot enter), it says so and goes on: a pod that serves is worth more.
"""

import os
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pod_log import say

CAN_USE = """
[ -r "$1" ] || exit 1
[ ! -d "$1" ] || [ -x "$1" ] || exit 1
[ ! -c "$1" ] || [ -w "$1" ]
"""
"""A folder must be entered too, a device such as the GPU's be written to."""


@dataclass(frozen=True)
class User:
    """A numeric user and group without a name.

    It owns `folders` below the local folder, which are made if need be, and what is at `parts`.
    `devices` are what it must be able to use, where the container has them.
    """

    number: int
    folders: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()


USERS = {
    "vllm": User(
        20001,
        folders=("cache",),
        devices=("/dev/nvidiactl", "/dev/nvidia-uvm"),
    ),
    "webui": User(
        20002,
        folders=("webui-data",),
        # Open WebUI 0.12.4 writes its icons into its own package when it starts.
        parts=("venv-webui/lib/python3*/site-packages/open_webui/static",),
    ),
    "watchdog": User(20003),
    "olmocr": User(20004),
}


def user_for(program: str, needs: Iterable[Path], is_root: bool | None = None) -> User | None:
    """The program's own user, or None: it has none, or says that it cannot use `needs`."""
    user = USERS.get(program)
    if user is None:
        return None
    if not (os.geteuid() == 0 if is_root is None else is_root):
        _say_once(f"{program} has no user of its own: the container did not start as root")
        return None
    devices = [Path(name) for name in user.devices if Path(name).exists()]
    for path in [*needs, *devices]:
        if not _can_use(user, path):
            _say_once(f"{program} has no user of its own: user {user.number} cannot use {path}")
            return None
    return user


def run_as(user: User) -> dict[str, Any]:
    """Options of subprocess for this user."""
    return {"user": user.number, "group": user.number, "extra_groups": []}


def prepare_home(user: User, program: str, local: Path) -> dict[str, str]:
    """Gives the user its files and a home. Returns what its environment needs besides."""
    home = local / f"home-{program}"
    owned = [home]
    for name in user.folders:
        owned.append(local / name)
    for folder in owned:
        folder.mkdir(exist_ok=True)
        folder.chmod(0o700)
    for pattern in user.parts:
        owned += local.glob(pattern)
    for top in owned:
        _give(top, user.number)
    return {"HOME": str(home), "USER": program, "LOGNAME": program}


def become(program: str, needs: Iterable[Path]) -> None:
    """This process goes on as the program's own user, if it can."""
    user = user_for(program, needs)
    if user:
        os.setgroups([])
        os.setgid(user.number)
        os.setuid(user.number)


@cache
def _say_once(text: str) -> None:
    say(text)


def _give(top: Path, number: int) -> None:
    os.chown(top, number, number, follow_symlinks=False)
    for parent, folders, files in os.walk(top):
        for name in folders + files:
            os.chown(os.path.join(parent, name), number, number, follow_symlinks=False)


def _can_use(user: User, path: Path) -> bool:
    try:
        command = ["/bin/sh", "-c", CAN_USE, "sh", str(path)]
        return subprocess.run(command, check=False, cwd="/", **run_as(user)).returncode == 0
    except (OSError, subprocess.SubprocessError):
        return False
