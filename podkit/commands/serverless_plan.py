"""`serverless validate` and `serverless plan`: what is wrong with a config, and what a deploy would
do. They change nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from podkit.commands.app import App
from podkit.commands.options import command
from podkit.commands.result import Plain, Result
from podkit.commands.serverless_options import (
    ADOPT,
    CONFIG,
    ENDPOINT_ID,
    SERVICE,
    Config,
    history_of,
    read_config,
    variables,
)
from podkit.settings import wants_sandbox

if TYPE_CHECKING:
    from podkit.serverless.plan import Change
    from podkit.serverless.survey import Survey

CHANGED = 3
"""The exit code of `plan --exit-code` where there is something to do."""


@dataclass(frozen=True)
class Planned:
    """What a deploy would do."""

    found: Survey

    def fields(self) -> Mapping[str, Any]:
        found = self.found
        return {
            "service": found.service.block,
            "endpoint": {
                "id": found.endpoint.id if found.endpoint else None,
                "name": found.service.endpoint_name,
            },
            "action": found.action,
            "changes": [asdict(change) for change in found.plan.changes],
            "drift": list(found.drift),
            "warnings": list(found.warnings),
            "quota_sum": found.quota_sum,
            "estimate": asdict(found.estimate) if found.estimate else None,
        }

    def text(self) -> str:
        return "\n".join(plan_lines(self.found))


def plan_lines(found: Survey) -> list[str]:
    """The plan for people: what is done, field by field, and what it means."""
    name = found.service.endpoint_name
    head = {
        "create": f"{name} is not there: a deploy makes it",
        "change": f"{name}: a deploy changes it in place; its id stays",
        "replace": f"{name}: this needs a new endpoint with a new id; deploy --replace makes it",
        "nothing": f"{name} is as its config wants it: nothing to do",
    }[found.action]
    if found.endpoint:
        head += f" ({found.endpoint.id})"
    lines = [head, *map(change_line, found.plan.changes)]
    if found.action == "nothing":
        lines.append(f"a push to {found.service.image} changes nothing: give it a new tag")
    for sentence in found.drift:
        lines.append(f"drift: {sentence}")
    workers = f"{found.service.max_workers} max workers here"
    lines.append(f"quota: {workers}, {found.quota_sum} in all endpoints")
    lines.append(f"cost: {found.estimate or 'unknown, as the catalogue has no price'}")
    return lines


def change_line(change: Change) -> str:
    """A field as a diff shows it: +, - or ~, and what the change does."""
    sign = "~"
    values = f"{change.old} -> {change.new}"
    if change.old is None:
        sign = "+"
        values = str(change.new)
    elif change.new is None:
        sign = "-"
        values = str(change.old)
    elif change.field.startswith("env."):
        values = "***(changed)"
    return f"  {sign} {change.field}: {values}   ({change.effect})"


@command("validate", json=True)
@CONFIG
def validate(app: App, config_file: Path | None) -> Result:
    """Check a config against its schema, and, where a key or the sandbox is there, against what the
    provider offers. Exit 2 names all that is wrong.

    \b
    Examples:
      ./podkit.sh serverless validate
      ./podkit.sh serverless validate --config other.json --sandbox
    """
    config = read_config(app, config_file)
    warnings: list[str] = []
    for service in config.services.values():
        warnings += service.warnings
    asked = wants_sandbox(app.sandbox, app.environ, app.root)
    asked = asked or bool(variables(app).get("RUNPOD_API_KEY"))
    if asked:
        warnings += _check_offer(app, config)
    else:
        app.say("without RUNPOD_API_KEY the provider's catalogue was not asked")
    for warning in warnings:
        app.say(f"warning: {warning}")
    names = ", ".join(config.services) or "no service"
    told = {"services": list(config.services), "warnings": warnings, "catalogue": asked}
    return Plain(f"{config.file.name} is in order: {names}", told)


def _check_offer(app: App, config: Config) -> list[str]:
    """What is out of stock. Raises UsageError with what nobody offers, of all services at once."""
    from podkit.errors import UsageError
    from podkit.serverless.offer import check_offer, read_offer, stock_warnings
    from podkit.serverless.refusals import explain_refusals

    _, client = app.connect()
    warnings: list[str] = []
    problems: list[str] = []
    with explain_refusals():
        for service in config.services.values():
            offer = read_offer(client, service)
            warnings += stock_warnings(service, offer)
            try:
                check_offer(service, offer)
            except UsageError as error:
                problems += error.fields["problems"]
    if problems:
        raise UsageError("; ".join(problems), "./podkit.sh gpus lists types", problems=problems)
    return warnings


@command("plan", json=True)
@SERVICE
@CONFIG
@ENDPOINT_ID
@ADOPT
@click.option("--exit-code", is_flag=True, help="Exit 3 if a deploy would change something.")
def plan(
    app: App,
    block: str,
    config_file: Path | None,
    endpoint_id: str,
    adopt: bool,
    exit_code: bool,
) -> None:
    """Show what a deploy would change, field by field, and what that costs. Changes nothing.

    \b
    Examples:
      ./podkit.sh serverless plan
      ./podkit.sh serverless plan translation_endpoint --exit-code
    """
    from podkit.serverless.refusals import explain_refusals
    from podkit.serverless.survey import survey

    service = read_config(app, config_file).choose(block)
    _, client = app.connect()
    with explain_refusals():
        found = survey(client, service, variables(app), history_of(app), endpoint_id, adopt=adopt)
    for warning in found.warnings:
        app.say(f"warning: {warning}")
    app.show(Planned(found))
    if exit_code and found.action != "nothing":
        click.get_current_context().exit(CHANGED)
