"""Reads and writes `.env` files: parsed, never executed or expanded, and private once written."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from io import StringIO
from pathlib import Path

from podkit.errors import UsageError


def parse_env_file(path: Path) -> dict[str, str]:
    """The names and values of an `.env` file; {} if there is none.

    Raises UsageError naming a line that cannot be read.
    """
    # what dotenv_values uses; it alone reports the faulty line
    from dotenv.parser import parse_stream

    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        hint = "it must be a text file in UTF-8"
        raise UsageError(f"cannot read {path}: {error}", hint) from None
    values: dict[str, str] = {}
    for binding in parse_stream(StringIO(text)):
        if binding.error or (binding.key is not None and binding.value is None):
            whole = binding.original.string
            blank = whole[: len(whole) - len(whole.lstrip())]
            line = binding.original.line + blank.count("\n")
            hint = "quote a value with spaces, # or quotes in it: NAME='va lue'"
            raise UsageError(f"{path}, line {line}: this is not NAME=value", hint)
        if binding.key is not None and binding.value is not None:
            values[binding.key] = binding.value
    return values


def tighten(path: Path) -> bool:
    """Make the file readable by its owner alone; true if it was open to others before."""
    try:
        loose = path.exists() and bool(path.stat().st_mode & 0o077)
        if loose:
            path.chmod(0o600)
        return loose
    except OSError as error:
        raise UsageError(f"cannot make {path} private: {error}", f"chmod 600 '{path}'") from None


def write_secrets(path: Path, values: Mapping[str, str]) -> None:
    """Put `values` into the env file at `path`, mode 0600: empty lines of those names are filled,
    others appended.

    The file is replaced in one step, so a crash leaves the old one. Raises UsageError if it cannot
    be written.
    """
    try:
        path = path.resolve()
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        old = ""
        if path.exists():
            old = path.read_bytes().decode("utf-8")
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".env-")  # it is 0600
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(_fill_in(old, values).encode("utf-8"))
            os.replace(temporary, path)
        finally:
            Path(temporary).unlink(missing_ok=True)
    except OSError as error:
        hint = f"make the folder writable, or set {', '.join(values)} in the environment"
        raise UsageError(f"cannot write {path}: {error.strerror}", hint) from None


def how_to_set(name: str, value: str, path: Path) -> str:
    """The next step for a setting that is missing. A `.env` that is there is never copied over: it
    may hold keys that were made.
    """
    if path.exists():
        return f"put this line into {path}: {name}={value}"
    return f"cp .env.example .env and put {name}={value} into it"


def _fill_in(text: str, values: Mapping[str, str]) -> str:
    newline = "\n"
    if "\r\n" in text:
        newline = "\r\n"
    left = dict(values)
    lines = text.splitlines(keepends=True)
    for number, line in enumerate(lines):
        name, equals, value = line.lstrip("\ufeff").partition("=")
        key = name.strip().removeprefix("export ").strip()
        if equals and key in values and value.strip() in ("", "''", '""'):
            lines[number] = f"{line[: line.index('=')]}={values[key]}{newline}"
            left.pop(key, None)
    if left and lines and not lines[-1].endswith("\n"):
        lines[-1] += newline
    for name, value in left.items():
        lines.append(f"{name}={value}{newline}")
    return "".join(lines)
