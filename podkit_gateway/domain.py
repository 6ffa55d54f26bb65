"""The words of the gateway as frozen data: who calls, what they may use, and what a request has
used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

SCOPES = ("inference", "jobs", "usage:read", "keys:write", "admin")
PERSON_SCOPES = frozenset(SCOPES) - {"admin"}


@dataclass(frozen=True)
class Limits:
    """What one key, person, team, or person with one model may use; None means no limit of this
    kind.
    """

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    parallel: int | None = None
    tokens_per_day: int | None = None
    tokens_per_month: int | None = None
    max_tokens: int | None = None
    """The most tokens that one answer may have."""

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Limits:
        """The limits in `values`; raises ValueError for an unknown name or anything but a whole
        number >= 0.
        """
        known = {known_field.name for known_field in fields(cls)}
        for name, value in values.items():
            if name not in known:
                raise ValueError(f"no limit is called {name}; known are {', '.join(sorted(known))}")
            if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
                raise ValueError(f"{name} must be a whole number")
            if value is not None and value < 0:
                raise ValueError(f"{name} must not be negative")
        return cls(**values)

    def to_dict(self) -> dict[str, int]:
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class Subject:
    """Something that limits are counted for: `name` is unique, as `key:ab12cd34` or `owner:7`."""

    name: str
    limits: Limits


@dataclass(frozen=True)
class Caller:
    """Who makes a request, however they have shown it: by a key, a token or a browser's session."""

    owner_id: int
    key_id: str
    """The public id of the key; `session` or `token` for a person who has signed in."""
    scopes: frozenset[str]
    team: str = ""
    models: frozenset[str] | None = None
    """The models this caller may use; None means all."""
    subjects: tuple[Subject, ...] = ()
    model_limits: Mapping[str, Limits] = field(default_factory=dict)
    allow_cidrs: tuple[str, ...] = ()
    allow_fallback: bool = True
    allow_external: bool = False
    on_behalf: bool = False
    """Whether headers may name the person for whom this key asks."""
    expires: float | None = None
    """Unix time in seconds."""

    def may_use(self, model: str) -> bool:
        return self.models is None or model in self.models

    def subjects_for(self, model: str) -> tuple[Subject, ...]:
        """Everything whose limits hold for a request to `model`; the tightest wins."""
        limits = self.model_limits.get(model)
        if limits is None:
            return self.subjects
        return (*self.subjects, Subject(f"owner:{self.owner_id}:{model}", limits))


@dataclass(frozen=True)
class Tokens:
    """Tokens of one answer; `counted` is `reported`, `estimated` or `none`."""

    prompt: int = 0
    completion: int = 0
    cached: int = 0
    counted: str = "none"

    @property
    def total(self) -> int:
        return self.prompt + self.completion


@dataclass(frozen=True)
class UsageEvent:
    """One finished request. Holds numbers and names of ours, never content."""

    id: str
    time: float
    """Unix time in seconds at which it came in."""
    key_id: str
    owner_id: int
    team: str
    person: str
    """For whom a key with `on_behalf` asked; otherwise empty."""
    model_asked: str
    model: str
    backend: str
    kind: str
    status: int
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    counted: str
    units: float
    """Pages of a job, or seconds of its audio."""
    first_byte_ms: int
    total_ms: int
    bytes_in: int
    bytes_out: int
    price: float
    """USD, by the prices at that time."""
