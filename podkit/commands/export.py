"""`export`: the models that podkit's pods serve, as files for another engine.

Pure but for the folder that is written: no account, no network.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from podkit.commands.app import App
from podkit.commands.export_dstack import export_dstack
from podkit.commands.options import command
from podkit.commands.result import Result
from podkit.errors import UsageError

if TYPE_CHECKING:
    from podkit.export.plan import Azure, Plan

ENGINES = ("production-stack", "plain", "kaito")
TLS = ("own", "cert-manager")


@dataclass(frozen=True)
class Exported:
    """The folder that was written, and its files."""

    folder: Path
    files: tuple[str, ...]

    def fields(self) -> dict[str, Any]:
        return {"folder": str(self.folder), "files": list(self.files)}

    def text(self) -> str:
        return str(self.folder / "README.md")


def shared_options(function: Any) -> Any:
    """The options that both kinds of cluster have."""
    for option in reversed(
        (
            click.argument("models", metavar="MODEL...", nargs=-1, required=True),
            click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder."),
            click.option("--host", required=True, help="Of the API, such as api.example.org."),
            click.option("--page-host", help="Of the chat page; chat.example.org if not given."),
            click.option("--gpu", "gpu_name", default="a100", help="a100 (default), h100 or t4."),
            click.option("--replicas", default="0:4", help="Of each model: MIN:MAX; 0:4."),
            click.option(
                "--tls",
                type=click.Choice(TLS),
                default=TLS[0],
                show_default=True,
                help="Certificates of yours, or by cert-manager from Let's Encrypt.",
            ),
            click.option(
                "--pin-digests",
                metavar="PODS.JSON",
                type=click.Path(path_type=Path),
                help="Images by digest: those of the pods that kubectl lists in this file.",
            ),
        )
    ):
        function = option(function)
    return function


@click.group()
def export() -> None:
    """The same models as files for Kubernetes, AKS or dstack."""


@command("kubernetes", json=True)
@shared_options
@click.option("--engine", type=click.Choice(ENGINES[:2]), default=ENGINES[0], show_default=True)
@click.option("--registry", required=True, help="Where your images are, such as ghcr.io/you.")
@click.option("--gateway-class", required=True, help="A GatewayClass of the cluster.")
@click.option("--storage-class", required=True, help="One that gives ReadWriteMany volumes.")
@click.option(
    "--prometheus-url",
    default="http://prometheus-operated.monitoring.svc:9090",
    show_default=True,
    help="As KEDA reaches it.",
)
@click.option("--prometheus-namespace", default="monitoring", show_default=True)
@click.option(
    "--database-network",
    default="0.0.0.0/0",
    show_default=True,
    help="The addresses that PostgreSQL may have.",
)
@click.option("--pod-network", default="10.0.0.0/8", show_default=True, help="Of the pods.")
def export_kubernetes(app: App, models: tuple[str, ...], out: Path, **options: Any) -> Result:
    """Write the files that serve MODELs on a cluster with a GPU pool, Gateway API and KEDA.

    \b
    Examples:
      ./podkit.sh export kubernetes olmocr --out k8s --host api.example.org \\
        --registry ghcr.io/you --gateway-class istio --storage-class nfs
    """
    return write(app, models, out, None, options)


@command("aks", json=True)
@shared_options
@click.option("--engine", type=click.Choice(ENGINES), default=ENGINES[0], show_default=True)
@click.option("--name", required=True, help="3 to 15 letters and digits, new in all of Azure.")
@click.option("--location", default="eastus", show_default=True)
@click.option("--tenant-id", help="Printed by azure/cluster.sh ids.")
@click.option("--client-id", help="Printed by azure/cluster.sh ids.")
@click.option("--prometheus-url", help="Printed by azure/cluster.sh ids.")
def export_aks(
    app: App,
    models: tuple[str, ...],
    out: Path,
    name: str,
    location: str,
    tenant_id: str | None,
    client_id: str | None,
    **options: Any,
) -> Result:
    """Write the files that make an AKS cluster with a GPU pool and serve MODELs on it.

    The ids and the address of Prometheus are known once the cluster is made: export again with
    them. README.md in the folder has every step, its check, its undo and its cost.

    \b
    Examples:
      ./podkit.sh export aks olmocr qwen3vl --out aks --host api.example.org --name acmeocr
    """
    from podkit.export.plan import UNKNOWN_ID, UNKNOWN_URL, Azure, check_name

    azure = Azure(check_name(name), location, tenant_id or UNKNOWN_ID, client_id or UNKNOWN_ID)
    options["prometheus_url"] = options["prometheus_url"] or UNKNOWN_URL
    options |= {
        "registry": f"{azure.registry}.azurecr.io",
        "gateway_class": "approuting-istio",
        "storage_class": "podkit-nfs",
        "prometheus_namespace": "kube-system",
        "database_network": "10.226.16.0/24",
        "pod_network": "10.244.0.0/16",
    }
    return write(app, models, out, azure, options)


def write(
    app: App,
    models: tuple[str, ...],
    out: Path,
    azure: Azure | None,
    options: dict[str, Any],
) -> Result:
    """Makes the export's files and writes them."""
    from podkit.export.folder import write_tree
    from podkit.export.tree import build_tree

    plan = make_plan(app.root, models, azure, options)
    tree = build_tree(plan, app.root)
    write_tree(tree, out)
    app.say(f"wrote {len(tree)} files; {out / 'README.md'} has the steps")
    return Exported(out, tuple(sorted(tree)))


def make_plan(
    root: Path,
    models: tuple[str, ...],
    azure: Azure | None,
    options: dict[str, Any],
) -> Plan:
    """What is exported. Raises UsageError for what cannot be."""
    from podkit.export.digests import read_digests
    from podkit.export.engine import read_engine
    from podkit.export.plan import Plan, check_host, page_of, parse_replicas
    from podkit.export.sizes import find_gpu

    if len(set(models)) != len(models):
        raise UsageError("a model is named twice", "name each once")
    host = check_host(options.pop("host"))
    page_host = check_host(options.pop("page_host") or page_of(host))
    if page_host == host:
        raise UsageError("the API and the chat page need hosts of their own", "--page-host HOST")
    gpu = find_gpu(options.pop("gpu_name"))
    least, most = parse_replicas(options.pop("replicas"))
    listed = options.pop("pin_digests")
    return Plan(
        engines=tuple(read_engine(root / "startup", model, gpu) for model in models),
        gpu=gpu,
        host=host,
        page_host=page_host,
        least=least,
        most=most,
        azure=azure,
        digests=read_digests(listed) if listed else {},
        command=command_line(),
        **options,
    )


def command_line() -> str:
    """The command as it was typed, but for the folder, which is no part of what is in it."""
    import shlex

    context = click.get_current_context()
    words = ["./podkit.sh", "export", str(context.info_name), *context.params["models"]]
    for parameter in context.command.params:
        value = context.params.get(str(parameter.name))
        if isinstance(parameter, click.Option) and value and parameter.name != "out":
            words += [parameter.opts[0], str(value)]
    return shlex.join([*words, "--out", "THIS_FOLDER"])


for entry in (export_aks, export_kubernetes, export_dstack):
    export.add_command(entry)
