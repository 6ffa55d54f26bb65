"""`fit`: which GPU types a checkpoint of the Hub fits, and what boots have taught of that."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import click

from podkit.commands.app import App
from podkit.commands.gpus import GpuOffer, on_offer, say_about
from podkit.commands.options import DATA_CENTER, WIDE, command
from podkit.commands.result import Result
from podkit.errors import UsageError

if TYPE_CHECKING:
    from podkit.models.learned import Boot


@dataclass(frozen=True)
class LearnedBoots:
    """The boots from which the fit is learned."""

    boots: Sequence[Boot]

    def text(self) -> str:
        from podkit.commands.tables import columns
        from podkit.pods.placement import short_gpu

        if not self.boots:
            return ""
        rows = [["WHEN", "MODEL", "GPU", "VLLM", "WEIGHTS", "KV CACHE", "OVERHEAD"]]
        for boot in self.boots:
            least = ">= " if boot.is_least else ""
            row = [boot.at[:10], boot.model, short_gpu(boot.gpu), boot.vllm]
            row += [
                f"{boot.weights_gib:.2f}",
                f"{boot.kv_gib:.2f}",
                f"{least}{boot.overhead_gib:.2f}",
            ]
            rows.append(row)
        return "\n".join(columns(*rows))

    def fields(self) -> Mapping[str, Any]:
        return {"boots": [asdict(boot) for boot in self.boots]}


@command("fit", json=True)
@click.argument("checkpoint", metavar="[HF_ID]", default="")
@click.option("--revision", help="Branch, tag or commit; else the newest.")
@click.option(
    "--max-len",
    type=click.IntRange(1),
    help="Tokens of the longest request; else up to 32,768.",
)
@click.option("--learned", is_flag=True, help="Show what boots have taught about memory instead.")
@DATA_CENTER
@WIDE
def fit(
    app: App,
    checkpoint: str,
    revision: str | None,
    max_len: int | None,
    learned: bool,
    wide: bool,
    **options: str | None,
) -> Result:
    """Show which GPU types a checkpoint of the Hugging Face Hub fits, and what its startup script
    has to declare.

    Reads its config and the headers of its weights. Whether vLLM knows its architecture is not
    looked at. What vLLM takes beside weights and cache is what boots on that GPU type have shown,
    marked *, else it is assumed.

    \b
    Examples:
      ./podkit.sh fit Qwen/Qwen3-VL-8B-Instruct --max-len 16384
      ./podkit.sh fit allenai/olmOCR-2-7B-1025-FP8 --json
      ./podkit.sh fit --learned
    """
    if learned == bool(checkpoint):
        hint = "./podkit.sh fit Qwen/Qwen3-VL-8B-Instruct, or ./podkit.sh fit --learned"
        raise UsageError("give the id of a checkpoint, or --learned", hint)
    if learned:
        return _learn(app)
    return _fit(app, checkpoint, revision, max_len, options, is_wide=wide)


def _learn(app: App) -> LearnedBoots:
    """What is known, after a look at the logs of the pods that run."""
    _, client = app.connect()
    for pod in client.list_pods():
        if pod.live and pod.ours:
            app.kept_logs().learn_from_pod(client, pod.id)
    boots = app.boots()
    if not boots:
        app.say("no boot has been seen yet: a deploy, or ./podkit.sh logs, sees one")
    return LearnedBoots(boots)


def _fit(
    app: App,
    checkpoint: str,
    revision: str | None,
    max_len: int | None,
    options: Mapping[str, str | None],
    *,
    is_wide: bool,
) -> GpuOffer:
    from podkit.models.checkpoint import open_hub, quantized_siblings, read_needs
    from podkit.models.learned import Learned
    from podkit.models.spec import vllm_version

    settings, client = app.connect(**options)
    token = settings.secrets["HF_TOKEN"].reveal() if "HF_TOKEN" in settings.secrets else ""
    hub = open_hub(token)
    needs, at_most = read_needs(hub, checkpoint, revision, max_len)
    siblings = quantized_siblings(hub, checkpoint)
    weights = math.ceil(needs.weights_gib * 100) / 100
    offer = GpuOffer(
        gpus=on_offer(client, settings.data_center),
        needs={checkpoint: needs},
        learned={checkpoint: Learned(app.boots(), vllm=vllm_version(app.root / "startup"))},
        data_center=settings.data_center,
        is_wide=is_wide,
        below=(
            f'export MODEL_WEIGHTS_GIB="{weights:.2f}"',
            f'export MODEL_KV_BYTES_PER_TOKEN="{needs.kv_bytes_per_token}"',
        ),
        more={"needs": asdict(needs), "at_most": at_most, "siblings": list(map(asdict, siblings))},
    )
    say_about(app, offer)
    for one in siblings:
        app.say(f"its card says it is the same model in {one.kind}: {one.name}")
    if at_most:
        what = "not every layer keeps a full KV cache"
        app.say(f"{what}: it is at most what is counted here, and more may fit")
    return offer
