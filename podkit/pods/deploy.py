"""One deploy, its plan and its dry run, as functions that any command can call."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from datetime import UTC, datetime
from typing import Any

from podkit.env_file import write_secrets
from podkit.models.spec import Model
from podkit.pods.access import Access
from podkit.pods.launcher import Launcher
from podkit.pods.ledger import Ledger
from podkit.pods.placement import Placement
from podkit.pods.readiness import World
from podkit.pods.request import pod_spec
from podkit.pods.spend import budget_warning
from podkit.pods.wishes import Wishes
from podkit.runpod.types import NetworkVolume, Pod, create_body
from podkit.settings import Settings, with_secrets

Turn = Callable[[], AbstractContextManager[None]]


def deploy(
    settings: Settings,
    model: Model,
    world: World,
    wishes: Wishes,
    turn: Turn,
    served: Callable[[Pod, Access, Settings], None],
) -> tuple[Pod, Access]:
    """The pod that serves `model`, made or found, and how to reach it.

    `turn` is entered until there is a pod that another deploy of this checkout would find.
    `served` is called as soon as the result is known, before strays are looked for. Whatever
    it raises, what may be billing has been said.
    """
    with ExitStack() as in_turn:
        in_turn.enter_context(turn())
        settings = make_secrets(settings, world.say)
        if settings.monthly_budget:
            warning = budget_warning(world.client, settings.monthly_budget)
            if warning:
                world.say(warning)
        ledger = Ledger(world.client, world.say, world.made)
        world.interrupts.report = lambda: report(ledger, world)
        launcher = Launcher(settings, model, world, ledger, wishes)
        try:
            return launcher.run(
                placed=in_turn.close,
                served=lambda pod, where: served(pod, where, settings),
            )
        except Exception:
            world.interrupts.tell_left()
            raise


def report(ledger: Ledger, world: World) -> str:
    """The last words: each pod that may be billing."""
    return "".join(f"podkit: {world.here(line)}\n" for line in ledger.left_running())


def plan(
    settings: Settings,
    model: Model,
    world: World,
    wishes: Wishes,
) -> tuple[Pod | None, NetworkVolume, Placement, datetime]:
    """What deploy() would do, from reads alone: the pod that is there, else the volume and the
    candidates of a new one; and now by the API's clock. Raises what deploy() would before a create.
    """
    ledger = Ledger(world.client, world.say, world.made)
    return Launcher(settings, model, world, ledger, wishes).outlook()


def dry_run(settings: Settings, model: Model) -> list[dict[str, Any]]:
    """The requests of a deploy in order, one per GPU type, each sent only if those before it were
    refused. Secrets are blanked. Sends nothing, writes nothing.
    """
    settings, _ = with_secrets(settings)
    volume = settings.volume_id or f"(the volume named podkit in {settings.data_center})"
    name = f"podkit-{model.name}-(6 hex digits)"
    now = datetime.now(UTC)
    requests = []
    for gpu_type in settings.gpus:
        spec = pod_spec(settings, model, gpu_type, name, volume, now)
        body = create_body(spec, redacted=True)
        requests.append({"method": "POST", "url": f"{settings.api_url}/pods", "body": body})
    return requests


def make_secrets(settings: Settings, say: Callable[[str], None]) -> Settings:
    """The settings with every key and login there; those missing are made and kept in the secrets
    file.
    """
    file = settings.secrets_file
    settings, made = with_secrets(settings)
    if made:
        write_secrets(file, made)
        say(f"made {', '.join(made)} and kept them in {file}")
    return settings
