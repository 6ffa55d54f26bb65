"""The only reader of the environment and of .env, and the only writer of .env.

Each setting comes from flag > environment > .env > default. `.env` is parsed, never executed and never expanded.
The sandbox has an account of its own: with it, no key, volume or login is taken from the environment or `.env`,
and `.env` is never written.
"""

from __future__ import annotations

import ipaddress
import os
import secrets
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from podkit.errors import UsageError

API_URL = "https://api.runpod.io/v2"
PROXY_URL = "https://{pod_id}-{port}.proxy.runpod.net"
SANDBOX_PROXY_URL = "http://127.0.0.1:{public_port}"
GPUS = "NVIDIA L40S,NVIDIA A100 80GB PCIe,NVIDIA GeForce RTX 4090"
BCRYPT_LIMIT = 72
"""Bytes of a password that bcrypt takes; Open WebUI 0.12.4 leaves its first account open above it."""

TRUE_WORDS = {"1", "true", "yes", "on"}
GENERATED: dict[str, Callable[[], str]] = {
    "PODKIT_API_KEY": lambda: "pk-" + secrets.token_urlsafe(32),
    "WEBUI_ADMIN_PASSWORD": lambda: secrets.token_urlsafe(18),
    "WEBUI_SECRET_KEY": lambda: secrets.token_hex(32),
}


@dataclass(frozen=True)
class Secret:
    """A text that shows itself only to `reveal()`: never in a log, a repr or an f-string."""

    _value: str

    def reveal(self) -> str:
        return self._value

    def __bool__(self) -> bool:
        return bool(self._value)

    def __repr__(self) -> str:
        return "***"


@dataclass(frozen=True)
class Settings:
    """All settings of one command. Hours, minutes and USD per hour as floats; 0 turns idle or lifetime off.

    `secrets` holds what a pod is given, by setting name, as far as it is set.
    """

    api_url: str
    proxy_url: str
    api_key: Secret
    secrets_file: Path
    data_center: str = "EU-RO-1"
    gpus: tuple[str, ...] = ()
    volume_id: str = ""
    idle_minutes: float = 30
    boot_minutes: float = 30
    max_hours: float = 12
    max_price: float | None = None
    sandbox: bool = False
    admin_email: str = "admin@podkit.local"
    secrets: Mapping[str, Secret] = field(default_factory=dict)


def parse_env_file(path: Path) -> dict[str, str]:
    """The names and values of an `.env` file; {} if there is none. Raises UsageError naming a line it cannot read."""
    from dotenv.parser import parse_stream  # what dotenv_values uses; it alone reports the faulty line

    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path}: {error}", "it must be a text file in UTF-8") from None
    values: dict[str, str] = {}
    for binding in parse_stream(StringIO(text)):
        original = binding.original
        if binding.error or (binding.key is not None and binding.value is None):
            blank = original.string[: -len(original.string.lstrip())]
            raise UsageError(
                f"{path}, line {original.line + blank.count(chr(10))}: this is not NAME=value",
                "quote a value with spaces, # or quotes in it: NAME='va lue'",
            )
        if binding.key is not None and binding.value is not None:
            values[binding.key] = binding.value
    return values


def load(
    environ: Mapping[str, str], root: Path, flags: Mapping[str, Any], sandbox: tuple[str, str] | None = None
) -> Settings:
    """Settings for one command. `flags` are by setting name, None where not given; `sandbox` is its (URL, key).

    Raises UsageError for a value that cannot be.
    """
    file = root / ".podkit/sandbox/secrets.env" if sandbox else root / ".env"
    from_file = parse_env_file(root / ".env")
    own = parse_env_file(file) if sandbox else {}

    def get(name: str, default: str = "") -> str:
        if flags.get(name) is not None:
            found = str(flags[name])
        elif sandbox and (name == "PODKIT_API_KEY" or not name.startswith(("PODKIT_", "PREFERRED_"))):
            found = own.get(name) or default
        else:
            found = environ.get(name) or from_file.get(name) or default
        return _checked(name, found)

    api_url, proxy_url, api_key = (
        (sandbox[0], SANDBOX_PROXY_URL, sandbox[1])
        if sandbox
        else (get("RUNPOD_API_URL", API_URL), get("RUNPOD_PROXY_URL", PROXY_URL), get("RUNPOD_API_KEY"))
    )
    max_price = get("PODKIT_MAX_PRICE")
    return Settings(
        api_url=_checked_url("RUNPOD_API_URL", api_url),
        proxy_url=_checked_url("RUNPOD_PROXY_URL", proxy_url),
        api_key=Secret(api_key),
        secrets_file=file,
        data_center=get("PREFERRED_DATACENTER", "EU-RO-1"),
        gpus=_gpu_list(get("PODKIT_GPUS", GPUS)),
        volume_id=get("RUNPOD_NETWORK_VOLUME_ID"),
        idle_minutes=_number("PODKIT_IDLE_MINUTES", get("PODKIT_IDLE_MINUTES", "30")),
        boot_minutes=_number("PODKIT_BOOT_MINUTES", get("PODKIT_BOOT_MINUTES", "30"), above_zero=True),
        max_hours=_number("PODKIT_MAX_HOURS", get("PODKIT_MAX_HOURS", "12")),
        max_price=_number("PODKIT_MAX_PRICE", max_price, above_zero=True) if max_price else None,
        sandbox=sandbox is not None,
        admin_email=get("WEBUI_ADMIN_EMAIL", "admin@podkit.local"),
        secrets={name: Secret(value) for name in ("HF_TOKEN", *GENERATED) if (value := get(name))},
    )


def wants_sandbox(flag: bool, environ: Mapping[str, str], root: Path) -> bool:
    """Whether this command talks to the sandbox: --sandbox, or PODKIT_SANDBOX in the environment or .env."""
    value = environ.get("PODKIT_SANDBOX") or parse_env_file(root / ".env").get("PODKIT_SANDBOX", "")
    return flag or value.lower() in TRUE_WORDS


def wants_debug(environ: Mapping[str, str]) -> bool:
    return environ.get("PODKIT_DEBUG", "").lower() in TRUE_WORDS


def _checked(name: str, value: str) -> str:
    # Official images write the environment unescaped into a file that is sourced; HTTP headers take no line breaks.
    if any(character in value for character in "\r\n\0"):
        raise UsageError(f"{name} holds a line break", f"put it on one line in .env: {name}='...'")
    if name.endswith("_API_KEY") and not value.isascii():
        raise UsageError(f"{name} holds a character that no HTTP header carries", "copy the key again")
    if name == "WEBUI_ADMIN_PASSWORD" and len(value.encode()) > BCRYPT_LIMIT:
        raise UsageError(f"{name} is longer than {BCRYPT_LIMIT} bytes", "choose a shorter one in .env")
    return value


def _number(name: str, text: str, *, above_zero: bool = False) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e6 or (above_zero and value == 0):
        least = "above 0" if above_zero else "of 0 or more"
        raise UsageError(f"{name} is {text!r}; it must be a number {least}", f"example: {name}=12.5")
    return value


def _gpu_list(text: str) -> tuple[str, ...]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise UsageError("PODKIT_GPUS names no GPU type", f"example: PODKIT_GPUS={GPUS}")
    return tuple(dict.fromkeys(names))


def is_loopback(host: str) -> bool:
    """Whether `host` can only be this machine: localhost, 127.0.0.0/8 or ::1."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _checked_url(name: str, url: str) -> str:
    bare = url.replace("{pod_id}", "pod").replace("{port}", "1").replace("{public_port}", "1")
    try:
        parts = urlsplit(bare)
        host = parts.hostname or ""
        valid = (parts.port is None or parts.port > 0) and "{" not in bare
    except ValueError:
        host, valid = "", False
    if not valid or not host or parts.scheme not in ("http", "https"):
        raise UsageError(f"{name} is {url!r}, which is not a URL", f"remove it from .env, or use {API_URL}")
    if parts.scheme == "http" and not is_loopback(host):
        raise UsageError(
            f"{name} is {url!r}: over http the key could be read on the way", "use https:// (http only for 127.0.0.1)"
        )
    return url.rstrip("/")


def missing_secrets(settings: Settings) -> dict[str, str]:
    """A fresh value for each login or key that is not set yet, by setting name."""
    return {name: make() for name, make in GENERATED.items() if name not in settings.secrets}


def with_secrets(settings: Settings, made: Mapping[str, str]) -> Settings:
    """The settings with the secrets of `made` added."""
    return replace(settings, secrets={**settings.secrets, **{name: Secret(made[name]) for name in made}})


def tighten(path: Path) -> bool:
    """Make the file readable by its owner alone; true if it was open to others before."""
    try:
        loose = bool(path.stat().st_mode & 0o077)
        if loose:
            path.chmod(0o600)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise UsageError(f"cannot make {path} private: {error}", f"chmod 600 '{path}'") from None
    return loose


def write_secrets(path: Path, values: Mapping[str, str]) -> None:
    """Put `values` into the env file at `path`, mode 0600: empty lines of those names are filled, others appended.

    The file is replaced in one step, so a crash leaves the old one. Raises UsageError if it cannot be written.
    """
    try:
        path = path.resolve()
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        old = path.read_bytes().decode("utf-8") if path.exists() else ""
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".env-")  # mkstemp makes it 0600
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(_filled_in(old, values).encode("utf-8"))
            os.replace(temporary, path)
        finally:
            Path(temporary).unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(
            f"cannot write {path}: {error.strerror}",
            f"make the folder writable, or set {', '.join(values)} in the environment",
        ) from None


def _filled_in(text: str, values: Mapping[str, str]) -> str:
    newline = "\r\n" if "\r\n" in text else "\n"
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
    return "".join(lines) + "".join(f"{name}={value}{newline}" for name, value in left.items())
