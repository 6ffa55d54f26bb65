"""The commands of a pod's life: parse, call, print. No decision is made here, and only a terminal is told a secret."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NoReturn

import click

import podkit
from podkit.commands import app as application
from podkit.commands import output
from podkit.commands.account import cost, doctor, fit, gpus, sandbox, volume
from podkit.commands.app import App, command, data_center_option, pod_argument
from podkit.commands.gateway import gateway
from podkit.commands.use import chat, env, evaluate, ocr, open_page
from podkit.env_file import parse_env_file
from podkit.errors import PodFailed, UsageError
from podkit.interrupts import Interrupts
from podkit.settings import Settings, load

if TYPE_CHECKING:
    from podkit.pods.access import Access
    from podkit.runpod.logs import LogLine
    from podkit.runpod.types import Pod


@command(json=True)
@click.option("--model", required=True, help="Which startup/startup_MODEL.sh to run.")
@click.option(
    "--gpu", "gpus", multiple=True, help="GPU type to try; give it again for a second choice."
)
@data_center_option
@click.option("--volume", "RUNPOD_NETWORK_VOLUME_ID", help="Id of the network volume to mount.")
@click.option("--max-price", "PODKIT_MAX_PRICE", help="USD per hour; dearer GPU types are skipped.")
@click.option(
    "--budget", "PODKIT_BUDGET", help="USD; the pod ends itself before it has cost so much."
)
@click.option(
    "--max-hours", "PODKIT_MAX_HOURS", help="The pod ends itself after this many hours; 0: never."
)
@click.option(
    "--idle-minutes",
    "PODKIT_IDLE_MINUTES",
    help="It ends itself after so long without use; 0: never.",
)
@click.option(
    "--boot-minutes", "PODKIT_BOOT_MINUTES", help="It ends itself if it is not ready by then."
)
@click.option("--in-stock", is_flag=True, help="Try the GPU types with the most stock first.")
@click.option(
    "--cheapest",
    is_flag=True,
    help="Try the cheapest GPU types first; with --in-stock, among equals.",
)
@click.option(
    "--force", is_flag=True, help="Try GPU types on which the model does not seem to fit, too."
)
@click.option("--new", is_flag=True, help="Make another pod even if one of this model is there.")
@click.option(
    "--adopt",
    is_flag=True,
    help="Take the pod that is there even if its limits are looser than those asked for.",
)
@click.option(
    "--any-gpu", is_flag=True, help="After these, try every GPU type in stock that fits, by price."
)
@click.option(
    "--wait-for-stock",
    type=click.FloatRange(0.1, 1440),
    is_flag=False,
    flag_value=60.0,
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
    "--plan", is_flag=True, help="Show what would be tried and what it can cost; change nothing."
)
@click.option(
    "--dry-run", is_flag=True, help="Print the requests; send nothing, write nothing, need no key."
)
def deploy(
    app: App,
    model: str,
    gpus: tuple[str, ...],
    new: bool,
    adopt: bool,
    wait_for_stock: float | None,
    no_wait: bool,
    rm_on_interrupt: bool,
    plan: bool,
    dry_run: bool,
    **options: str | bool | None,
) -> None:
    """Rent a GPU and serve MODEL on it, or find the pod that does so already.

    \b
    Examples:
      ./deploy_olmocr.sh --sandbox
      ./deploy_olmocr.sh --gpu "NVIDIA A40" --gpu "NVIDIA L40S" --max-price 0.90
      ./deploy_olmocr.sh --plan --cheapest --budget 5
      ./deploy_qwen3vl.sh --max-hours 2 --idle-minutes 10
      ./deploy_olmocr.sh --no-wait --json
    """
    from podkit.models.spec import read_model
    from podkit.pods import deploy as deploying
    from podkit.pods.launcher import Wishes

    options["PODKIT_GPUS"] = ",".join(gpus) if gpus else None
    wanted = read_model(app.root / "startup", model)
    wishes = Wishes(
        new=new,
        adopt=adopt,
        wait=not no_wait,
        rm_on_interrupt=rm_on_interrupt,
        stock_minutes=wait_for_stock or 0.0,
        given=given_names(app, options),
    )
    if plan and dry_run:
        raise UsageError("--plan reads the account, --dry-run sends nothing", "give one of them")
    if dry_run:
        settings = load(app.environ, app.root, options)
        if settings.budget is not None:
            what = "the end times are those without the budget, which needs prices"
            app.say(f"{what}; --plan reads them")
        requests = deploying.dry_run(settings, wanted)
        click.echo(output.envelope("deploy", dry_run=True, requests=requests))
        return
    settings, _ = app.connected(**options)
    if plan:
        seen = deploying.plan(settings, wanted, app.world(settings), wishes)
        if app.as_json:
            click.echo(output.envelope("deploy", plan=output.plan_json(*seen)))
        else:
            click.echo(output.plan_table(*seen))
        return
    pod, _ = deploying.deploy(
        settings,
        wanted,
        app.world(settings),
        wishes,
        app.turn,
        lambda pod, where, settings: _show_served(app, "deploy", pod, where, settings),
    )
    if no_wait and pod.uptime is None:
        what = "not waiting: until its container starts, the pod has no watchdog"
        app.say(f"{what}; ./podkit.sh wait {pod.id}")


def given_names(app: App, options: Mapping[str, object]) -> frozenset[str]:
    """The names of the settings that were given: as an option, in the environment or in .env."""
    named = {name for name, value in options.items() if value}
    return frozenset(named | set(app.environ) | set(parse_env_file(app.root / ".env")))


def _show_served(app: App, name: str, pod: Pod, where: Access, settings: Settings) -> None:
    """The end of `deploy` and `wait`: data on stdout; the key and the login only to a person's
    terminal.
    """
    from podkit.pods.lifetime import pod_lifetime

    if app.as_json:
        click.echo(output.envelope(name, **output.served_json(pod, where)))
    else:
        click.echo(f"{pod.id}\napi    {where.api_url}\nwebui  {where.webui_url}")
    app.say(
        f"{pod.name} on {pod.gpu_type} in {pod.data_center}, ${pod.cost_per_hour:.2f}/h; model: {where.model}"
    )
    if sys.stderr.isatty():
        app.say(f"API key: {where.key.reveal()}\nlogin:   {where.email}  {where.password.reveal()}")
    elif where.key == settings.secrets.get("PODKIT_API_KEY"):
        names = "PODKIT_API_KEY, WEBUI_ADMIN_EMAIL, WEBUI_ADMIN_PASSWORD"
        app.say(f"key and login: {names} in {settings.secrets_file}; or ./podkit.sh env {pod.id}")
    else:
        app.say(
            f"key and login are that pod's own, not those of {settings.secrets_file}: ./podkit.sh env {pod.id}"
        )
    app.say(pod_lifetime(pod, datetime.fromtimestamp(time.time(), UTC)))
    app.say(f"end it now: ./stop_pod.sh {pod.id}")


@command("list", json=True)
def list_pods(app: App) -> None:
    """Show every pod of the account, what it costs, and podkit's URLs.

    \b
    Examples:
      ./list_pods.sh
      ./list_pods.sh --json
    """
    from podkit.pods.phases import phases_of

    settings, client = app.connected()
    pods = client.list_pods()
    phases = phases_of(pods, client, app.session(), settings.proxy_url)
    if app.as_json:
        shown = [output.pod_json(pod) | {"phase": phases.get(pod.id)} for pod in pods]
        click.echo(output.envelope("list", pods=shown))
    elif pods:
        click.echo(output.pod_table(pods, client.now(), settings.proxy_url, phases))
    else:
        app.say("no pods; ./deploy_olmocr.sh makes one")


@command(json=True)
@click.argument("pod_ids", metavar="ID...", nargs=-1)
@click.option("--all", "every", is_flag=True, help="All of podkit's pods; needs --yes.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--keep", is_flag=True, help="Stop the pod and keep its disk, which goes on costing.")
@click.option(
    "--terminate", "delete", is_flag=True, help="Delete the pod, even one that is not podkit's."
)
def stop(
    app: App, pod_ids: tuple[str, ...], every: bool, yes: bool, keep: bool, delete: bool
) -> None:
    """End pods: by id, by name, or by the start of an id. Returns once the API confirms it.

    \b
    Examples:
      ./stop_pod.sh 0926d6
      ./stop_pod.sh --all --yes
    """
    from podkit.pods.ending import end_each, joined

    if keep and delete:
        raise UsageError("--keep and --terminate contradict each other", "give one of them")
    if every == bool(pod_ids) or (every and not yes):
        what = "say which pods: ids, or --all --yes for all of podkit's"
        raise UsageError(
            what, "./stop_pod.sh --all --yes" if every else "./list_pods.sh shows the ids"
        )
    client = app.connected()[1]

    def note(left: Sequence[Pod]) -> None:
        lines = [f"podkit: pod {pod.id} ({pod.name}) is not ended yet" for pod in left]
        app.interrupts.report = lambda: "".join(f"{line}\n" for line in lines)

    ended = end_each(client, pod_ids, keep, delete, app.say, note)
    if ended.failures:
        raise joined(ended.failures)
    if not ended.pods:
        app.say("podkit has no pods")
    if app.as_json:
        click.echo(output.envelope("stop", pods=[pod.id for pod in ended.pods]))


@command(json=True)
@pod_argument
def wait(app: App, pod_id: str) -> None:
    """Wait until a pod serves: the API and the chat page, both through their public URLs.

    \b
    Examples:
      ./podkit.sh wait                  # the only pod there is
      ./podkit.sh wait 0926d6 --json
    """
    from podkit.pods.readiness import LOOK, wait_until_ready

    settings, _, chosen = app.chosen(pod_id)
    try:
        pod, where = wait_until_ready(
            app.world(settings), chosen, settings.proxy_url, settings.boot_minutes
        )
    except PodFailed as error:
        error.hint += LOOK.format(chosen.id)
        raise
    _show_served(app, "wait", pod, where, settings)


@command()
@pod_argument
@click.option("-f", "--follow", is_flag=True, help="Go on until Ctrl-C.")
@click.option("--system", is_flag=True, help="The host's log instead of the container's.")
def logs(app: App, pod_id: str, follow: bool, system: bool) -> None:
    """Show a pod's log; of a pod that is gone, what this checkout saw of it within a week.

    \b
    Examples:
      ./podkit.sh logs -f               # until Ctrl-C
      ./podkit.sh logs 0926d6 --system   # what the host did
    """
    from podkit.errors import Missing
    from podkit.pods.logs import LogPosition, new_lines

    source = "system" if system else "container"
    kept = app.kept_logs()
    try:
        _, client, pod = app.chosen(pod_id)
    except Missing:
        ended = kept.find(pod_id)
        if not ended:
            raise
        app.say(f"pod {ended} is gone; this is what was seen of its log")
        for line in kept.read(ended, source):
            click.echo(line.text)
        return
    position = LogPosition()

    def open_log(resume_from: str) -> Iterator[LogLine]:
        lines = client.pod_log(pod.id, source, 1000, resume_from, brief=not follow)
        return kept.recording(pod.id, lines)

    while True:
        for line in new_lines(open_log, position):
            click.echo(line.text)
        if not follow:
            return
        time.sleep(1)


@click.group(no_args_is_help=False, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(podkit.__version__)
def cli() -> None:
    """A private vision model with a chat page on a rented GPU, and nothing left billing when you walk away."""


for entry in (deploy, list_pods, stop, wait, logs, env, open_page, chat, ocr, evaluate):
    cli.add_command(entry)
for entry in (doctor, gpus, fit, cost, volume, sandbox, gateway):
    cli.add_command(entry)


def main(interrupts: Interrupts) -> NoReturn:
    """Run the command that sys.argv names, and exit."""
    application.run(cli, interrupts)
