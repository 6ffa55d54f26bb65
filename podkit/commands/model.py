"""`model`: models in a bucket of yours, from where pods take them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from podkit.commands.app import App
from podkit.commands.completion import complete_model
from podkit.commands.options import command
from podkit.commands.result import Plain, Result
from podkit.commands.volume_files import Progress
from podkit.errors import PodkitError, UsageError
from podkit.settings import load, wants_sandbox

if TYPE_CHECKING:
    from podkit.models.publish import Shelf
    from podkit.settings import Settings

TO = click.option("--to", "PODKIT_MODEL_BUCKET", help="s3://bucket/folder; else the setting.")
MODEL = click.argument("model", shell_complete=complete_model)


@click.group(no_args_is_help=False)
def model() -> None:
    """Models in a bucket of yours, from where pods take them if their script says so."""


@command("publish", json=True)
@MODEL
@click.option(
    "--from",
    "folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder that has the files already; else they are fetched from the Hub.",
)
@TO
def model_publish(app: App, model: str, folder: Path | None, **options: str | None) -> Result:
    """Put a model's files into the bucket, each compared with the Hub's hashes before.

    Its manifest comes last: a pod takes nothing of a model that was not published whole. Run it
    again after a break: it goes on where it was.

    \b
    Examples:
      ./podkit.sh model publish olmocr --to s3://my-models/podkit
      ./podkit.sh model publish qwen3vl --from ~/models/qwen3vl
    """
    from podkit.models.checkpoint import open_hub
    from podkit.models.publish import manifest_of_revision, publish
    from podkit.uploads import Uploads

    settings, shelf, checkpoint = _open(app, model, options)
    token = settings.secrets["HF_TOKEN"].reveal() if "HF_TOKEN" in settings.secrets else ""
    hub = open_hub(token)
    if folder is None:
        repo, _, revision = checkpoint.partition("@")
        app.say(f"fetching {checkpoint} from the Hub into this machine's cache")
        folder = Path(hub.snapshot_download(repo, revision=revision))
    manifest = manifest_of_revision(hub, checkpoint, folder)
    uploads = Uploads(app.root / ".podkit/uploads.json")
    is_new = publish(shelf, manifest, folder, uploads, Progress(app, manifest.size))
    what = "is published" if is_new else "is there already"
    size = f"{len(manifest.files)} files, {manifest.size / 1e9:.2f} GB"
    app.say(f"{checkpoint} {what}: {size}, sha256 {manifest.digest[:12]}")
    told = {"checkpoint": checkpoint, "published": is_new, "digest": manifest.digest}
    return Plain(checkpoint, {**told, "size": manifest.size})


@command("check", json=True)
@MODEL
@click.option("--hash", "reads_all", is_flag=True, help="Read all of it, and compare SHA-256s.")
@TO
def model_check(app: App, model: str, reads_all: bool, **options: str | None) -> Result:
    """Say whether a model lies whole in the bucket: every file with its size, or its hash.

    \b
    Examples:
      ./podkit.sh model check olmocr
      ./podkit.sh model check olmocr --hash
    """
    from podkit.models.publish import check

    _, shelf, checkpoint = _open(app, model, options)
    manifest, wrong = check(shelf, checkpoint, reads_all=reads_all, moved=Progress(app, 0))
    told = {"checkpoint": checkpoint, "digest": manifest.digest, "wrong": wrong}
    if wrong:
        hint = f"./podkit.sh model publish {model}"
        raise PodkitError(f"{checkpoint} is not whole: {'; '.join(wrong)}", hint, **told)
    by = "SHA-256" if reads_all else "size"
    app.say(f"{checkpoint} is whole by the {by} of {len(manifest.files)} files")
    return Plain(checkpoint, told)


@command("list", json=True)
@TO
def model_list(app: App, **options: str | None) -> Result:
    """List the models that lie in the bucket.

    \b
    Examples:
      ./podkit.sh model list
    """
    settings = _settings(app, options)
    lines = []
    listed = []
    for name, manifest in _shelf(settings).list_models():
        size = f"{manifest.size / 1e9:.2f} GB" if manifest else "not whole"
        lines.append(f"{name}  {size}")
        digest = manifest.digest if manifest else None
        listed.append({"name": name, "size": manifest and manifest.size, "digest": digest})
    return Plain("\n".join(lines), {"models": listed})


def _settings(app: App, options: dict[str, str | None]) -> Settings:
    """The settings; no account is needed. Raises UsageError without a bucket and keys."""
    app.sandbox = wants_sandbox(app.sandbox, app.environ, app.root)
    settings = load(app.environ, app.root, options)
    if not settings.model_bucket:
        hint = "--to s3://bucket/folder, or PODKIT_MODEL_BUCKET in .env; docs/sources.md"
        raise UsageError("no bucket of models is named", hint)
    if not settings.model_s3:
        what = "PODKIT_S3_ACCESS_KEY and PODKIT_S3_SECRET_KEY are not set"
        raise UsageError(what, "put the keys to the bucket into .env; docs/sources.md")
    return settings


def _shelf(settings: Settings) -> Shelf:
    from podkit.models.publish import Shelf, bucket_and_folder
    from podkit.s3 import Bucket

    bucket, folder = bucket_and_folder(settings.model_bucket)
    return Shelf(Bucket(settings.model_s3, bucket), folder)


def _open(app: App, name: str, options: dict[str, str | None]) -> tuple[Settings, Shelf, str]:
    """The settings, the bucket, and `repo@revision` of a model."""
    from podkit.models.spec import read_model

    checkpoint = read_model(app.root / "startup", name).checkpoint
    settings = _settings(app, options)
    return settings, _shelf(settings), checkpoint


model.add_command(model_publish)
model.add_command(model_check)
model.add_command(model_list)
