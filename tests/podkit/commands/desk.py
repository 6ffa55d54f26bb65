"""What tests of the commands share: an account that answers, how a command ended, and a deploy of
a small model.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click
import requests_mock as mocking

from tests.podkit.samples import API, CLIENT_KEY, GPU, HEX, KEY, PASSWORD, POD, VOLUME

ONE = f"{API}/pods/{POD['id']}"


NO_STOCK = "There are no longer any instances available with the requested specifications."


ENV = f"""\
RUNPOD_API_KEY={KEY}
PODKIT_API_KEY={CLIENT_KEY}
WEBUI_ADMIN_PASSWORD={PASSWORD}
WEBUI_SECRET_KEY={HEX}
WEBUI_ADMIN_EMAIL=admin@podkit.local
"""


REVISION = "0123456789abcdef0123456789abcdef01234567"


SCRIPT = """\
export MODEL_REPO="org/mine"
export MODEL_REVISION="0123456789abcdef0123456789abcdef01234567"
export MODEL_SERVED_NAMES="mine"
export MODEL_WEIGHTS_GIB="9.5"
export MODEL_KV_BYTES_PER_TOKEN="57344"
export MODEL_MAX_LEN="16384"
export MODEL_GPU_UTILIZATION="0.90"
export MODEL_PROBE="text"
"""


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out.splitlines()[-1])


Run = Callable[..., Ended]


def subcommands(group: click.Group) -> dict[str, click.Command]:
    """The commands of a group by name, those of one that loads them late, too."""
    context = click.Context(group)
    found = {}
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command
        found[name] = command
    return found


def every_command(group: click.Group) -> list[click.Command]:
    """The commands and groups below a group."""
    found: list[click.Command] = []
    for command in subcommands(group).values():
        found.append(command)
        found += getattr(command, "looks", {}).values()
        if isinstance(command, click.Group):
            found += every_command(command)
    return found


def failed(run: Run, code: int, *arguments: str) -> Ended:
    """A command that fails with this code: the last two lines of stderr say what, and what to do
    next.
    """
    ended = run(*arguments)
    assert ended.code == code, ended.err
    what, what_next = ended.err.splitlines()[-2:]
    assert re.match(r"podkit: \S", what)
    assert re.match(r"  next: \S", what_next)
    return ended


def failed_as(run: Run, code: str, *arguments: str) -> Ended:
    """A command that fails, and tells programs this code; its words for people are on stderr."""
    ended = run(*arguments, "--json")
    assert ended.code, ended.out
    assert ended.json["error"]["code"] == code, ended.err
    return ended


def account(api: mocking.Mocker, *pods: dict[str, Any], **changes: Any) -> None:
    """An account with these pods, whose URLs do not answer yet, a volume and one GPU type.

    `changes` replace what a list answers.
    """
    api.get(re.compile(r"\.proxy\.runpod\.net/"), status_code=502, text="<html>")
    api.get(re.compile(rf"{API}/pods/\w+/logs"), text="")
    answers = {
        "pods": {"json": {"pods": pods}},
        "network-volumes": {"json": {"networkVolumes": [VOLUME]}},
        "catalog/gpus": {"json": {"gpus": [GPU, {**GPU, "id": "NVIDIA A100 80GB PCIe"}]}},
        "catalog/datacenters": {"json": {"dataCenters": [{"id": "EU-RO-1"}, {"id": "US-KS-2"}]}},
    }
    for path, answer in {**answers, **changes}.items():
        api.get(f"{API}/{path}", **answer)


def granted(api: mocking.Mocker) -> None:
    """The account grants a create, and lists the pod from then on."""

    def create(request: Any, context: Any) -> Any:
        context.status_code = 201
        pod = {**POD, "name": request.json()["name"], "env": request.json()["env"], "runtime": None}
        account(api, pod)
        return pod

    api.post(f"{API}/pods", json=create)


DEPLOY = ("deploy", "--model", "mine", "--gpu", "NVIDIA L40S", "--no-wait")
