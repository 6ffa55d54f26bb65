"""`volume`: the network volumes that keep model files and chats between pods."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from podkit.commands.app import App
from podkit.commands.options import DATA_CENTER, command
from podkit.commands.result import Plain, Result
from podkit.commands.volume_files import volume_get, volume_ls, volume_put
from podkit.errors import Missing, UsageError
from podkit.text import stop_command

if TYPE_CHECKING:
    from podkit.runpod.client import RunpodClient


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
@DATA_CENTER
def volume_create(app: App, size: int, name: str, **options: str | None) -> None:
    """Make a network volume, or find the one of that name. It is billed until it is deleted.

    A volume ties its pods to its data center: what is in stock there now is shown before.

    \b
    Examples:
      ./podkit.sh volume create --size 100
    """
    settings, client = app.connect(**options)
    there = []
    for other in client.list_volumes():
        if other.name == name and other.data_center == settings.data_center:
            there.append(other)
    if there:
        found = there[0]
        what = "is there already, nothing was made; --name makes another"
    else:
        _say_stock(app, client, settings.data_center)
        found = client.create_volume(name, size, settings.data_center)
        what = "it costs that until you delete it"
    app.show_line(found.id)
    app.say(f"volume {found}; {what}")


def _say_stock(app: App, client: RunpodClient, data_center: str) -> None:
    from podkit.errors import ApiError
    from podkit.pods.placement import short_gpu
    from podkit.runpod.types import MIN_CUDA

    try:
        catalog = client.list_gpu_types(MIN_CUDA)
    except ApiError as error:
        app.say(f"what is in stock in {data_center} is unknown ({error.message})")
        return
    found = []
    for gpu in sorted(catalog, key=lambda one: one.price or 0.0):
        level = gpu.stock.get(data_center, "NONE")
        if level != "NONE" and gpu.price:
            found.append(f"{short_gpu(gpu.id)} ({gpu.memory} GB, ${gpu.price:.2f}/h, {level})")
    app.say(f"in stock in {data_center} now: {', '.join(found) or 'nothing with CUDA ' + MIN_CUDA}")


@command("list", json=True)
def volume_list(app: App) -> Result:
    """Show the network volumes and what they cost per month.

    \b
    Examples:
      ./podkit.sh volume list
    """
    from podkit.runpod.types import monthly_price

    found = app.connect()[1].list_volumes()
    listed = []
    for one in found:
        listed.append({**asdict(one), "price_per_month": round(monthly_price(one.size_gb), 2)})
    return Plain("\n".join(map(str, found)), {"volumes": listed})


@command("delete")
@click.argument("volume_id", metavar="ID")
@click.option("--confirm", "typed", help="The volume's name, to delete it without being asked.")
def volume_delete(app: App, volume_id: str, typed: str | None) -> None:
    """Delete a network volume with all that is on it: model files and chats. Asks for its name.

    \b
    Examples:
      ./podkit.sh volume delete 5k2x9q
      ./podkit.sh volume delete 5k2x9q --confirm podkit
    """
    client = app.connect()[1]
    meant = [one for one in client.list_volumes() if one.id == volume_id]
    if not meant:
        raise Missing(f"no network volume {volume_id!r}", "./podkit.sh volume list shows the ids")
    users = [pod for pod in client.list_pods() if pod.live and pod.volume_id == volume_id]
    if users:
        what = f"pod {users[0].id} ({users[0].name}) uses volume {volume_id}"
        raise UsageError(what, stop_command(users[0].id))
    name = meant[0].name
    if typed is None:
        app.say(f"this deletes volume {meant[0]}, and all that is on it")
        typed = app.ask(f"type its name ({name}) to delete it", f"--confirm {name}")
    if typed != name:
        raise UsageError(f"{typed!r} is not its name; nothing was deleted", f"its name is {name}")
    client.delete_volume(volume_id)
    app.say(f"volume {volume_id} ({name}) is deleted and no longer billed")


volume.add_command(volume_create)
volume.add_command(volume_list)
volume.add_command(volume_delete)
volume.add_command(volume_put)
volume.add_command(volume_get)
volume.add_command(volume_ls)
