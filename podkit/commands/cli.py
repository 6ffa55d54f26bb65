"""The commands of a pod's life: parse, call, print. No decision is made here, and only a terminal is told a secret."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NoReturn

import click

import podkit
from podkit.commands import app as application
from podkit.commands import output
from podkit.commands.account import cost, doctor, fit, gpus, sandbox, volume
from podkit.commands.app import App, command, data_center_option, pod_argument
from podkit.commands.use import chat, env, evaluate, ocr, open_page
from podkit.errors import PodFailed, UsageError
from podkit.settings import Settings, load, tighten, with_secrets, write_secrets

if TYPE_CHECKING:
    from podkit.models.spec import Model
    from podkit.pods.access import Access
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
    from podkit.pods.launcher import Launcher
    from podkit.pods.spend import budget_warning

    options["PODKIT_GPUS"] = ",".join(gpus) if gpus else None
    wanted = read_model(app.root / "startup", model)
    if plan and dry_run:
        raise UsageError("--plan reads the account, --dry-run sends nothing", "give one of them")
    if dry_run:
        click.echo(_dry_run(app, load(app.environ, app.root, options), wanted))
        return
    if plan:
        settings, _ = app.connected(**options)
        seen = Launcher(settings, wanted, app.world(settings), new=new).outlook()
        click.echo(
            output.envelope("deploy", plan=output.plan_json(*seen))
            if app.as_json
            else output.plan_table(*seen)
        )
        return
    with ExitStack() as turn:
        turn.enter_context(app.turn())
        settings, client = app.connected(**options)
        settings = _with_secrets(app, settings)
        if settings.monthly_budget and (told := budget_warning(client, settings.monthly_budget)):
            app.say(told)
        launcher = Launcher(settings, wanted, app.world(settings), new=new)
        app.interrupts.report = lambda: "".join(
            f"podkit: {app.here(line)}\n" for line in launcher.left_running()
        )
        try:
            pod, where = launcher.run(
                wait=not no_wait, rm_on_interrupt=rm_on_interrupt, placed=turn.close
            )
            _show_served(app, "deploy", pod, where, settings)
        except Exception:
            for line in launcher.left_running():
                app.say(f"podkit: {line}")
            raise
    if no_wait and pod.uptime is None:
        app.say(
            f"not waiting: until its container starts, the pod has no watchdog; ./podkit.sh wait {pod.id}"
        )


def _with_secrets(app: App, settings: Settings) -> Settings:
    """The settings with every key and login there; those missing are made and kept in the secrets file."""
    file = settings.secrets_file
    if tighten(file):
        app.say(f"{file} could be read by others; its mode is 600 now")
    settings, made = with_secrets(settings)
    if made:
        write_secrets(file, made)
        app.say(f"made {', '.join(made)} and kept them in {file}")
    return settings


def _dry_run(app: App, settings: Settings, model: Model) -> str:
    """The requests of a deploy in order, one per GPU type, each sent only if those before it were refused."""
    from podkit.models.spec import pod_spec
    from podkit.runpod.types import create_body

    if settings.budget is not None:
        app.say("the end times are those without the budget, which needs prices; --plan reads them")
    settings, _ = with_secrets(settings)
    volume = settings.volume_id or f"(the volume named podkit in {settings.data_center})"
    name, url = f"podkit-{model.name}-(6 hex digits)", f"{settings.api_url}/pods"
    specs = [
        pod_spec(settings, model, gpu, name, volume, datetime.now(UTC)) for gpu in settings.gpus
    ]
    requests = [
        {"method": "POST", "url": url, "body": create_body(spec, redacted=True)} for spec in specs
    ]
    return output.envelope("deploy", dry_run=True, requests=requests)


def _show_served(app: App, name: str, pod: Pod, where: Access, settings: Settings) -> None:
    """The end of `deploy` and `wait`: data on stdout; the key and the login only to a person's terminal."""
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
    app.say(
        f"ends itself at {pod.ends_at:%Y-%m-%d %H:%M} UTC" if pod.ends_at else "it has no end time"
    )
    app.say(f"end it now: ./stop_pod.sh {pod.id}")


@command("list", json=True)
def list_pods(app: App) -> None:
    """Show every pod of the account, what it costs, and podkit's URLs.

    \b
    Examples:
      ./list_pods.sh
      ./list_pods.sh --json
    """
    settings, client = app.connected()
    pods = client.list_pods()
    if app.as_json:
        click.echo(output.envelope("list", pods=[output.pod_json(pod) for pod in pods]))
    elif pods:
        click.echo(output.pod_table(pods, client.now(), settings.proxy_url))
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
    from podkit.pods.ending import end_each

    if keep and delete:
        raise UsageError("--keep and --terminate contradict each other", "give one of them")
    if every == bool(pod_ids) or (every and not yes):
        what = "say which pods: ids, or --all --yes for all of podkit's"
        raise UsageError(
            what, "./stop_pod.sh --all --yes" if every else "./list_pods.sh shows the ids"
        )
    ended = end_each(app.connected()[1], pod_ids, keep, delete, app.say)
    if not ended:
        app.say("podkit has no pods")
    if app.as_json:
        click.echo(output.envelope("stop", pods=[pod.id for pod in ended]))


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
    """Show a pod's log.

    \b
    Examples:
      ./podkit.sh logs -f               # until Ctrl-C
      ./podkit.sh logs 0926d6 --system   # what the host did
    """
    _, client, pod = app.chosen(pod_id)
    source, last = "system" if system else "container", ""
    while True:
        for line in client.pod_log(pod.id, source, 1000, last, brief=not follow):
            last = line.event_id or last
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
for entry in (doctor, gpus, fit, cost, volume, sandbox):
    cli.add_command(entry)


def main() -> NoReturn:
    application.run(cli)
