"""Scripted faults: what a scenario file may ask for, and when it happens. Must never invent one that was not asked for.

The file format is documented in docs/sandbox.md.
"""

import os
import random
import signal
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from http import HTTPStatus
from pathlib import Path
from typing import Any

from podkit_sandbox.catalog import GPUS, LEVELS, PLACES
from podkit_sandbox.wire import JSON, Answer, Cut, Problem, answer_html, blocked

NO_CAPACITY = (
    "There are no longer any instances available with the requested specifications. Please refresh and try again."
)
STATUSES = {"400", "401", "402", "403", "404", "413", "422", "429", "500", "502", "503"}
EDGE = {"html403", "html502"}
OTHERS = {"reset-before", "reset-after", "delay", "truncate", "garbage", "clock-skew", "signal"}
POD_FAULTS = {"list-lag", "twin", "stuck", "crash-loop", "restart", "price"}  # of a create, applied by the account
FAULTS = STATUSES | EDGE | OTHERS | POD_FAULTS


class ScenarioError(ValueError):
    """The scenario cannot be used; the text says what is wrong with it."""


@dataclass(frozen=True)
class Rule:
    """One fault of a scenario; which of the later fields count depends on the fault."""

    call: str
    fault: str
    gpu: str | None = None
    probability: float = 1.0
    times: int | None = None
    after: int = 0
    detail: str | None = None
    errors: tuple[str, ...] = ()
    retry_after: int = 1
    effect: bool = False
    seconds: float | None = None
    pulling: bool = False
    factor: float = 1.0
    signal: str = "SIGINT"
    pid_file: str = ""
    when: str = "before"

    def matches(self, method: str, parts: list[str], gpu: Callable[[], str | None]) -> bool:
        """Whether this rule is about that call; a segment `*` or `{id}` of its path stands for any."""
        verb, _, path = self.call.partition(" ")
        wanted = path.strip("/").split("/")
        same = len(wanted) == len(parts) and all(w[:1] in "*{" or w == p for w, p in zip(wanted, parts, strict=True))
        return (self.call == "*" or (verb in ("*", method) and same)) and self.gpu in (None, self.gpu and gpu())


@dataclass(frozen=True)
class Scenario:
    """What the sandbox is to do wrong, and the stock that it is to show and have."""

    seed: int = 1
    stock: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    rules: tuple[Rule, ...] = ()

    @classmethod
    def parse(cls, content: Any) -> "Scenario":
        """Raises ScenarioError for what is not a scenario."""
        _known(content, {"seed", "stock", "rules"}, "the scenario")
        for place, levels in content.get("stock", {}).items():
            if place not in PLACES or not {*levels} <= {*GPUS} or not {*levels.values()} <= {*LEVELS}:
                raise ScenarioError(f"stock of {place!r}: unknown data center, GPU type or level")
        return cls(content.get("seed", 1), content.get("stock", {}), tuple(map(_rule, content.get("rules", []))))


def _known(content: Any, keys: set[str], what: str) -> None:
    if not isinstance(content, dict) or not {*content} <= keys:
        raise ScenarioError(f"{what} must be an object with keys out of: {', '.join(sorted(keys))}")


def _rule(content: Any) -> Rule:
    _known(content, {entry.name for entry in fields(Rule)}, "a rule")
    fault = content.get("fault")
    if fault not in FAULTS or "call" not in content:
        raise ScenarioError(f'a rule needs "call" and "fault"; {fault!r} is none of: {", ".join(sorted(FAULTS))}')
    if fault == "signal" and not hasattr(signal, content.get("signal", "SIGINT")):
        raise ScenarioError(f"unknown signal {content['signal']!r}")
    return Rule(**{**content, "errors": tuple(content.get("errors", ()))})


class Faults:
    """Draws the faults of each call, the same ones for the same seed and the same calls."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self._rng = random.Random(scenario.seed)  # noqa: S311 - a schedule, not a secret
        self._seen = [0] * len(scenario.rules)
        self._fired = [0] * len(scenario.rules)

    def draw(self, method: str, path: str, gpu: Callable[[], str | None]) -> list[Rule]:
        """The rules that apply to this call; counts it."""
        parts = path.strip("/").split("/")[1:]
        return [
            rule
            for n, rule in enumerate(self.scenario.rules)
            if rule.matches(method, parts, gpu) and self._applies(n, rule)
        ]

    def _applies(self, n: int, rule: Rule) -> bool:
        self._seen[n] += 1
        spent = rule.times is not None and self._fired[n] >= rule.times
        if spent or self._seen[n] <= rule.after or self._rng.random() >= rule.probability:
            return False
        self._fired[n] += 1
        return True


def refusal(rules: Iterable[Rule]) -> Answer | None:
    """The answer of the first fault that comes before any effect. Raises Cut."""
    for rule in rules:
        if rule.fault == "reset-before":
            raise Cut(after=False)
        if rule.fault in STATUSES | EDGE and not rule.effect:
            return _failure(rule)
    return None


def spoil(rules: Iterable[Rule], answer: Answer) -> Answer:
    """The answer after the faults that come behind the effect. Raises Cut."""
    for rule in rules:
        if rule.fault == "reset-after":
            raise Cut(after=True)
        if rule.fault == "delay":
            answer = replace(answer, delay=answer.delay + (rule.seconds or 0.0))
        elif answer.status >= 400:
            continue
        elif rule.fault in STATUSES | EDGE and rule.effect:
            answer = replace(_failure(rule), delay=answer.delay)
        elif rule.fault == "truncate":
            whole = {**answer.headers, "Content-Length": str(len(answer.body))}
            answer = replace(answer, headers=whole, body=answer.body[: len(answer.body) // 2])
        elif rule.fault == "garbage":
            answer = replace(answer, headers={"Content-Type": JSON}, body=b"<<< this is not JSON >>>")
    return answer


def fire_signals(rules: Iterable[Rule], when: str) -> None:
    """Sends each rule's signal to the process whose id is in its pid file; a process that is gone is none."""
    for rule in rules:
        if rule.fault == "signal" and rule.when == when:
            try:
                os.kill(int(Path(rule.pid_file).read_text()), getattr(signal, rule.signal))
            except (OSError, ValueError):
                continue


def _failure(rule: Rule) -> Answer:
    if rule.fault == "html403":
        return blocked()
    if rule.fault == "html502":
        return answer_html(502, "502 Bad Gateway", "The web server reported a bad gateway error.")
    status, retry = int(rule.fault), {"Retry_After": str(rule.retry_after)} if rule.fault == "429" else {}
    usual = NO_CAPACITY if status == 400 else HTTPStatus(status).phrase
    return Problem(status, rule.detail or usual, rule.errors, **retry).answer()
