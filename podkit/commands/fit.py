"""`fit`: which GPU types a checkpoint of the Hub fits."""

from __future__ import annotations

import math
from dataclasses import asdict

import click

from podkit.commands.app import App
from podkit.commands.gpus import GpuOffer, on_offer, say_about
from podkit.commands.options import DATA_CENTER, WIDE, command
from podkit.commands.result import Result


@command("fit", json=True)
@click.argument("checkpoint", metavar="HF_ID")
@click.option("--revision", help="Branch, tag or commit; else the newest.")
@click.option(
    "--max-len",
    type=click.IntRange(1),
    help="Tokens of the longest request; else up to 32,768.",
)
@DATA_CENTER
@WIDE
def fit(
    app: App,
    checkpoint: str,
    revision: str | None,
    max_len: int | None,
    wide: bool,
    **options: str | None,
) -> Result:
    """Show which GPU types a checkpoint of the Hugging Face Hub fits, and what its startup script
    has to declare.

    Reads its config and the headers of its weights. Whether vLLM knows its architecture is not
    looked at.

    \b
    Examples:
      ./podkit.sh fit Qwen/Qwen3-VL-8B-Instruct --max-len 16384
      ./podkit.sh fit allenai/olmOCR-2-7B-1025-FP8 --json
    """
    from podkit.models.checkpoint import open_hub, read_needs

    settings, client = app.connected(**options)
    token = settings.secrets["HF_TOKEN"].reveal() if "HF_TOKEN" in settings.secrets else ""
    needs, at_most = read_needs(open_hub(token), checkpoint, revision, max_len)
    weights = math.ceil(needs.weights_gib * 100) / 100
    offer = GpuOffer(
        gpus=on_offer(client, settings.data_center),
        needs={checkpoint: needs},
        data_center=settings.data_center,
        is_wide=wide,
        below=(
            f'export MODEL_WEIGHTS_GIB="{weights:.2f}"',
            f'export MODEL_KV_BYTES_PER_TOKEN="{needs.kv_bytes_per_token}"',
        ),
        more={"needs": asdict(needs), "at_most": at_most},
    )
    say_about(app, offer)
    if at_most:
        what = "not every layer keeps a full KV cache"
        app.say(f"{what}: it is at most what is counted here, and more may fit")
    return offer
