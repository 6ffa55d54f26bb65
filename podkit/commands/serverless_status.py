"""`serverless status` and `serverless list`: what is there, and whether it can serve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from podkit.commands.app import App
from podkit.commands.options import command
from podkit.commands.result import Result, moment
from podkit.commands.serverless_deploy import endpoint_fields
from podkit.commands.serverless_options import CONFIG, ENDPOINT_ID
from podkit.commands.serverless_reach import (
    ENDPOINT,
    Reached,
    by_itself,
    reach,
    usable_config,
)

if TYPE_CHECKING:
    from podkit.runpod.endpoint_types import Endpoint, Rollout
    from podkit.serverless.diagnose import Finding, Sight

STATES = ("RUNNING", "IDLE", "INITIALIZING", "THROTTLED", "UNHEALTHY")
JOB_COUNTS = {
    "queued": "inQueue",
    "running": "inProgress",
    "completed": "completed",
    "failed": "failed",
    "retried": "retried",
}
"""Our names of what /health counts, and its own."""


def listed_fields(endpoint: Endpoint) -> dict[str, Any]:
    """An endpoint for programs, with whose it is and how old."""
    from podkit.serverless.plan import SERVICE_VARIABLE

    env = endpoint.settings.get("env") or {}
    return {
        **endpoint_fields(endpoint),
        "service": env.get(SERVICE_VARIABLE),
        "created_at": moment(endpoint.created_at),
    }


@dataclass(frozen=True)
class Listed:
    """The endpoints of the account."""

    endpoints: Sequence[Endpoint]

    def fields(self) -> Mapping[str, Any]:
        return {"endpoints": [listed_fields(one) for one in self.endpoints]}

    def text(self) -> str:
        from podkit.commands.tables import columns
        from podkit.text import clip

        if not self.endpoints:
            return "no endpoint"
        rows = [["ID", "NAME", "MIN", "MAX", "IMAGE"]]
        for one in self.endpoints:
            image = str(one.settings.get("image") or "-")
            limits = [str(one.min_workers), str(one.max_workers)]
            rows.append([one.id, clip(one.name or "-", 30), *limits, image])
        return "\n".join(columns(*rows))


@dataclass(frozen=True)
class Status:
    """An endpoint as it is now: its workers, its jobs, its release, and the diagnosis."""

    endpoint: Endpoint
    sight: Sight
    finding: Finding
    rollout: Rollout

    def workers(self) -> dict[str, int]:
        """How many are in which state."""
        counts = {}
        for state in STATES:
            found = [worker for worker in self.sight.workers if worker.status == state]
            counts[state.lower()] = len(found)
        return counts

    def jobs(self) -> dict[str, int]:
        """How many jobs wait, run, and have ended how."""
        from podkit.serverless.sight import count

        health = self.sight.health
        return {ours: count(health, "jobs", name) for ours, name in JOB_COUNTS.items()}

    def fields(self) -> Mapping[str, Any]:
        return {
            **listed_fields(self.endpoint),
            "workers": self.workers(),
            "jobs": self.jobs(),
            "version": self.rollout.version,
            "rolling_out": self.rollout.in_progress,
            "workers_on_latest": self.rollout.workers_on_latest,
            "finding": asdict(self.finding),
        }

    def lines(self) -> list[str]:
        """What people read of it."""
        limits = f"{self.endpoint.min_workers} to {self.endpoint.max_workers} workers"
        version = f"release {self.rollout.version}" if self.rollout.version else "release unknown"
        if self.rollout.in_progress:
            here = f"{self.rollout.workers_on_latest} of {self.rollout.workers} workers on it"
            version += f", still rolling out: {here}"
        lines = [
            f"{self.endpoint.name} ({self.endpoint.id})",
            f"  image    {self.endpoint.settings.get('image') or '-'}, {version}",
            f"  workers  {_counted(self.workers())} ({limits})",
            f"  jobs     {_counted(self.jobs())}",
            f"  {'ok' if self.finding.can_serve else 'TROUBLE'}: {self.finding.what}",
        ]
        lines += [f"    | {line}" for line in self.finding.lines]
        if not self.finding.can_serve:
            lines.append(f"    next: {self.finding.hint}")
        return lines


@dataclass(frozen=True)
class Statuses:
    """Every endpoint that was asked for."""

    endpoints: Sequence[Status]

    def fields(self) -> Mapping[str, Any]:
        return {"endpoints": [one.fields() for one in self.endpoints]}

    def text(self) -> str:
        lines: list[str] = []
        for one in self.endpoints:
            lines += one.lines()
        return "\n".join(lines) or "no endpoint"


def _counted(counts: Mapping[str, int]) -> str:
    told = [f"{number} {name}" for name, number in counts.items() if number]
    return ", ".join(told) or "none"


@command("list", json=True)
def list_endpoints(app: App) -> Result:
    """List all serverless endpoints of the account.

    \b
    Examples:
      ./podkit.sh serverless list
    """
    _, client = app.connect()
    return Listed(client.list_endpoints())


@command("status", json=True)
@ENDPOINT
@CONFIG
@ENDPOINT_ID
@click.option("--check", is_flag=True, help="Exit 1 if one of them cannot serve a job.")
def status(
    app: App,
    word: str,
    config_file: Path | None,
    endpoint_id: str,
    check: bool,
) -> None:
    """Show workers, jobs and release of one endpoint, or of all, and what is wrong with it. SERVICE
    is a block of the config, or any endpoint's name or id.

    \b
    Examples:
      ./podkit.sh serverless status
      ./podkit.sh serverless status translation_endpoint --check
    """
    from podkit.errors import PodkitError

    result = Statuses([_status(app, one) for one in _meant(app, word, config_file, endpoint_id)])
    ill = [one for one in result.endpoints if not one.finding.can_serve]
    if not (check and ill):
        app.show(result)
        return
    app.show_text(result)
    names = ", ".join(one.endpoint.name for one in ill)
    raise PodkitError(f"cannot serve: {names}", ill[0].finding.hint, **result.fields())


def _meant(app: App, word: str, config_file: Path | None, endpoint_id: str) -> list[Reached]:
    """One endpoint if it is named, else all."""
    if word or endpoint_id:
        return [reach(app, word, config_file, endpoint_id)]
    settings, client = app.connect()
    listed = client.list_endpoints()
    config = usable_config(app, config_file)
    found = []
    for endpoint in listed:
        found.append(by_itself(settings, client, endpoint, listed, config))
    return found


def _status(app: App, there: Reached) -> Status:
    from podkit.serverless.diagnose import diagnose

    sight = there.sight_taker(there.jobs(app))(0.0, None)
    return Status(
        endpoint=sight.endpoint,
        sight=sight,
        finding=diagnose(sight),
        rollout=there.client.get_rollout(there.endpoint.id),
    )
