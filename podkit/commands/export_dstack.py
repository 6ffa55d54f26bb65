"""`export dstack`: the same models for an engine that rents from several clouds."""

from __future__ import annotations

from pathlib import Path

import click

from podkit.commands.app import App
from podkit.commands.options import DATA_CENTER, command
from podkit.commands.result import Plain, Result
from podkit.settings import load


@command("dstack", json=True)
@click.argument("models", metavar="MODEL...", nargs=-1, required=True)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder.")
@click.option(
    "--as",
    "kind",
    type=click.Choice(("service", "task")),
    default="service",
    show_default=True,
    help="A service has a URL, a task a tunnel to this machine.",
)
@click.option("--any-cloud", is_flag=True, help="Wherever dstack finds a GPU; without a volume.")
@click.option("--volume", "RUNPOD_NETWORK_VOLUME_ID", help="Id of a network volume that is there.")
@DATA_CENTER
@click.option("--max-hours", "PODKIT_MAX_HOURS", help="dstack ends a run after so long; 0: never.")
@click.option(
    "--idle-minutes",
    "PODKIT_IDLE_MINUTES",
    help="dstack ends a run whose GPU was idle for so long; 0: never.",
)
def export_dstack(
    app: App,
    models: tuple[str, ...],
    out: Path,
    kind: str,
    any_cloud: bool,
    **options: str | None,
) -> Result:
    """Write a .dstack.yml for each MODEL: dstack makes the run, watches it and ends it.

    \b
    Examples:
      ./podkit.sh export dstack olmocr --out dstack
      ./podkit.sh export dstack qwen3vl --out dstack --as task --any-cloud
    """
    from podkit.export.dstack import Run, build_tree
    from podkit.export.folder import write_tree

    settings = load(app.environ, app.root, options)
    run = Run(
        kind=kind,
        region="" if any_cloud else settings.data_center,
        volume_id=settings.volume_id,
        max_hours=settings.max_hours,
        idle_minutes=settings.idle_minutes,
    )
    tree = build_tree(app.root / "startup", models, run)
    write_tree(tree, out)
    app.say(f"wrote {len(tree)} files; {out / 'README.md'} has the steps")
    told = {"folder": str(out), "files": sorted(tree)}
    return Plain(str(out / "README.md"), told)
