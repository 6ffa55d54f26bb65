"""`stop`: end pods, for certain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from podkit.commands.app import App
from podkit.commands.completion import complete_pod
from podkit.commands.options import command
from podkit.commands.result import Plain, Result
from podkit.errors import Interrupted, UsageError
from podkit.text import stop_command

if TYPE_CHECKING:
    from podkit.runpod.client import RunpodClient
    from podkit.runpod.types import Pod


@command("stop", json=True)
@click.argument("pod_ids", metavar="ID...", nargs=-1, shell_complete=complete_pod)
@click.option("--all", "every", is_flag=True, help="All of podkit's pods; asks first.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--keep", is_flag=True, help="Stop the pod and keep its disk, which goes on costing.")
@click.option(
    "--terminate",
    "must_terminate",
    is_flag=True,
    help="Terminate the pod, disk and all, even one that is not podkit's.",
)
def stop(
    app: App,
    pod_ids: tuple[str, ...],
    every: bool,
    yes: bool,
    keep: bool,
    must_terminate: bool,
) -> Result:
    """End pods: by id, by name, by model, or by at least four characters of the start of an id.

    Returns once the API confirms it.

    \b
    Examples:
      ./stop_pod.sh 0926d6
      ./stop_pod.sh qwen3vl
      ./stop_pod.sh --all --yes
    """
    from podkit.pods.ending import end_each, join_failures

    _check_usage(pod_ids, every, keep, must_terminate)
    app.interrupts.report = lambda: "podkit: nothing was ended\n"

    def note(left: Sequence[Pod]) -> None:
        lines = []
        for pod in left:
            what = f"podkit: pod {pod.label} is not ended yet"
            lines.append(f"{what}: {stop_command(pod.id)}\n")
        app.interrupts.report = lambda: app.here("".join(lines))

    try:
        settings, client = app.connect()
        if every and not yes:
            _confirm_all(app, client)
        ended = end_each(client, pod_ids, keep, must_terminate, app.say, note)
    except Interrupted:
        app.interrupts.tell_left()
        raise
    app.interrupts.report = lambda: ""
    made = app.made_pods(settings)
    for pod in ended.pods:
        made.note_end(pod.name)
    if ended.failures:
        raise join_failures(ended.failures)
    if not ended.pods:
        app.say("podkit has no pods")
    return Plain("", {"pods": [pod.id for pod in ended.pods]})


def _check_usage(pod_ids: Sequence[str], every: bool, keep: bool, must_terminate: bool) -> None:
    if keep and must_terminate:
        raise UsageError("--keep and --terminate contradict each other", "give one of them")
    if every == bool(pod_ids):
        what = "say which pods: ids, or --all for all of podkit's"
        raise UsageError(what, "./list_pods.sh shows the ids")


def _confirm_all(app: App, client: RunpodClient) -> None:
    """Say which pods would end, and ask. Raises UsageError unless a person says yes."""
    ours = [pod for pod in client.list_pods() if pod.ours]
    for pod in ours:
        app.say(f"pod {pod.label}, {pod.status}, ${pod.cost_per_hour:.2f}/h")
    if ours:
        app.confirm(f"end these {len(ours)} pods?", "./stop_pod.sh --all --yes")
