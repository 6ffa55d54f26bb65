"""The commands about the account, its volumes and the sandbox: what is there, what it costs, what needs attention."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from podkit.commands import output
from podkit.commands.app import App, command, data_center_option, sandbox_control
from podkit.errors import PodkitError, UsageError

if TYPE_CHECKING:
    from podkit.models.fit import Needs
    from podkit.runpod.client import RunpodClient


@command(json=True)
def doctor(app: App) -> None:
    """Check key, volume, stock and pods; exit 0 only if nothing needs attention.

    \b
    Examples:
      ./podkit.sh doctor
    """
    from podkit.pods.doctor import examine

    settings, client = app.connected()
    findings = examine(client, settings)
    troubles = [finding for finding in findings if finding.fix]
    for finding in [] if app.as_json else findings:
        app.say(
            f"!!  {finding.what}\n    next: {finding.fix}" if finding.fix else f"ok  {finding.what}"
        )
    if troubles and app.as_json:
        raise PodkitError("; ".join(finding.what for finding in troubles), troubles[0].fix)
    if troubles:
        raise PodkitError(_needs_attention(len(troubles)), "what to do stands below each !!")
    if app.as_json:
        click.echo(output.envelope("doctor", findings=[finding.what for finding in findings]))


def _needs_attention(count: int) -> str:
    return "one finding needs attention" if count == 1 else f"{count} findings need attention"


@command(json=True)
@click.option(
    "--days",
    type=click.IntRange(1, 365),
    default=7,
    show_default=True,
    help="How many, up to today (UTC).",
)
def cost(app: App, days: int) -> None:
    """Show what was billed per day, pod and volume, this month against its budget, and what goes on billing.

    \b
    Examples:
      ./podkit.sh cost
      ./podkit.sh cost --days 30
      ./podkit.sh cost --json | jq .month
    """
    from podkit.pods.spend import read_spend, report

    settings, client = app.connected()
    spend = read_spend(client, days, settings.monthly_budget)
    click.echo(output.envelope("cost", **spend) if app.as_json else app.here(report(spend)))


@command(json=True)
@data_center_option
@click.option("--all", "every", is_flag=True, help="Every GPU type and where it is in stock.")
@click.option("--model", help="Only how this model fits.")
def gpus(app: App, every: bool, model: str | None, **options: str | None) -> None:
    """Show the GPU types on offer, cheapest first: price, stock, and how each model fits.

    "fits (16,384 tokens x 9)": the cache holds nine requests of 16,384 tokens at once. "tight": the model starts, with
    little to spare. "no": it does not start.

    \b
    Examples:
      ./podkit.sh gpus
      ./podkit.sh gpus --all --model olmocr
      ./podkit.sh gpus --data-center EU-CZ-1 --json
    """
    from podkit.models.spec import model_names, read_model

    folder = app.root / "startup"
    models = [read_model(folder, name) for name in ([model] if model else model_names(folder))]
    settings, client = app.connected(**options)
    needs = {one.name: one.needs for one in models if one.needs}
    _show_fits(app, "gpus", client, "" if every else settings.data_center, needs)


@command(json=True)
@click.argument("checkpoint", metavar="HF_ID")
@click.option("--revision", help="Branch, tag or commit; else the newest.")
@click.option(
    "--max-len", type=click.IntRange(1), help="Tokens of the longest request; else up to 32,768."
)
@data_center_option
def fit(
    app: App, checkpoint: str, revision: str | None, max_len: int | None, **options: str | None
) -> None:
    """Show which GPU types a checkpoint of the Hugging Face Hub fits, and what its startup script has to declare.

    Reads its config and the headers of its weights. Whether vLLM knows its architecture is not looked at.

    \b
    Examples:
      ./podkit.sh fit Qwen/Qwen3-VL-8B-Instruct --max-len 16384
      ./podkit.sh fit allenai/olmOCR-2-7B-1025-FP8 --json
    """
    from huggingface_hub import HfApi
    from huggingface_hub.utils.tqdm import disable_progress_bars

    from podkit.models.checkpoint import read_needs

    settings, client = app.connected(**options)
    token = settings.secrets["HF_TOKEN"].reveal() if "HF_TOKEN" in settings.secrets else None
    disable_progress_bars()
    hub = HfApi(
        token=False if token and "{{" in token else token
    )  # a secret of the account is known only to pods
    needs, at_most = read_needs(hub, checkpoint, revision, max_len)
    _show_fits(
        app,
        "fit",
        client,
        settings.data_center,
        {checkpoint: needs},
        needs=asdict(needs),
        at_most=at_most,
    )
    if at_most:
        app.say(
            "not every layer keeps a full KV cache: it is at most what is counted here, and more may fit"
        )
    if not app.as_json:
        click.echo(f'export MODEL_WEIGHTS_GIB="{math.ceil(needs.weights_gib * 100) / 100:.2f}"')
        click.echo(f'export MODEL_KV_BYTES_PER_TOKEN="{needs.kv_bytes_per_token}"')


def _show_fits(
    app: App,
    name: str,
    client: RunpodClient,
    data_center: str,
    models: Mapping[str, Needs],
    **told: Any,
) -> None:
    """The GPU types of a data center, or of all if it is empty, cheapest first, and how each of `models` fits them.

    `told` goes into the JSON object besides.
    """
    from podkit.pods.placement import suggestion
    from podkit.runpod.types import MIN_CUDA

    catalog = client.list_gpu_types(MIN_CUDA)
    found = [gpu for gpu in catalog if (data_center in gpu.stock if data_center else gpu.price)]
    if data_center and not found and data_center not in (known := client.list_data_centers()):
        raise UsageError(
            f"no data center {data_center!r}", suggestion(data_center, known) or ", ".join(known)
        )
    found.sort(key=lambda gpu: (gpu.price or math.inf, gpu.id))
    if app.as_json:
        listed = [output.gpu_json(gpu, models) for gpu in found]
        click.echo(output.envelope(name, data_center=data_center or None, gpus=listed, **told))
    elif found:
        click.echo("\n".join(output.gpu_table(found, models, data_center)))
    else:
        app.say(
            f"nothing with CUDA {MIN_CUDA} is on offer in {data_center}; ./podkit.sh gpus --all shows all"
        )
    app.say(
        "a fit is worked out, with 2.0 to 2.5 GiB assumed for all but weights and cache; stock is a hint"
    )


@click.group(no_args_is_help=False)
def volume() -> None:
    """The network volumes that keep model files and chats between pods."""


@command("create")
@click.option(
    "--size",
    type=click.IntRange(10, 4096),
    required=True,
    help="GB; it can grow later, never shrink.",
)
@click.option("--name", default="podkit", show_default=True)
@data_center_option
def volume_create(app: App, size: int, name: str, **options: str | None) -> None:
    """Make a network volume, or find the one of that name. It is billed until it is deleted in the provider's console.

    \b
    Examples:
      ./podkit.sh volume create --size 100
    """
    settings, client = app.connected(**options)
    there = [
        v for v in client.list_volumes() if v.name == name and v.data_center == settings.data_center
    ]
    found = there[0] if there else client.create_volume(name, size, settings.data_center)
    click.echo(found.id)
    what = (
        "is there already, nothing was made; --name makes another"
        if there
        else "it costs that until you delete it"
    )
    app.say(f"volume {found}; {what}")


@command("list")
def volume_list(app: App) -> None:
    """Show the network volumes and what they cost per month.

    \b
    Examples:
      ./podkit.sh volume list
    """
    for found in app.connected()[1].list_volumes():
        click.echo(str(found))


@click.command()
@click.argument("action", type=click.Choice(["start", "stop", "status"]))
@click.option(
    "--scenario",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Faults to play.",
)
@click.option("--real-webui", is_flag=True, help="Install and run the real Open WebUI (1.3 GB).")
@click.pass_obj
def sandbox(app: App, action: str, scenario: Path | None, real_webui: bool) -> None:
    """Start, stop or show the RunPod on this machine.

    \b
    Examples:
      ./podkit.sh sandbox start
      ./podkit.sh sandbox start --scenario faults.json
      ./podkit.sh sandbox stop
    """
    folder = app.root / ".podkit/sandbox"
    with sandbox_control() as control:
        if action == "start":
            control.start(folder, scenario=scenario, real_webui=real_webui)
        elif action == "stop":
            app.say(
                "stopped the sandbox and its pods"
                if control.stop(folder)
                else "no sandbox was running"
            )
            return
        running = control.status(folder)
    if running is None:
        raise PodkitError("no sandbox is running", "./podkit.sh sandbox start")
    click.echo(running.api_url)


volume.add_command(volume_create)
volume.add_command(volume_list)
