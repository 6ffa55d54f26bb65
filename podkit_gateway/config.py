"""gateway.toml: models, the backends behind them, prices and languages. Checked whole; an unknown
name is an error.

A key of a backend is never in the file: `key_env` names a variable, `key_file` a file beside
gateway.toml.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from podkit_gateway.errors import ConfigurationError
from podkit_gateway.settings import Secret, read_secret

KINDS = ("openai", "runpod-job")
MODEL_NAMES = {
    "backends",
    "context",
    "fallback",
    "hold_seconds",
    "languages",
    "price",
    "served",
    "task",
}
TASKS = ("chat", "translation", "transcription", "speech")
BACKEND_NAMES = {
    "asleep",
    "endpoint",
    "endpoint_env",
    "endpoint_name",
    "external",
    "fold",
    "key_env",
    "key_file",
    "kind",
    "url",
}


@dataclass(frozen=True)
class Price:
    """USD per million tokens, per page, and per second of audio."""

    prompt: float = 0.0
    completion: float = 0.0
    page: float = 0.0
    second: float = 0.0


@dataclass(frozen=True)
class BackendConfig:
    name: str
    kind: str
    key: Secret | None
    url: str = ""
    """Of kind openai: up to and with `/v1`."""
    endpoint: str = ""
    """Of kind runpod-job: the endpoint's id."""
    endpoint_name: str = ""
    """Of kind runpod-job: its name instead, which is looked up, so that a deploy changes
    nothing.
    """
    external: bool = False
    """Whether it belongs to a third party; a key must allow that."""
    fold: bool = False
    """Whether it is behind a proxy that cuts silent connections after 100 seconds."""
    asleep: bool = False
    """Whether it may have no replica and is then woken by waiting requests."""


@dataclass(frozen=True)
class ModelConfig:
    name: str
    backends: tuple[str, ...]
    served: str
    """The name under which the backends know the model."""
    fallback: tuple[str, ...] = ()
    context: int | None = None
    price: Price = field(default_factory=Price)
    hold_seconds: float = 0.0
    task: str = "chat"
    languages: Mapping[str, str] = field(default_factory=dict)
    """The model's code by the name that people use."""


@dataclass(frozen=True)
class Config:
    models: Mapping[str, ModelConfig] = field(default_factory=dict)
    backends: Mapping[str, BackendConfig] = field(default_factory=dict)


def load_config(path: Path, environment: Mapping[str, str]) -> Config:
    """What the file says; an absent file has no models. Raises ConfigurationError, naming the
    place.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Config()
    except (OSError, ValueError) as problem:
        raise ConfigurationError(f"{path.name}: {problem}") from None
    try:
        check_names("", document, {"models", "backends"})
        backends = {}
        for name, table in document.get("backends", {}).items():
            backends[name] = parse_backend(name, table, path.parent, environment)
        models = {}
        for name, table in document.get("models", {}).items():
            models[name] = parse_model(name, table)
        config = Config(models, backends)
        check_references(config)
    except (ConfigurationError, TypeError, ValueError) as problem:
        raise ConfigurationError(f"{path.name}: {problem}") from None
    return config


def check_names(place: str, table: Mapping[str, Any], known: set[str]) -> None:
    for name in table:
        if name not in known:
            raise ConfigurationError(f"{place or 'top level'}: unknown name {name!r}")


def parse_backend(
    name: str, table: Mapping[str, Any], folder: Path, environment: Mapping[str, str]
) -> BackendConfig:
    place = f"backends.{name}"
    check_names(place, table, BACKEND_NAMES)
    kind = table.get("kind", "openai")
    if kind not in KINDS:
        raise ConfigurationError(f"{place}: kind is one of {', '.join(KINDS)}")
    url = str(table.get("url", "")).rstrip("/")
    endpoint = str(table.get("endpoint", "") or environment.get(table.get("endpoint_env", ""), ""))
    if kind == "openai":
        check_backend_url(place, url)
    elif not endpoint and not table.get("endpoint_name"):
        raise ConfigurationError(f"{place}: set endpoint, endpoint_name, or endpoint_env")
    return BackendConfig(
        name=name,
        kind=kind,
        key=read_key(place, table, folder, environment),
        url=url,
        endpoint=endpoint,
        endpoint_name=str(table.get("endpoint_name", "")),
        external=flag(place, table, "external", False),
        fold=flag(place, table, "fold", ".proxy.runpod.net" in url),
        asleep=flag(place, table, "asleep", False),
    )


def check_backend_url(place: str, url: str) -> None:
    """Inside a cluster backends speak http, so only the form is checked; a user or query in it
    would be logged.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigurationError(f"{place}: url must be http(s)://HOST/v1")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ConfigurationError(f"{place}: url must have no user, password or query")


def read_key(
    place: str, table: Mapping[str, Any], folder: Path, environment: Mapping[str, str]
) -> Secret | None:
    if "key_env" in table:
        text = read_secret(str(table["key_env"]), environment)
        if text is None:
            raise ConfigurationError(f"{place}: {table['key_env']} is not set")
        return Secret(text)
    if "key_file" in table:
        try:
            return Secret((folder / str(table["key_file"])).read_text(encoding="utf-8").strip())
        except OSError as problem:
            raise ConfigurationError(f"{place}: key_file: {problem.strerror}") from None
    return None


def flag(place: str, table: Mapping[str, Any], name: str, default: bool) -> bool:
    value = table.get(name, default)
    if not isinstance(value, bool):
        raise ConfigurationError(f"{place}: {name} must be true or false")
    return value


def parse_model(name: str, table: Mapping[str, Any]) -> ModelConfig:
    place = f"models.{name}"
    check_names(place, table, MODEL_NAMES)
    backends = tuple(table.get("backends", ()))
    if not backends or not all(isinstance(backend, str) for backend in backends):
        raise ConfigurationError(f"{place}: backends must be a list of names")
    task = table.get("task", "chat")
    if task not in TASKS:
        raise ConfigurationError(f"{place}: task is one of {', '.join(TASKS)}")
    price = table.get("price", {})
    check_names(f"{place}.price", price, {"prompt", "completion", "page", "second"})
    return ModelConfig(
        name=name,
        backends=backends,
        served=table.get("served", name),
        fallback=tuple(table.get("fallback", ())),
        context=table.get("context"),
        price=Price(**price),
        task=task,
        hold_seconds=float(table.get("hold_seconds", 0)),
        languages=dict(table.get("languages", {})),
    )


def check_references(config: Config) -> None:
    """Raises ConfigurationError for a name that nothing has."""
    for model in config.models.values():
        for backend in model.backends:
            if backend not in config.backends:
                raise ConfigurationError(f"models.{model.name}: no backend is called {backend!r}")
        for other in model.fallback:
            if other not in config.models:
                raise ConfigurationError(f"models.{model.name}: no model is called {other!r}")
