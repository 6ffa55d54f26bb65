"""The only reader of the environment and of .env, and the only writer of .env.

Each setting comes from flag > environment > .env > default. `.env` is parsed, never executed and never expanded.
The sandbox has keys, volume and login of its own: with it, none is taken from here, and `.env` is never written.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
import secrets
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from podkit.errors import UsageError
from podkit.secret import Secret

API_URL = "https://api.runpod.io/v2"
PROXY_URL = "https://{pod_id}-{port}.proxy.runpod.net"
SANDBOX_PROXY_URL = "http://127.0.0.1:{public_port}"
BCRYPT_LIMIT = 72
"""Bytes of a password that bcrypt takes; Open WebUI 0.12.4 leaves its first account open above it."""
TRUE_WORDS, FALSE_WORDS = {"1", "true", "yes", "on"}, {"", "0", "false", "no", "off"}
GENERATED: dict[str, Callable[[], str]] = {
    "PODKIT_API_KEY": lambda: "pk-" + secrets.token_urlsafe(32),
    "WEBUI_ADMIN_PASSWORD": lambda: secrets.token_urlsafe(18),
    "WEBUI_SECRET_KEY": lambda: secrets.token_hex(32),
}


@dataclass(frozen=True)
class Settings:
    """All settings of one command, with their defaults. Hours, minutes and USD per hour; 0 turns idle or lifetime off.

    `budget` is what one pod may cost until its end time, in USD; `monthly_budget` what a month may, in all.
    `in_stock`, `cheapest` (the order to try GPU types in), `any_gpu` (all in stock after these), `force` (those that seem too small, too) and `keep_failed`
    (keep a pod that failed) are flags alone.
    `secrets` holds what a pod is given, by setting name, as far as it is set.
    """

    api_url: str
    proxy_url: str
    api_key: Secret
    secrets_file: Path
    data_center: str = "EU-RO-1"
    gpus: tuple[str, ...] = ("NVIDIA L40S", "NVIDIA A100 80GB PCIe", "NVIDIA GeForce RTX 4090")
    volume_id: str = ""
    idle_minutes: float = 30
    boot_minutes: float = 30
    max_hours: float = 12
    max_price: float | None = None
    monthly_budget: float | None = None
    budget: float | None = None
    in_stock: bool = False
    any_gpu: bool = False
    cheapest: bool = False
    force: bool = False
    keep_failed: bool = False
    sandbox: bool = False
    admin_email: str = "admin@podkit.local"
    secrets: Mapping[str, Secret] = field(default_factory=dict)


def parse_env_file(path: Path) -> dict[str, str]:
    """The names and values of an `.env` file; {} if there is none. Raises UsageError naming a line it cannot read."""
    from dotenv.parser import (
        parse_stream,
    )  # what dotenv_values uses; it alone reports the faulty line

    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"cannot read {path}: {error}", "it must be a text file in UTF-8"
        ) from None
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


def load(
    environ: Mapping[str, str],
    root: Path,
    flags: Mapping[str, Any],
    sandbox: tuple[str, str] | None = None,
) -> Settings:
    """Settings for one command. `flags` are by setting name, None where not given; `sandbox` is its (URL, key).

    Raises UsageError for a value that cannot be, and for a PODKIT_ name in `.env` that is no setting.
    """
    from_file, read = parse_env_file(root / ".env"), {"PODKIT_SANDBOX", "PODKIT_DEBUG"}
    secrets_file = root / (".podkit/sandbox/secrets.env" if sandbox else ".env")
    own: dict[str, str] = {}
    if sandbox:
        own = {**parse_env_file(secrets_file), "RUNPOD_PROXY_URL": SANDBOX_PROXY_URL}
        own["RUNPOD_API_URL"], own["RUNPOD_API_KEY"] = sandbox

    def get(name: str, default: str = "") -> str:
        read.add(name)
        if flags.get(name) is not None:
            if not flags[name]:
                raise UsageError(
                    f"the option for {name} is empty", "give it a value, or leave it out"
                )
            return _checked(name, flags[name])
        of_account = name == "PODKIT_API_KEY" or not name.startswith(("PODKIT_", "PREFERRED_"))
        value = (
            own.get(name) if sandbox and of_account else environ.get(name) or from_file.get(name)
        )
        return _checked(name, value or default)

    named = (name.strip() for name in get("PODKIT_GPUS", ",".join(Settings.gpus)).split(","))
    gpus = dict.fromkeys(name for name in named if name)
    if not gpus:
        raise UsageError(
            "PODKIT_GPUS names no GPU type", f"example: PODKIT_GPUS={Settings.gpus[0]}"
        )
    settings = Settings(
        api_url=_url("RUNPOD_API_URL", get("RUNPOD_API_URL", API_URL)),
        proxy_url=_url("RUNPOD_PROXY_URL", get("RUNPOD_PROXY_URL", PROXY_URL)),
        api_key=Secret(get("RUNPOD_API_KEY")),
        secrets_file=secrets_file,
        data_center=get("PREFERRED_DATACENTER", Settings.data_center),
        gpus=tuple(gpus),
        volume_id=get("RUNPOD_NETWORK_VOLUME_ID"),
        idle_minutes=_number(get, "PODKIT_IDLE_MINUTES", Settings.idle_minutes),
        boot_minutes=_number(get, "PODKIT_BOOT_MINUTES", Settings.boot_minutes, above_zero=True),
        max_hours=_number(get, "PODKIT_MAX_HOURS", Settings.max_hours),
        max_price=_limit(get, "PODKIT_MAX_PRICE"),
        monthly_budget=_limit(get, "PODKIT_MONTHLY_BUDGET"),
        budget=_limit(get, "PODKIT_BUDGET"),
        **{
            name: bool(flags.get(name))
            for name in ("in_stock", "any_gpu", "cheapest", "force", "keep_failed")
        },
        sandbox=sandbox is not None,
        admin_email=get("WEBUI_ADMIN_EMAIL", Settings.admin_email),
        secrets={name: Secret(value) for name in ("HF_TOKEN", *GENERATED) if (value := get(name))},
    )
    for name in from_file:
        if name.startswith("PODKIT_") and name not in read:
            near = difflib.get_close_matches(name, read, n=1)
            raise UsageError(
                f"{root / '.env'}: {name} is no setting", f"did you mean {near[0]}?" if near else ""
            )
    return settings


def wants_sandbox(flag: bool, environ: Mapping[str, str], root: Path) -> bool:
    """Whether this command talks to the sandbox: --sandbox, or PODKIT_SANDBOX in the environment or .env."""
    value = environ.get("PODKIT_SANDBOX") or parse_env_file(root / ".env").get("PODKIT_SANDBOX", "")
    if value.lower() not in TRUE_WORDS | FALSE_WORDS:
        raise UsageError(
            f"PODKIT_SANDBOX is {value!r}", "1 for the sandbox, 0 or nothing for the account"
        )
    return flag or value.lower() in TRUE_WORDS


def _checked(name: str, value: str) -> str:
    """`value`, if it may travel: official images write the environment unescaped into a file that is sourced."""
    if any(character in value for character in "\r\n\0"):
        raise UsageError(f"{name} holds a line break", f"put it on one line in .env: {name}='...'")
    if name.endswith("_API_KEY") and not value.isascii():
        raise UsageError(
            f"{name} holds a character that no HTTP header carries", "copy the key again"
        )
    if name == "WEBUI_ADMIN_PASSWORD" and len(value.encode()) > BCRYPT_LIMIT:
        raise UsageError(
            f"{name} is longer than {BCRYPT_LIMIT} bytes", "choose a shorter one in .env"
        )
    return value


def _number(
    get: Callable[[str, str], str], name: str, default: float, *, above_zero: bool = False
) -> float:
    text = get(name, str(default))
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e6 or (above_zero and value == 0):
        least = "above 0" if above_zero else "of 0 or more"
        raise UsageError(
            f"{name} is {text!r}; it must be a number {least}", f"example: {name}=12.5"
        )
    return value


def _limit(get: Callable[[str, str], str], name: str) -> float | None:
    return _number(get, name, 0, above_zero=True) if get(name, "") else None


def is_loopback(host: str) -> bool:
    """Whether `host` can only be this machine: localhost, 127.0.0.0/8 or ::1."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _url(name: str, url: str) -> str:
    bare = re.sub(r"\{(pod_id|port|public_port)\}", "1", url)
    try:
        parts = urlsplit(bare)
        host = parts.hostname or ""
        valid = host and parts.port != 0 and parts.scheme in ("http", "https") and "{" not in bare
    except ValueError:
        valid = False
    if not valid:
        raise UsageError(
            f"{name} is {url!r}, which is not a URL",
            f"remove it from .env, or use one like {API_URL}",
        )
    if parts.scheme == "http" and not is_loopback(host):
        hint = "use https:// (http only for 127.0.0.1)"
        raise UsageError(f"{name} is {url!r}: over http the key could be read on the way", hint)
    return url.rstrip("/")


def with_secrets(settings: Settings) -> tuple[Settings, dict[str, str]]:
    """The settings with every key and login there, and those that were not set and are made here, by setting name."""
    made = {name: make() for name, make in GENERATED.items() if name not in settings.secrets}
    return replace(
        settings, secrets={**settings.secrets, **{name: Secret(made[name]) for name in made}}
    ), made


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
    """Put `values` into the env file at `path`, mode 0600: empty lines of those names are filled, others appended.

    The file is replaced in one step, so a crash leaves the old one. Raises UsageError if it cannot be written.
    """
    try:
        path = path.resolve()
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        old = path.read_bytes().decode("utf-8") if path.exists() else ""
        handle, temporary = tempfile.mkstemp(
            dir=path.parent, prefix=".env-"
        )  # mkstemp makes it 0600
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(_filled_in(old, values).encode("utf-8"))
            os.replace(temporary, path)
        finally:
            Path(temporary).unlink(missing_ok=True)
    except OSError as error:
        hint = f"make the folder writable, or set {', '.join(values)} in the environment"
        raise UsageError(f"cannot write {path}: {error.strerror}", hint) from None


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
