"""What the environment and .env say, as settings.

Each setting comes from flag > environment > .env > default. The sandbox has keys, volume and login
of its own: with it, none is taken from the environment or .env, and .env is never written.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from podkit.env_file import parse_env_file
from podkit.errors import UsageError
from podkit.s3 import S3Access
from podkit.secret import Secret
from podkit.setting_names import OPTIONS, is_unknown, meant_name
from podkit.urls import check_url

API_URL = "https://api.runpod.io/v2"
JOBS_URL = "https://api.runpod.ai/v2"
S3_URL = "https://s3api-{}.runpod.io"
"""The door to the network volumes of a data center, in lower case (documentation, 2026-08)."""
NONE = Secret("")
NO_VOLUME_S3 = S3Access(S3_URL.format("eu-ro-1"), "EU-RO-1", NONE, NONE, NONE)
NO_MODEL_S3 = S3Access("https://s3.us-east-1.amazonaws.com", "us-east-1", NONE, NONE, NONE)
PROXY_URL = "https://{pod_id}-{port}.proxy.runpod.net"
SANDBOX_PROXY_URL = "http://127.0.0.1:{public_port}"
BCRYPT_LIMIT = 72
"""Bytes of a password that bcrypt takes. Open WebUI 0.12.4 leaves its first account open above it.
"""
TRUE_WORDS = {"1", "true", "yes", "on"}
FALSE_WORDS = {"", "0", "false", "no", "off"}
GENERATED: dict[str, Callable[[], str]] = {
    "PODKIT_API_KEY": lambda: "pk-" + secrets.token_urlsafe(32),
    "WEBUI_ADMIN_EMAIL": lambda: f"admin-{secrets.token_hex(8)}@podkit.invalid",
    "WEBUI_ADMIN_PASSWORD": lambda: secrets.token_urlsafe(18),
    "WEBUI_SECRET_KEY": lambda: secrets.token_hex(32),
}
"""What is made where it is not set. The e-mail is a secret, too: Open WebUI limits sign-ins by
e-mail, so a stranger who knew it could lock its owner out."""
OF_ACCOUNT = ("PODKIT_API_KEY", "PODKIT_MODEL_BUCKET", "PODKIT_S3_")
"""What the sandbox is not given of podkit's own settings: keys, and the places that they open."""
IN_ENVIRONMENT = "in the environment"
IN_FILE = "in .env"
BUCKET = re.compile(r"s3://[a-z0-9][a-z0-9.-]{2,62}(/[A-Za-z0-9._-]+)*")
ORIGIN = re.compile(r"https?://[^/\s,*?#@]+", re.ASCII)


@dataclass(frozen=True)
class Settings:
    """All settings of one command, with their defaults. Hours, minutes and USD per hour; 0 turns
    idle or lifetime off.

    `budget` is what one pod may cost until its end time, in USD; `monthly_budget` what a month may,
    in all. `cors_origins` are the pages, separated by commas, that may call a pod from a browser.
    `in_stock`, `cheapest` (the order to try GPU types in), `any_gpu` (all in stock after these),
    `force` (those that seem too small, too) and `keep_failed` (keep a pod that failed) are flags
    alone. `volume_s3` is the provider's S3 door to the network volumes of the data center, with
    keys of its own; `model_s3` the server of `model_bucket`, `s3://bucket/folder`.
    `secrets` holds what a pod is given, by setting name, as far as it is set. `given` says
    of each with an option that was given how it was: the option, or its name and where it stands.
    """

    api_url: str
    proxy_url: str
    api_key: Secret
    secrets_file: Path
    jobs_url: str = JOBS_URL
    data_center: str = "EU-RO-1"
    gpus: tuple[str, ...] = ("NVIDIA L40S", "NVIDIA A100 80GB PCIe", "NVIDIA GeForce RTX 4090")
    volume_id: str = ""
    idle_minutes: float = 30
    boot_minutes: float = 30
    max_hours: float = 12
    max_price: float | None = None
    monthly_budget: float | None = None
    budget: float | None = None
    cors_origins: str = ""
    volume_s3: S3Access = NO_VOLUME_S3
    model_s3: S3Access = NO_MODEL_S3
    model_bucket: str = ""
    in_stock: bool = False
    cheapest: bool = False
    any_gpu: bool = False
    force: bool = False
    keep_failed: bool = False
    secrets: Mapping[str, Secret] = field(default_factory=dict)
    given: Mapping[str, str] = field(default_factory=dict)

    def name_as_given(self, name: str) -> str:
        """A setting as the user gave it, or its name."""
        return self.given.get(name, name)


class Sources:
    """Where a setting may come from, in order: the first that has it gives its value.

    Each is the words that say where it stands, empty for options, and its values by setting name.
    """

    def __init__(self, *ordered: tuple[str, Mapping[str, Any]]) -> None:
        self._ordered = ordered

    def given_options(self) -> dict[str, str]:
        """Those with an option that were given, each as the user gave it."""
        return {name: self.name_as_given(name) for name in OPTIONS if self.text(name)}

    def name_as_given(self, name: str) -> str:
        """A setting as the user gave it: the option that was typed, or its name and where it
        stands; its name alone if it was not given.
        """
        for place, values in self._ordered:
            if values.get(name):
                return f"{name} {place}" if place else OPTIONS.get(name, name)
        return name

    def example(self, name: str, value: str) -> str:
        """How a setting may be given, in the way in which it was."""
        told = self.name_as_given(name)
        return f"example: {told} {value}" if told.startswith("--") else f"example: {name}={value}"

    def text(self, name: str, default: str = "") -> str:
        """The checked value of a setting. Raises UsageError for one that cannot be."""
        for _, values in self._ordered:
            if values.get(name):
                return _check(name, values[name])
        return default

    def number(self, name: str, default: float, *, above_zero: bool = False) -> float:
        """The value of a setting that is a number of 0 or more."""
        text = self.text(name, str(default))
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if 0 < value < 1e6 or (value == 0 and not above_zero):
            return value
        least = "of 0 or more"
        if above_zero:
            least = "above 0"
        what = f"{self.name_as_given(name)} is {text!r}; it must be a number {least}"
        raise UsageError(what, self.example(name, "12.5"))

    def limit(self, name: str) -> float | None:
        """The value of a limit above 0; None if it is not set."""
        if not self.text(name):
            return None
        return self.number(name, 0, above_zero=True)

    def url(self, name: str, default: str) -> str:
        """The value of a setting that is a URL to which a key may be sent."""
        return check_url(name, self.text(name, default), default)


def load(
    environ: Mapping[str, str],
    root: Path,
    flags: Mapping[str, Any],
    sandbox: tuple[str, str] | None = None,
) -> Settings:
    """Settings for one command. `flags` are by setting name, None where not given; `sandbox` is its
    (URL, key).

    Raises UsageError for a value that cannot be, and for a name that is one of ours misspelt.
    """
    for name, value in flags.items():
        if value == "":
            what = f"{OPTIONS.get(name, name)} is empty"
            raise UsageError(what, "give it a value, or leave it out")
    file = root / ".env"
    from_file = parse_env_file(file)
    _refuse_misspelt(from_file, environ, file)
    if not sandbox:
        sources = Sources(("", flags), (IN_ENVIRONMENT, environ), (IN_FILE, from_file))
        return _read(sources, flags, file)
    url, key = sandbox
    file = root / ".podkit/sandbox/secrets.env"
    own = {
        **parse_env_file(file),
        "RUNPOD_API_URL": url,
        "RUNPOD_JOBS_URL": url,
        "RUNPOD_API_KEY": key,
        "RUNPOD_PROXY_URL": SANDBOX_PROXY_URL,
    }
    sources = Sources(
        ("", flags),
        (f"in {file}", own),
        (IN_ENVIRONMENT, _limits(environ)),
        (IN_FILE, _limits(from_file)),
    )
    return _read(sources, flags, file)


def _read(sources: Sources, flags: Mapping[str, Any], secrets_file: Path) -> Settings:
    found = {}
    for name in ("HF_TOKEN", *GENERATED):
        if value := sources.text(name):
            found[name] = Secret(value)
    return Settings(
        api_url=sources.url("RUNPOD_API_URL", API_URL),
        proxy_url=sources.url("RUNPOD_PROXY_URL", PROXY_URL),
        jobs_url=sources.url("RUNPOD_JOBS_URL", JOBS_URL),
        api_key=Secret(sources.text("RUNPOD_API_KEY")),
        secrets_file=secrets_file,
        data_center=sources.text("PREFERRED_DATACENTER", Settings.data_center),
        gpus=_gpus(sources),
        volume_id=sources.text("RUNPOD_NETWORK_VOLUME_ID"),
        idle_minutes=sources.number("PODKIT_IDLE_MINUTES", Settings.idle_minutes),
        boot_minutes=sources.number("PODKIT_BOOT_MINUTES", Settings.boot_minutes, above_zero=True),
        max_hours=sources.number("PODKIT_MAX_HOURS", Settings.max_hours),
        max_price=sources.limit("PODKIT_MAX_PRICE"),
        monthly_budget=sources.limit("PODKIT_MONTHLY_BUDGET"),
        budget=sources.limit("PODKIT_BUDGET"),
        cors_origins=_origins(sources.text("PODKIT_CORS_ORIGINS")),
        volume_s3=_volume_s3(sources),
        model_s3=_model_s3(sources),
        model_bucket=_bucket(sources.text("PODKIT_MODEL_BUCKET")),
        in_stock=bool(flags.get("in_stock")),
        cheapest=bool(flags.get("cheapest")),
        any_gpu=bool(flags.get("any_gpu")),
        force=bool(flags.get("force")),
        keep_failed=bool(flags.get("keep_failed")),
        secrets=found,
        given=sources.given_options(),
    )


def _volume_s3(sources: Sources) -> S3Access:
    data_center = sources.text("PREFERRED_DATACENTER", Settings.data_center)
    return S3Access(
        url=sources.url("RUNPOD_S3_URL", S3_URL.format(data_center.lower())),
        region=data_center,
        access_key=Secret(sources.text("RUNPOD_S3_ACCESS_KEY")),
        secret_key=Secret(sources.text("RUNPOD_S3_SECRET_KEY")),
        session_token=Secret(""),
    )


def _model_s3(sources: Sources) -> S3Access:
    region = sources.text("PODKIT_S3_REGION", "us-east-1")
    return S3Access(
        url=sources.url("PODKIT_S3_URL", f"https://s3.{region}.amazonaws.com"),
        region=region,
        access_key=Secret(sources.text("PODKIT_S3_ACCESS_KEY")),
        secret_key=Secret(sources.text("PODKIT_S3_SECRET_KEY")),
        session_token=Secret(sources.text("PODKIT_S3_SESSION_TOKEN")),
    )


def wants_sandbox(flag: bool, environ: Mapping[str, str], root: Path) -> bool:
    """Whether this command talks to the sandbox: --sandbox, or PODKIT_SANDBOX in the environment or
    .env.
    """
    from_file = parse_env_file(root / ".env")
    sources = Sources((IN_ENVIRONMENT, environ), (IN_FILE, from_file))
    value = sources.text("PODKIT_SANDBOX")
    if value.lower() not in TRUE_WORDS | FALSE_WORDS:
        hint = "1 for the sandbox, 0 or nothing for the account"
        raise UsageError(f"{sources.name_as_given('PODKIT_SANDBOX')} is {value!r}", hint)
    return flag or value.lower() in TRUE_WORDS


def with_secrets(settings: Settings) -> tuple[Settings, dict[str, str]]:
    """The settings with every key and login there, and those that were not set and are made here,
    by setting name.
    """
    made = {}
    for name, make in GENERATED.items():
        if name not in settings.secrets:
            made[name] = make()
    new = {name: Secret(value) for name, value in made.items()}
    return replace(settings, secrets={**settings.secrets, **new}), made


def _refuse_misspelt(from_file: Mapping[str, str], environ: Mapping[str, str], file: Path) -> None:
    for name in from_file:
        if meant := meant_name(name, in_env_file=True):
            raise UsageError(f"{file}: {name} is no setting", f"did you mean {meant}?")
        if is_unknown(name):
            raise UsageError(f"{file}: {name} is no setting", ".env.example lists them")
    for name in environ:
        if meant := meant_name(name, in_env_file=False):
            what = f"{name} in the environment is no setting"
            raise UsageError(
                what, f"did you mean {meant}? If it is another program's: unset {name}"
            )


def _limits(values: Mapping[str, str]) -> dict[str, str]:
    """Those that are the user's wishes for any pod, not the account's keys, addresses and login."""
    found = {}
    for name, value in values.items():
        is_of_account = name.startswith(OF_ACCOUNT)
        if name.startswith(("PODKIT_", "PREFERRED_")) and not is_of_account:
            found[name] = value
    return found


def _check(name: str, value: str) -> str:
    """`value`, if it may travel: official images write the environment unescaped into a file that
    is sourced.
    """
    if any(character in value for character in "\r\n\0"):
        hint = f"put it on one line in .env: {name}='...'"
        raise UsageError(f"{name} holds a line break", hint)
    if name.endswith("_API_KEY") and not value.isascii():
        what = f"{name} holds a character that no HTTP header carries"
        raise UsageError(what, "copy the key again")
    if name == "WEBUI_ADMIN_PASSWORD" and len(value.encode()) > BCRYPT_LIMIT:
        what = f"{name} is longer than {BCRYPT_LIMIT} bytes"
        raise UsageError(what, "choose a shorter one in .env")
    return value


def _gpus(sources: Sources) -> tuple[str, ...]:
    """The GPU types that are wished, in their order, each once."""
    found: list[str] = []
    for part in sources.text("PODKIT_GPUS", ",".join(Settings.gpus)).split(","):
        name = part.strip()
        if name and name not in found:
            found.append(name)
    if not found:
        hint = sources.example("PODKIT_GPUS", f"'{Settings.gpus[0]}'")
        raise UsageError(f"{sources.name_as_given('PODKIT_GPUS')} names no GPU type", hint)
    return tuple(found)


def _bucket(text: str) -> str:
    """`s3://bucket/folder` without a slash at its end. Raises UsageError for anything else."""
    if text and not BUCKET.fullmatch(text.rstrip("/")):
        hint = "such as s3://my-models/podkit"
        raise UsageError(f"PODKIT_MODEL_BUCKET is {text!r}, which names no bucket", hint)
    return text.rstrip("/")


def _origins(text: str) -> str:
    """The origins in `text`, separated by commas without spaces.

    Raises UsageError for what is none: `*` would let any page call the pod.
    """
    origins = [part.strip() for part in text.split(",") if part.strip()]
    for origin in origins:
        if not ORIGIN.fullmatch(origin):
            hint = "an origin is a scheme and a host: https://app.example.org"
            raise UsageError(f"PODKIT_CORS_ORIGINS: {origin!r} is no origin", hint)
    return ",".join(origins)
