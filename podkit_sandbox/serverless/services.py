"""Which folder of this machine holds the service of an image. Nothing is pulled or built."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

COMMAND = ("python", "-u", "src/handler.py")


@dataclass(frozen=True)
class Service:
    """A worker's code: its folder, and the command that runs it there."""

    folder: Path
    command: tuple[str, ...] = COMMAND


def parse_service(content: Mapping[str, Any]) -> Service:
    """The service of {"folder", "command"}; a command is a list or a shell's words.

    Raises ValueError.
    """
    unknown = {*content} - {"folder", "command"}
    folder = content.get("folder")
    if unknown or not isinstance(folder, str):
        raise ValueError(f"a service needs a folder, may have a command; unknown: {unknown}")
    if not Path(folder).is_absolute() or not Path(folder).is_dir():
        raise ValueError(f"{folder!r} is no absolute path of a folder")
    command = content.get("command") or COMMAND
    words = shlex.split(command) if isinstance(command, str) else [str(word) for word in command]
    return Service(Path(folder), tuple(words))


def read_service(content: Mapping[str, Any]) -> tuple[str, Service]:
    """The image and the service of {"image", "folder", "command"}. Raises ValueError."""
    image = content.get("image")
    if not isinstance(image, str) or not image:
        raise ValueError("image is missing")
    rest = {name: value for name, value in content.items() if name != "image"}
    return image, parse_service(rest)


def find_service(images: Mapping[str, Service], image: str) -> Service | None:
    """The service of this image, or of the same image with whatever tag or digest."""
    if image in images:
        return images[image]
    return images.get(without_tag(image))


def without_tag(image: str) -> str:
    """The image's name without tag and digest; a registry's port is no tag."""
    name = image.partition("@")[0]
    folder, slash, last = name.rpartition("/")
    return folder + slash + last.partition(":")[0]
