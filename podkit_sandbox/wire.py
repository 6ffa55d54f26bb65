"""What travels between a client and the account, and what a scenario (docs/sandbox.md) makes go wrong on the way."""

import json
import os
import random
import re
import signal
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from pathlib import Path
from typing import Any

CATALOG: dict[str, Any] = json.loads(Path(__file__).with_name("catalog.json").read_text())
GPUS = {gpu["id"]: gpu for gpu in CATALOG["gpus"]}
PLACES = {place["id"]: place for place in CATALOG["dataCenters"]}
RULE: dict[str, Any] = CATALOG["rule"]
FAULTS: dict[str, float] = CATALOG["faults"]  # with the seconds where a rule names none
ERRORS = {fault for fault in FAULTS if fault[-3:].isdecimal()}


@dataclass(frozen=True)
class Call:
    """One request; `path` starts with /v2, names of headers are in lower case."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True)
class Answer:
    """One response, held back for `delay` seconds; `more` is what a stream gives after it, b"" for nothing new."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    delay: float = 0.0
    more: Iterator[bytes] | None = None

    def http(self) -> bytes:
        """As it goes over its connection, which ends then; in the middle, if a longer Content-Length was put in."""
        length = {} if self.more or self.status == 204 else {"Content-Length": len(self.body)}
        headers = {"Connection": "close", **length, **self.headers}
        lines = [
            f"HTTP/1.1 {self.status} ",
            *(f"{name}: {value}" for name, value in headers.items()),
            "",
            "",
        ]
        return "\r\n".join(lines).encode() + self.body


class Cut(Exception):
    """The connection is reset."""


class Problem(Exception):
    """Ends a call with `answer`, an error as the provider words it."""

    def __init__(
        self, status: int, detail: str = "", errors: Iterable[str] = (), **headers: str
    ) -> None:
        title = HTTPStatus(status).phrase
        body = {"title": title, "status": status, "detail": detail or title, "errors": [*errors]}
        self.answer = Answer(
            status,
            {"Content-Type": "application/problem+json", **headers},
            json.dumps(body).encode(),
        )


def reply(content: object, status: int = 200) -> Answer:
    """A JSON answer."""
    return Answer(status, {"Content-Type": "application/json"}, json.dumps(content).encode())


def page(status: int) -> Answer:
    """A page of the edge (Cloudflare), which is never the API's own word; 403 is for a client that it does not like."""
    html = f"<html><head><title>{status}</title></head><body>{CATALOG['pages'][str(status)]}</body></html>"
    return Answer(
        status, {"Content-Type": "text/html; charset=UTF-8", "Server": "cloudflare"}, html.encode()
    )


class Scenario:
    """What goes wrong, and the stock that there is; the same seed and the same calls give the same faults."""

    def __init__(
        self, seed: int = 1, stock: Mapping[str, Mapping[str, str]] | None = None, rules: Any = ()
    ) -> None:
        self.stock, self._rng = stock or {}, random.Random(seed)  # noqa: S311 - a schedule, not a secret
        self._rules: list[dict[str, Any]] = [{**RULE, **rule} for rule in rules]
        for rule in self._rules:
            if (
                rule.keys() != RULE.keys()
                or rule["fault"] not in FAULTS
                or not hasattr(signal, rule["signal"])
            ):
                raise ValueError(f"{rule}: needs call and fault, may have {', '.join(RULE)}")
            rule |= {"seconds": rule["seconds"] or FAULTS[rule["fault"]], "seen": 0, "fired": 0}

    @classmethod
    def parse(cls, content: Any) -> "Scenario":
        """Raises ValueError or TypeError for what is not a scenario."""
        return cls(**content)

    def draw(self, call: Call) -> list[dict[str, Any]]:
        """The rules that apply to this call; counts it."""
        drawn, text = [], f"{call.method} {call.path.removeprefix('/v2')}"
        for rule in self._rules:
            pattern = ".*" if rule["call"] == "*" else re.sub(r"\{\w+\}|\*", "[^/]+", rule["call"])
            if re.fullmatch(pattern, text) and (
                rule["gpu"] is None or f'"{rule["gpu"]}"'.encode() in call.body
            ):
                rule["seen"] += 1
                spent = rule["times"] is not None and rule["fired"] >= rule["times"]
                if (
                    not spent
                    and rule["seen"] > rule["after"]
                    and self._rng.random() < rule["probability"]
                ):
                    rule["fired"] += 1
                    drawn.append(rule)
        return drawn


def befall(rules: Iterable[dict[str, Any]], answer: Answer | None) -> Answer | None:
    """What the faults make of an answer; or, while there is none, the answer in place of any effect. Raises Cut."""
    when = "before" if answer is None else "after"
    for rule in rules:
        fault = rule["fault"]
        if fault == f"reset-{when}":
            raise Cut
        if (fault, rule["when"]) == ("signal", when):
            with suppress(OSError, ValueError):  # a process that is gone
                os.kill(int(Path(rule["pid_file"]).read_text()), getattr(signal, rule["signal"]))
        elif answer is None:
            if fault in ERRORS and not rule["effect"]:
                return _error(rule)
        elif fault == "delay":
            answer = replace(answer, delay=answer.delay + rule["seconds"])
        elif answer.status < 400 and fault in ERRORS:
            answer = replace(_error(rule), delay=answer.delay)
        elif answer.status < 400 and fault == "truncate":
            whole = {**answer.headers, "Content-Length": str(len(answer.body))}
            answer = replace(answer, headers=whole, body=answer.body[: len(answer.body) // 2])
        elif answer.status < 400 and fault == "garbage":
            answer = replace(answer, body=b"<<< this is not JSON >>>")
    return answer


def _error(rule: dict[str, Any]) -> Answer:
    if rule["fault"].startswith("html"):
        return page(int(rule["fault"][4:]))
    status, headers = int(rule["fault"]), {"Retry-After": str(rule["retry_after"])}
    detail = rule["detail"] or (CATALOG["noCapacity"] if status == 400 else "")
    return Problem(status, detail, rule["errors"], **(headers if status == 429 else {})).answer
