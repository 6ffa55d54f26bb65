"""The commands about the account, its volumes and the sandbox: what is there, what it costs, what needs attention."""

from __future__ import annotations

from pathlib import Path

import click

from podkit import output
from podkit.app import App, command, data_center_option, sandbox_control
from podkit.errors import PodkitError, UsageError


@command(json=True)
def doctor(app: App) -> None:
    """Check key, volume, stock and pods; exit 0 only if nothing needs attention."""
    from podkit.doctor import examine

    settings, client = app.connected()
    findings = list(examine(client, settings))
    troubles = [finding for finding in findings if finding.fix]
    for finding in [] if app.as_json else findings:
        app.say(f"!!  {finding.what}\n    next: {finding.fix}" if finding.fix else f"ok  {finding.what}")
    if troubles:
        raise PodkitError("; ".join(finding.what for finding in troubles), troubles[0].fix)
    if app.as_json:
        click.echo(output.envelope("doctor", findings=[finding.what for finding in findings]))


@click.group(no_args_is_help=False)
def volume() -> None:
    """The network volumes that keep model files and chats between pods."""


@command("create")
@click.option("--size", type=click.IntRange(10, 4096), required=True, help="GB; it can grow later, never shrink.")
@click.option("--name", default="podkit", show_default=True)
@data_center_option
def volume_create(app: App, size: int, name: str, **options: str | None) -> None:
    """Make a network volume. It is billed per month until it is deleted in the provider's console."""
    settings, client = app.connected(**options)
    if any(v.name == name and v.data_center == settings.data_center for v in client.list_volumes()):
        hint = "./podkit.sh volume list shows it; --name makes another"
        raise UsageError(f"a volume named {name!r} is there already in {settings.data_center}", hint)
    made = client.create_volume(name, size, settings.data_center)
    click.echo(made.id)
    app.say(f"volume {made}; it costs that until you delete it")


@command("list")
def volume_list(app: App) -> None:
    """Show the network volumes and what they cost per month."""
    for found in app.connected()[1].list_volumes():
        click.echo(str(found))


@click.command()
@click.argument("action", type=click.Choice(["start", "stop", "status"]))
@click.option("--scenario", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Faults to play.")
@click.option("--real-webui", is_flag=True, help="Install and run the real Open WebUI (1.3 GB).")
@click.pass_obj
def sandbox(app: App, action: str, scenario: Path | None, real_webui: bool) -> None:
    """Start, stop or show the RunPod on this machine."""
    folder = app.root / ".podkit/sandbox"
    with sandbox_control() as control:
        if action == "start":
            control.start(folder, scenario=scenario, real_webui=real_webui)
        elif action == "stop":
            app.say("stopped the sandbox and its pods" if control.stop(folder) else "no sandbox was running")
            return
        running = control.status(folder)
    if running is None:
        raise PodkitError("no sandbox is running", "./podkit.sh sandbox start")
    click.echo(running.api_url)


volume.add_command(volume_create)
volume.add_command(volume_list)
