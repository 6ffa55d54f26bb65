"""`deploy`: a pod that serves a model, made or found."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import click

from podkit.commands.app import App
from podkit.commands.completion import complete_gpu_type, complete_model
from podkit.commands.options import DATA_CENTER, WIDE, command
from podkit.commands.result import Result, moment, pod_fields
from podkit.commands.served import show_served
from podkit.errors import UsageError
from podkit.settings import load

if TYPE_CHECKING:
    from podkit.commands.tables import Outlook
    from podkit.models.spec import Model
    from podkit.pods.wishes import Wishes
    from podkit.settings import Settings

COMMIT = re.compile("[0-9a-f]{40}")
STOCK_MINUTES = 60.0
"""How long --wait-for-stock waits if it is given no number."""


@dataclass(frozen=True)
class Plan:
    """What a deploy would do."""

    outlook: Outlook
    is_wide: bool

    def text(self) -> str:
        from podkit.commands.tables import plan_table

        return plan_table(self.outlook, is_wide=self.is_wide)

    def fields(self) -> Mapping[str, Any]:
        from podkit.pods.request import ends_at
        from podkit.runpod.types import monthly_price

        outlook = self.outlook
        candidates = []
        for one in outlook.placement.candidates:
            end = ends_at(outlook.now, one.hours) or None
            candidates.append({**asdict(one), "cost_at_most": one.most, "ends_at": end})
        skipped = [{"gpu_type": name, "reason": why} for name, why in outlook.placement.skipped]
        price = round(monthly_price(outlook.volume.size_gb), 2)
        plan = {
            "candidates": candidates,
            "skipped": skipped,
            "network_volume": {**asdict(outlook.volume), "price_per_month": price},
            "pod": pod_fields(outlook.there) if outlook.there else None,
            "idle_minutes": outlook.idle_minutes,
            "asked_at": moment(outlook.now),
        }
        return {"plan": plan}


@dataclass(frozen=True)
class DryRun:
    """The requests of a deploy, secrets blanked."""

    requests: list[dict[str, Any]]

    def fields(self) -> Mapping[str, Any]:
        return {"dry_run": True, "requests": self.requests}

    def text(self) -> str:
        """The first request, indented, with the packed scripts as their size and hash."""
        import hashlib
        import json

        first, *others = self.requests
        body = dict(first["body"])
        packed = body["env"]["STARTUP_B64"]
        digest = hashlib.sha256(packed.encode()).hexdigest()[:12]
        shown = f"({len(packed):,} characters, sha256 {digest}...; --json prints them)"
        body["env"] = {**body["env"], "STARTUP_B64": shown}
        lines = [f"{first['method']} {first['url']}", json.dumps(body, indent=2)]
        for other in others:
            lines.append(f"if that is refused, the same with gpu.id {other['body']['gpu']['id']!r}")
        return "\n".join(lines)


@command("deploy", json=True)
@click.option(
    "--model",
    required=True,
    shell_complete=complete_model,
    help="Which startup/startup_MODEL.sh to run.",
)
@click.option(
    "--gpu",
    "gpus",
    multiple=True,
    shell_complete=complete_gpu_type,
    help="GPU type to try; give it again for a second choice.",
)
@click.option(
    "--any-gpu",
    is_flag=True,
    help="After these, try every GPU type in stock on which the model fits, by price.",
)
@DATA_CENTER
@click.option("--volume", "RUNPOD_NETWORK_VOLUME_ID", help="Id of the network volume to mount.")
@click.option(
    "--max-price",
    "PODKIT_MAX_PRICE",
    help="USD per hour; more expensive GPU types are skipped.",
)
@click.option(
    "--budget",
    "PODKIT_BUDGET",
    help="USD; the pod ends itself before it has cost so much.",
)
@click.option(
    "--max-hours",
    "PODKIT_MAX_HOURS",
    help="The pod ends itself after this many hours; 0: never.",
)
@click.option(
    "--idle-minutes",
    "PODKIT_IDLE_MINUTES",
    help="It ends itself after so long without use; 0: never.",
)
@click.option(
    "--boot-minutes",
    "PODKIT_BOOT_MINUTES",
    help="It ends itself if it is not ready by then.",
)
@click.option("--in-stock", is_flag=True, help="Try the GPU types with the most stock first.")
@click.option(
    "--cheapest",
    is_flag=True,
    help="Try the cheapest GPU types first; with --in-stock, among equals.",
)
@click.option(
    "--force",
    is_flag=True,
    help="Try GPU types on which the model does not seem to fit, too.",
)
@click.option("--new", is_flag=True, help="Make another pod even if one of this model is there.")
@click.option(
    "--adopt",
    is_flag=True,
    help="Take the pod that is there even if its limits are looser than those asked for.",
)
@click.option(
    "--wait-for-stock",
    "stock_minutes",
    type=click.FloatRange(0.1, 1440),
    is_flag=False,
    flag_value=STOCK_MINUTES,
    metavar="[MINUTES]",
    help="If no GPU is free, ask again for so long; 60 minutes if no number is given.",
)
@click.option("--no-wait", is_flag=True, help="Return once the pod is created.")
@click.option(
    "--keep-failed",
    is_flag=True,
    help="Keep a pod that failed for half an hour, to look at its log.",
)
@click.option("--rm-on-interrupt", is_flag=True, help="On Ctrl-C, terminate the pod that was made.")
@click.option(
    "--plan",
    "is_plan",
    is_flag=True,
    help="Show what would be tried and what it can cost; change nothing.",
)
@WIDE
@click.option(
    "--dry-run",
    "is_dry_run",
    is_flag=True,
    help="Print the requests; send nothing, write nothing, need no key.",
)
def deploy(
    app: App,
    model: str,
    gpus: tuple[str, ...],
    new: bool,
    adopt: bool,
    stock_minutes: float | None,
    no_wait: bool,
    rm_on_interrupt: bool,
    is_plan: bool,
    wide: bool,
    is_dry_run: bool,
    **options: str | bool | None,
) -> Result | None:
    """Rent a GPU and serve MODEL on it, or find the pod that does so already.

    \b
    Examples:
      ./deploy_olmocr.sh --sandbox
      ./deploy_olmocr.sh --gpu "NVIDIA A40" --gpu "NVIDIA L40S" --max-price 0.90
      ./deploy_olmocr.sh --any-gpu --wait-for-stock 120
      ./deploy_olmocr.sh --plan --cheapest --budget 5
      ./deploy_qwen3vl.sh --max-hours 2 --idle-minutes 10
      ./deploy_olmocr.sh --no-wait --json
    """
    from podkit.models.spec import read_model
    from podkit.pods.wishes import Wishes

    options["PODKIT_GPUS"] = ",".join(gpus) if gpus else None
    wanted = read_model(app.root / "startup", model, app.boots())
    wishes = Wishes(
        new=new,
        adopt=adopt,
        wait=not no_wait,
        rm_on_interrupt=rm_on_interrupt,
        stock_minutes=stock_minutes or 0.0,
    )
    if is_plan and is_dry_run:
        raise UsageError("--plan reads the account, --dry-run sends nothing", "give one of them")
    if is_dry_run:
        return _dry_run(app, load(app.environ, app.root, options), wanted)
    settings, _ = app.connect(**options)
    if is_plan:
        return _plan(app, settings, wanted, wishes, is_wide=wide)
    _deploy(app, settings, wanted, wishes)
    return None


def _deploy(app: App, settings: Settings, model: Model, wishes: Wishes) -> None:
    from podkit.pods.deploy import deploy as deploy_pod

    if not COMMIT.fullmatch(model.checkpoint.partition("@")[2]):
        what = f"the revision in startup/startup_{model.name}.sh is no commit"
        app.say(f"{what}: pin one of 40 hex digits, or the model may change between boots")
    pod, _ = deploy_pod(
        settings,
        model,
        app.world(settings),
        wishes,
        app.turn,
        lambda pod, where, settings: show_served(app, pod, where, settings),
    )
    if wishes.wait:
        app.kept_logs().learn_from_pod(app.client(settings), pod.id)
    else:
        what = "not waiting: until its container starts it has no watchdog"
        app.say(f"{what}; ./podkit.sh wait {pod.id}")


def _plan(app: App, settings: Settings, model: Model, wishes: Wishes, *, is_wide: bool) -> Plan:
    from podkit.commands.tables import Outlook
    from podkit.pods.deploy import plan

    there, volume, placement, now = plan(settings, model, app.world(settings), wishes)
    return Plan(Outlook(there, volume, placement, now, settings.idle_minutes), is_wide)


def _dry_run(app: App, settings: Settings, model: Model) -> DryRun:
    from podkit.pods.deploy import dry_run

    app.say("the names of GPU types and data center were not checked; --plan checks them")
    if settings.budget is not None:
        what = "the end times are those without the budget, which needs prices"
        app.say(f"{what}; --plan reads them")
    return DryRun(dry_run(settings, model))
