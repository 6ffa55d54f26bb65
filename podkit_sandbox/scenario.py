"""What goes wrong on purpose: a scenario's rules, and what they make of an answer.

Must never draw from unseeded chance: the same seed and the same calls give the same faults.
"""

import copy
import os
import random
import re
import signal
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from podkit_sandbox.serverless.services import parse_service
from podkit_sandbox.wire import Answer, Call, Cut, Problem, html_page

FOREVER = 1e9  # seconds
NO_CAPACITY = (
    "There are no longer any instances available with the requested specifications. "
    "Please refresh and try again."
)
STATUSES = (302, 400, 401, 402, 403, 404, 408, 413, 422, 429, 500, 502, 503)
PAGES = {"html200": 200, "html403": 403, "html502": 502, "edge524": 524}
ERRORS = {str(status) for status in STATUSES} | {*PAGES}
SECONDS: dict[str, float] = {
    "drip": 1,
    "stuck": FOREVER,
    "pull-failed": FOREVER,
    "crash-loop": 2,
    "zero-uptime": 20,
    "restart": 1,
    "log-silent": 15,
    "log-replay": 2,
    "throttled": FOREVER,
    "unhealthy": FOREVER,
    "slow-start": 10,
    "status-lag": 5,
    "worker-dies": 0.5,
}
"""The seconds of a fault whose rule names none, where that is not 0."""
OTHERS = """
    reset-before reset-after delay truncate garbage clock-skew date signal foreign
    list-lag twin price log-seconds log-id-refused
    quota image-missing idle-scale-down result-lost late-progress take-400
"""
FAULTS = ERRORS | {*SECONDS} | {*OTHERS.split()}
"""Every fault that a rule may name; docs/sandbox.md describes them."""


@dataclass
class Rule:
    """One rule of a scenario; the fields are described in docs/sandbox.md."""

    call: str = "*"
    fault: str = ""
    gpu: str | None = None
    probability: float = 1.0
    times: int | None = None
    after: int = 0
    effect: bool = False
    detail: str = ""
    errors: list[str] = field(default_factory=list)
    retry_after: int | None = None
    seconds: float | None = None
    pulling: bool = False
    factor: float = 1.0
    signal: str = "SIGINT"
    pid_file: str = ""
    when: str = "before"
    text: str = ""
    items: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.fault not in FAULTS:
            raise ValueError(f"{self.fault!r} is no fault; there are: {', '.join(sorted(FAULTS))}")
        if not hasattr(signal, self.signal):
            raise ValueError(f"{self.signal!r} is no signal")
        if self.seconds is None:
            self.seconds = SECONDS.get(self.fault, 0.0)
        self._seen = 0
        self._fired = 0
        anywhere = re.sub(r"\{\w+\}|\*", "[^/]+", self.call)
        self._pattern = re.compile(".*" if self.call == "*" else anywhere)

    def applies(self, call: Call, rng: random.Random) -> bool:
        """Whether the fault happens in this call, which is counted."""
        if not self._pattern.fullmatch(f"{call.method} {call.path.removeprefix('/v2')}"):
            return False
        if self.gpu is not None and f'"{self.gpu}"'.encode() not in call.body:
            return False
        self._seen += 1
        if self.times is not None and self._fired >= self.times:
            return False
        if self._seen <= self.after or rng.random() >= self.probability:
            return False
        self._fired += 1
        return True


class Drawn:
    """The faults of one call."""

    def __init__(self, rules: Iterable[Rule] = ()) -> None:
        self.rules = list(rules)
        self._by_fault = {rule.fault: rule for rule in self.rules}

    def __contains__(self, fault: str) -> bool:
        return fault in self._by_fault

    def get(self, fault: str) -> Rule | None:
        """The rule that plays this fault, if one does."""
        return self._by_fault.get(fault)

    def seconds(self, fault: str) -> float:
        """The seconds of this fault, 0 without it."""
        rule = self._by_fault.get(fault)
        return rule.seconds or 0.0 if rule else 0.0


class Scenario:
    """What goes wrong, the stock that there is, and what the account may have."""

    def __init__(
        self,
        seed: int = 1,
        stock: Mapping[str, Mapping[str, str]] | None = None,
        rules: Iterable[Mapping[str, Any]] = (),
        quota: int = 5,
        images: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        """`quota` is the highest sum of all endpoints' max workers.

        `images` maps an image's name to {"folder", "command"}, the service that runs for it here.
        """
        self.stock = stock or {}
        self.quota = quota
        self.images = {image: parse_service(row) for image, row in (images or {}).items()}
        self._rng = random.Random(seed)  # noqa: S311 - a schedule, not a secret
        self._rules = [Rule(**rule) for rule in rules]

    @classmethod
    def parse(cls, content: Any) -> "Scenario":
        """The scenario of a file's content. Raises ValueError or TypeError if it is none."""
        for rule in content.get("rules", ()) if isinstance(content, dict) else ():
            unknown = {*rule} - {one.name for one in fields(Rule)}
            if unknown or not {"call", "fault"} <= {*rule}:
                raise ValueError(f"{rule}: needs call and fault; unknown: {sorted(unknown)}")
        return cls(**content)

    def begin(self) -> "Scenario":
        """The same scenario with counts and chance of its own."""
        begun = copy.copy(self)
        begun._rng = copy.copy(self._rng)
        begun._rules = copy.deepcopy(self._rules)
        return begun

    def draw(self, call: Call) -> Drawn:
        """The faults of this call, which is counted."""
        return Drawn([rule for rule in self._rules if rule.applies(call, self._rng)])


def answer_before_effect(drawn: Drawn) -> Answer | None:
    """The answer that comes in place of any effect, if a fault wants one. Raises Cut."""
    for rule in drawn.rules:
        if rule.fault == "reset-before":
            raise Cut
        if rule.fault == "signal" and rule.when == "before":
            _send_signal(rule)
        elif rule.fault in ERRORS and not rule.effect:
            return _error(rule)
    return None


def spoil(drawn: Drawn, answer: Answer) -> Answer:
    """What the faults make of an answer whose call has had its effect. Raises Cut."""
    for rule in drawn.rules:
        if rule.fault == "reset-after":
            raise Cut
        if rule.fault == "signal" and rule.when == "after":
            _send_signal(rule)
        elif rule.fault == "delay":
            answer = replace(answer, delay=answer.delay + (rule.seconds or 0.0))
        elif rule.fault == "drip":
            answer = replace(answer, drip=rule.seconds or 0.0)
        elif answer.status < 400:
            answer = _spoil_success(rule, answer)
    return answer


def _spoil_success(rule: Rule, answer: Answer) -> Answer:
    if rule.fault in ERRORS:
        return replace(_error(rule), delay=answer.delay)
    if rule.fault == "garbage":
        return replace(answer, body=b"<<< this is not JSON >>>")
    if rule.fault == "truncate":
        cut = replace(answer, body=answer.body[: len(answer.body) // 2])
        return cut.with_headers(Content_Length=str(len(answer.body)))
    return answer


def _send_signal(rule: Rule) -> None:
    with suppress(OSError, ValueError):  # a process that is gone
        os.kill(int(Path(rule.pid_file).read_text()), getattr(signal, rule.signal))


def _error(rule: Rule) -> Answer:
    if rule.fault in PAGES:
        return html_page(PAGES[rule.fault])
    status = int(rule.fault)
    if status == 302:
        return Answer(302, {"Location": rule.text or "/login"})
    headers = {}
    retry_after = rule.retry_after
    if status == 429 and retry_after is None:
        retry_after = 1
    if retry_after is not None:
        headers["Retry-After"] = str(retry_after)
    detail = rule.detail
    if status == 400 and not detail:
        detail = NO_CAPACITY
    return Problem(status, detail, rule.errors, headers).answer
