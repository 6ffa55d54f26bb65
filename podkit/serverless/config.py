"""runpod-config.json: which serverless endpoints there are to be, a block of the file each. Pure.

It names all problems of a file at once. Values of `env` are kept as they are written: `${NAME}` is
filled in by `expanded_env` alone, on the way to the provider, and never shown.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from podkit.errors import UsageError
from podkit.secret import Secret
from podkit.serverless.problems import nearest, schema_problems

VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
SECRET_NAME = re.compile(r"(^|_)(TOKEN|KEY|SECRET|PASSWORD|CREDENTIALS?)(_|$)", re.IGNORECASE)
"""Of a variable whose value is treated as a secret even where the config holds it in clear."""
OF_PLATFORM = "{{ RUNPOD_SECRET_"
"""Begins the name of a secret that the platform fills in."""
COMPUTE = ("gpu_types", "gpu_pools", "gpu_excluded", "cpu")
"""Fields of which a block's own replace all those of the block that it extends."""
SCHEMA_HINT = "podkit/serverless/runpod-config.schema.json describes every field"


@dataclass(frozen=True)
class Cpu:
    """A CPU flavor with a number of vCPUs."""

    flavor: str
    vcpu: int


@dataclass(frozen=True)
class Service:
    """One endpoint as its block wants it, defaults filled in.

    `queue_delay` is seconds, None where `requests_per_worker` decides on the number of workers; so
    is `idle_timeout`. `execution_timeout` is seconds; `disk_gb` GB. `env` still has its `${NAME}`s.
    """

    block: str
    endpoint_name: str
    image: str
    gpu_types: tuple[str, ...]
    gpu_pools: tuple[str, ...]
    gpu_excluded: tuple[str, ...]
    gpu_count: int
    min_cuda: str
    cpu: tuple[Cpu, ...]
    min_workers: int
    max_workers: int
    queue_delay: float | None
    requests_per_worker: int | None
    idle_timeout: int | None
    execution_timeout: float
    flashboot: bool | str
    data_centers: tuple[str, ...]
    network_volumes: tuple[str, ...]
    disk_gb: int
    registry: str
    command: tuple[str, ...]
    licence: str
    env: Mapping[str, str] = field(repr=False)
    test_payload: str
    worker_folder: str
    worker_command: tuple[str, ...]

    @property
    def warnings(self) -> list[str]:
        """What is allowed, and seldom meant."""
        found = []
        name = self.image.rpartition("/")[2]
        if "@" not in name and (":" not in name or name.endswith(":latest")):
            found.append(
                f"{self.block}.image has no tag that stays the same: "
                "a push to it changes nothing for workers that have it"
            )
        for variable, value in self.env.items():
            if is_literal_secret(variable, value):
                found.append(
                    f"{self.block}.env.{variable} seems to be a secret: put it into .env, and "
                    f"${{{variable}}} here"
                )
        return found


def parse_config(
    text: str,
    environment: Mapping[str, str] | None = None,
    block: str = "",
) -> dict[str, Service]:
    """The services of a config by their block; blocks that are only extended are not among them.

    With `environment`, what it lacks is a problem as well, for all blocks or for `block` alone.
    Raises UsageError with every problem, a line each, and as the field `problems`.
    """
    document, problems = _decode(text)
    problems += schema_problems(document)
    services: dict[str, Service] = {}
    if isinstance(document, dict):
        blocks = {name: one for name, one in document.items() if isinstance(one, dict)}
        problems += _rules_of_blocks(blocks)
        for name in blocks:
            merged, unknown = _merge(name, blocks)
            problems += unknown
            if "extends" in blocks[name] and not unknown:
                problems += _new_problems(name, merged, problems)
            if not problems and "endpoint_name" in merged:
                services[name] = _service(name, merged)
    problems += _rules_between(services)
    for name, service in services.items():
        problems += _rules(service)
        if environment is not None and block in ("", name):
            problems += missing_variables(name, service.env, environment)
    if problems:
        lines = "".join(f"\n  {problem}" for problem in problems)
        raise UsageError(f"the config cannot be used:{lines}", SCHEMA_HINT, problems=problems)
    return services


def choose_service(services: Mapping[str, Service], block: str = "") -> Service:
    """The service of that block, or the only one. Raises UsageError if none, or no single one, is
    meant."""
    if block in services:
        return services[block]
    there = ", ".join(services) or "none"
    if block:
        raise UsageError(f"no service {block}{nearest(block, services)}", f"there is: {there}")
    if len(services) != 1:
        raise UsageError("which service is meant?", f"name one of: {there}")
    return next(iter(services.values()))


def missing_variables(
    block: str,
    env: Mapping[str, str],
    environment: Mapping[str, str],
) -> list[str]:
    """A sentence for each `${NAME}` of the block's env that `environment` lacks."""
    found = []
    for name, value in env.items():
        for wanted in VARIABLE.findall(value):
            if not environment.get(wanted):
                place = f"{block}.env.{name}"
                found.append(f"{place} needs {wanted}, which is not set in the environment or .env")
    return found


def is_literal_secret(name: str, value: str) -> bool:
    """Whether the value of a variable in the config itself is to be kept from eyes and files."""
    stands_for_another = VARIABLE.search(value) or OF_PLATFORM in value
    return bool(value and SECRET_NAME.search(name) and not stands_for_another)


def expand_env(
    block: str,
    env: Mapping[str, str],
    environment: Mapping[str, str],
) -> dict[str, str | Secret]:
    """The block's env with each `${NAME}` filled in; a value that has one is a Secret from then on,
    and so is one whose name says so.

    Raises UsageError if `environment` lacks a name.
    """
    if missing := missing_variables(block, env, environment):
        raise UsageError("; ".join(missing), problems=missing)
    filled: dict[str, str | Secret] = {}
    for name, value in env.items():
        filled[name] = value
        if VARIABLE.search(value) or is_literal_secret(name, value):
            filled[name] = Secret(VARIABLE.sub(lambda found: environment[found[1]], value))
    return filled


def _decode(text: str) -> tuple[Any, list[str]]:
    """The JSON, and what is wrong with it as such, also a name that is there twice."""
    twice: list[str] = []

    def table(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        twice.extend(f"{name} is there twice" for name in {*names} if names.count(name) > 1)
        return dict(pairs)

    def no_number(word: str) -> Any:
        raise ValueError(f"{word} is no JSON")

    try:
        document = json.loads(text, object_pairs_hook=table, parse_constant=no_number)
    except RecursionError:
        return {}, ["the file is nested too deeply"]
    except ValueError as error:
        return {}, [f"the file is no JSON: {error}"]
    return document, sorted(twice)


def _rules_of_blocks(blocks: Mapping[str, Any]) -> list[str]:
    """A block must be an endpoint, or be extended by one; a list of variables names each once."""
    extended = [block["extends"] for block in blocks.values() if "extends" in block]
    found = []
    for name, block in blocks.items():
        if "endpoint_name" not in block and "extends" not in block and name not in extended:
            found.append(f"{name}.endpoint_name is missing, and no block extends {name}")
        env = block.get("env")
        table = _variables(env)
        if isinstance(env, list) and isinstance(table, dict) and len(table) < len(env):
            found.append(f"{name}.env names one variable twice")
    return found


def _merge(name: str, blocks: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The block with the fields of those that it extends, and what is wrong with these."""
    chain = [name]
    while "extends" in blocks[chain[-1]]:
        base = blocks[chain[-1]]["extends"]
        if not isinstance(base, str) or base not in blocks:
            near = nearest(str(base), blocks)
            return {}, [f"{chain[-1]}.extends names no block of this file{near}"]
        if base in chain:
            return {}, [f"{name}.extends goes in a circle: {' -> '.join([*chain, base])}"]
        chain.append(base)
    merged: dict[str, Any] = {}
    for one in reversed(chain):
        own = {key: value for key, value in blocks[one].items() if key != "extends"}
        if any(key in own for key in COMPUTE):
            merged = {key: value for key, value in merged.items() if key not in COMPUTE}
        merged = _deep(merged, own)
    return merged, []


def _deep(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with what `own` says; tables are merged, all else is replaced. A list of variables is
    merged as the table that it stands for."""
    merged = dict(base)
    for key, value in own.items():
        before = merged.get(key)
        if key == "env":
            before = _variables(before)
            value = _variables(value)  # noqa: PLW2901
        if isinstance(before, dict) and isinstance(value, dict):
            merged[key] = _deep(before, value)
        else:
            merged[key] = value
    return merged


def _variables(env: Any) -> Any:
    """The table that a list of key and value stands for; what is none is left as it is."""
    if not isinstance(env, list):
        return env
    table = {}
    for pair in env:
        if not isinstance(pair, dict) or not isinstance(pair.get("key"), str):
            return env
        table[pair["key"]] = pair.get("value")
    return table


def _new_problems(name: str, merged: Mapping[str, Any], known: list[str]) -> list[str]:
    """What is wrong with a merged block, but for what its parts were already told of."""
    told = {problem.partition(".")[2] for problem in known}
    told |= {problem.partition(" ")[2] for problem in known}
    found = []
    for problem in schema_problems({name: merged}):
        rest = problem.removeprefix(name)[1:]
        if problem not in known and rest not in told:
            found.append(problem)
    return found


def _rules_between(services: Mapping[str, Service]) -> list[str]:
    """Two blocks of one endpoint name would be deployed over each other."""
    found = []
    first: dict[str, str] = {}
    for name, service in services.items():
        other = first.setdefault(service.endpoint_name, name)
        if other != name:
            found.append(f"{name}.endpoint_name is that of {other}; an endpoint has one block")
    return found


def _rules(service: Service) -> list[str]:
    """What the schema cannot express of one service."""
    found = []
    if service.min_workers > service.max_workers:
        found.append(f"{service.block}.scaling.min_workers is more than max_workers")
    if service.gpu_excluded and not service.gpu_pools:
        found.append(f"{service.block} has gpu_excluded, which holds for gpu_pools alone")
    for name, value in service.env.items():
        if "${" in VARIABLE.sub("", value):
            found.append(f"{service.block}.env.{name} has a ${{ that is not ${{NAME}}")
    places = {
        "endpoint_name": [service.endpoint_name],
        "registry": [service.registry],
        "command": service.command,
        "data_centers": service.data_centers,
        "network_volumes": service.network_volumes,
    }
    for name, words in places.items():
        if any("${" in word for word in words):
            found.append(f"{service.block}.{name} has ${{NAME}}, which is filled in only in env")
    return found


def _service(name: str, block: Mapping[str, Any]) -> Service:
    """The service of a merged block that is what the schema asks for."""
    scaling = block.get("scaling", {})
    worker = block.get("worker", {})
    by_requests = "requests_per_worker" in scaling
    return Service(
        block=name,
        endpoint_name=block["endpoint_name"],
        image=block["image"],
        gpu_types=tuple(block.get("gpu_types", ())),
        gpu_pools=tuple(block.get("gpu_pools", ())),
        gpu_excluded=tuple(block.get("gpu_excluded", ())),
        gpu_count=block.get("gpu_count", 1),
        min_cuda=block.get("min_cuda", ""),
        cpu=tuple(Cpu(one["flavor"], one["vcpu"]) for one in block.get("cpu", ())),
        min_workers=scaling.get("min_workers", 0),
        max_workers=scaling.get("max_workers", 3),
        queue_delay=None if by_requests else scaling.get("queue_delay", 4),
        requests_per_worker=scaling.get("requests_per_worker"),
        idle_timeout=None if by_requests else block.get("idle_timeout", 5),
        execution_timeout=block.get("execution_timeout", 300),
        flashboot=block.get("flashboot", True),
        data_centers=tuple(block.get("data_centers", ())),
        network_volumes=tuple(block.get("network_volumes", ())),
        disk_gb=block.get("disk_gb", 10),
        registry=block.get("registry", ""),
        command=tuple(block.get("command", ())),
        licence=block.get("licence", ""),
        env=block.get("env", {}),
        test_payload=block.get("test_payload", ""),
        worker_folder=worker.get("folder", ""),
        worker_command=tuple(worker.get("command", ())),
    )
