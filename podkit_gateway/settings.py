"""The only reader of the environment. Every secret may be given as NAME_FILE, a path, instead of
NAME.

An unknown GATEWAY_ name is an error: a misspelt limit must not become no limit.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from urllib.parse import urlsplit

from podkit_gateway.errors import ConfigurationError

MIB = 1024 * 1024
SECRETS = (
    "GATEWAY_DATABASE_URL",
    "GATEWAY_GOOGLE_CLIENT_SECRET",
    "GATEWAY_REDIS_URL",
    "GATEWAY_RESULTS_KEY",
    "GATEWAY_TOKEN_KEYS",
)


class Secret(str):
    """A text that shows itself to nobody by accident; `reveal()` gives it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "Secret(...)"

    def __str__(self) -> str:
        return "..."

    def __format__(self, _spec: str) -> str:
        return "..."

    def reveal(self) -> str:
        return str.__str__(self)


@dataclass(frozen=True)
class Settings:
    """Each field `x` is the environment's GATEWAY_X."""

    database_url: Secret
    redis_url: Secret | None = None
    config: Path = Path("gateway.toml")
    host: str = "127.0.0.1"
    port: int = 8080
    metrics_host: str = "127.0.0.1"
    metrics_port: int = 9100
    public_url: str = "http://127.0.0.1:8080"
    name: str = "podkit gateway"
    logo: Path | None = None
    key_prefix: str = "pk"
    key_env: str = "live"
    max_body: int = 32 * MIB
    sign_up: str = "closed"
    sign_up_domains: tuple[str, ...] = ()
    google_client_id: str = ""
    google_client_secret: Secret | None = None
    google_domains: tuple[str, ...] = ()
    google_issuer: str = "https://accounts.google.com"
    token_keys: Secret | None = None
    """`id:secret,id:secret`: the first signs, all are accepted."""
    cors_origins: tuple[str, ...] = ()
    allow_cidrs: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()
    limits_fail: str = "closed"
    log_client: bool = False
    replicas: int = 1
    """How many processes of the gateway share the database."""
    drain_seconds: float = 60
    body_seconds: float = 60
    """The longest that a request's body may take to arrive."""
    default_parallel: int = 4
    default_requests_per_minute: int = 60
    default_max_tokens: int = 0
    """0: no cap of the gateway's own."""
    keep_usage_days: int = 30
    keep_results_days: int = 0
    """How long results of jobs stay in the database; 0: they are not written there."""
    results_key: Secret | None = None
    """What results in the database are encrypted with."""
    uploads: Path | None = None
    """A folder for audio that is too large for a job; shared by all processes."""
    max_upload: int = 200 * 1_000_000
    jobs_url: str = "https://api.runpod.ai/v2"
    api_url: str = "https://api.runpod.io/v2"
    tls_cert: Path | None = None
    tls_key: Path | None = None
    backup_folder: Path | None = None

    @property
    def secure(self) -> bool:
        """Whether people reach the gateway by https."""
        return self.public_url.startswith("https://")

    @property
    def origin(self) -> str:
        parts = urlsplit(self.public_url)
        return f"{parts.scheme}://{parts.netloc}"


def parse_list(text: str) -> tuple[str, ...]:
    words = (word.strip() for word in text.split(","))
    return tuple(word for word in words if word)


def parse_flag(text: str) -> bool:
    if text.lower() in {"1", "true", "yes", "on"}:
        return True
    if text.lower() in {"0", "false", "no", "off"}:
        return False
    raise ValueError("must be 1 or 0")


def parse_count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError("must not be negative")
    return number


def parse_choice(*choices: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}")
        return text

    return parse


def parse_cidrs(text: str) -> tuple[str, ...]:
    return tuple(str(ipaddress.ip_network(word, strict=False)) for word in parse_list(text))


def parse_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme == "https" and parts.hostname:
        return text.rstrip("/")
    if parts.scheme == "http" and parts.hostname in {"127.0.0.1", "localhost", "::1"}:
        return text.rstrip("/")
    raise ValueError("must be an https URL, or http on this machine")


def parse_word(text: str) -> str:
    if not text.isalnum() or not text.isascii():
        raise ValueError("must be letters and digits")
    return text


PARSERS: Mapping[str, Callable[[str], object]] = {
    "str": str,
    "int": parse_count,
    "float": float,
    "bool": parse_flag,
    "Path": Path,
    "Path | None": Path,
    "Secret": Secret,
    "Secret | None": Secret,
    "tuple[str, ...]": parse_list,
}
SPECIAL: Mapping[str, Callable[[str], object]] = {
    "allow_cidrs": parse_cidrs,
    "api_url": parse_url,
    "google_issuer": parse_url,
    "jobs_url": parse_url,
    "key_env": parse_word,
    "key_prefix": parse_word,
    "limits_fail": parse_choice("closed", "open"),
    "public_url": parse_url,
    "sign_up": parse_choice("closed", "domain", "open"),
    "trusted_proxies": parse_cidrs,
}


def read_secret(name: str, environment: Mapping[str, str]) -> str | None:
    """The value of NAME, or of the file that NAME_FILE names; None if neither is set. Raises
    ConfigurationError.
    """
    path = environment.get(f"{name}_FILE", "")
    value = environment.get(name, "")
    if path and value:
        raise ConfigurationError(f"{name} and {name}_FILE are both set; keep one")
    if path:
        try:
            return Path(path).read_text(encoding="utf-8").strip()
        except OSError as problem:
            raise ConfigurationError(f"{name}_FILE: {problem.strerror}") from None
    return value or None


def load_settings(environment: Mapping[str, str]) -> Settings:
    """The settings in `environment`. Raises ConfigurationError, naming the variable."""
    types = {setting.name: str(setting.type) for setting in fields(Settings)}
    known = {f"GATEWAY_{name.upper()}" for name in types} | {f"{name}_FILE" for name in SECRETS}
    for name in environment:
        if name.startswith("GATEWAY_") and name not in known:
            raise ConfigurationError(f"unknown setting {name}")
    values: dict[str, object] = {"database_url": default_database(environment)}
    for field_name, type_name in types.items():
        name = f"GATEWAY_{field_name.upper()}"
        text = read_secret(name, environment) if name in SECRETS else environment.get(name)
        if not text:
            continue
        parse = SPECIAL.get(field_name, PARSERS[type_name])
        try:
            values[field_name] = parse(text)
        except ValueError as problem:
            raise ConfigurationError(f"{name}: {problem}") from None
    values.setdefault("public_url", f"http://127.0.0.1:{values.get('port', Settings.port)}")
    settings = Settings(**values)  # type: ignore[arg-type]
    check_together(settings)
    return settings


def default_database(environment: Mapping[str, str]) -> Secret:
    """SQLite in systemd's state directory, otherwise in the current one."""
    folder = Path(environment.get("STATE_DIRECTORY") or ".")
    return Secret(f"sqlite+aiosqlite:///{folder / 'gateway.db'}")


def check_together(settings: Settings) -> None:
    """Raises ConfigurationError for settings that do not go together."""
    several = settings.replicas > 1
    if several and settings.redis_url is None:
        raise ConfigurationError(
            "several processes need GATEWAY_REDIS_URL: each would count limits for itself"
        )
    if several and settings.database_url.reveal().startswith("sqlite"):
        raise ConfigurationError("several processes need PostgreSQL in GATEWAY_DATABASE_URL")
    if several and settings.token_keys is None:
        raise ConfigurationError("several processes need GATEWAY_TOKEN_KEYS: one signs for all")
    if bool(settings.google_client_id) != bool(settings.google_client_secret):
        raise ConfigurationError(
            "GATEWAY_GOOGLE_CLIENT_ID and GATEWAY_GOOGLE_CLIENT_SECRET go together"
        )
    if settings.sign_up == "domain" and not settings.sign_up_domains:
        raise ConfigurationError("GATEWAY_SIGN_UP=domain needs GATEWAY_SIGN_UP_DOMAINS")
    if "*" in settings.cors_origins:
        raise ConfigurationError("GATEWAY_CORS_ORIGINS is an exact list; * is not accepted")
    if bool(settings.keep_results_days) != (settings.results_key is not None):
        raise ConfigurationError("GATEWAY_KEEP_RESULTS_DAYS and GATEWAY_RESULTS_KEY go together")
    if settings.uploads is not None and not settings.secure:
        raise ConfigurationError(
            "GATEWAY_UPLOADS needs an https GATEWAY_PUBLIC_URL: workers fetch the audio from there"
        )
    if bool(settings.tls_cert) != bool(settings.tls_key):
        raise ConfigurationError("GATEWAY_TLS_CERT and GATEWAY_TLS_KEY go together")
