"""`volume put`, `volume get` and `volume ls`: files of a network volume, without a pod."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import click

from podkit.commands.app import App
from podkit.commands.options import DATA_CENTER, command
from podkit.commands.result import Plain, Result
from podkit.errors import Missing, UsageError

if TYPE_CHECKING:
    from podkit.runpod.types import NetworkVolume
    from podkit.s3 import Bucket, Stored

KEYS_HINT = (
    "make an S3 API key in the provider's console (Settings, S3 API Keys), and put both parts into"
    " .env"
)
TELL_SECONDS = 5.0
VOLUME = click.option(
    "--volume", "RUNPOD_NETWORK_VOLUME_ID", help="Id of the network volume; else as deploy does."
)


@dataclass(frozen=True)
class Moved:
    """A file that was moved, or was there already, and how it was proven to be whole: "md5",
    "sha256", "read back", or "size" alone.
    """

    path: str
    size: int
    checked: str


class Progress:
    """Says now and then how much of `total` bytes is done."""

    def __init__(self, app: App, total: int) -> None:
        self._app = app
        self._total = total
        self._done = 0
        self._began = time.monotonic()
        self._told = self._began

    def __call__(self, count: int) -> None:
        self._done += count
        now = time.monotonic()
        if now - self._told >= TELL_SECONDS:
            self._told = now
            rate = self._done / (now - self._began) / 1e6
            done = f"{self._done / 1e9:.2f} of {self._total / 1e9:.2f} GB"
            self._app.say(f"{done}, {rate:.1f} MB/s")


@command("put", json=True)
@click.argument(
    "sources",
    metavar="PATH...",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, path_type=Path),
)
@click.option("--to", "target", default="", help="Folder on the volume; else its top.")
@VOLUME
@DATA_CENTER
def volume_put(app: App, sources: Sequence[Path], target: str, **options: str | None) -> Result:
    """Put files, or folders with all below them, on a network volume, without renting a pod.

    Run it again after a break: it goes on where it was. Each file is compared afterwards. What lies
    there under the same name is replaced.

    \b
    Examples:
      ./podkit.sh volume put invoices/ --to pdfs
      ./podkit.sh volume put scan.pdf --volume 5k2x9q
    """
    from podkit.uploads import Uploads

    volume, bucket = _open(app, options)
    files = _files_to_put(sources, checked_path(target))
    total = sum(file.stat().st_size for file in files.values())
    if total > volume.size_gb * 1e9:
        what = f"{total / 1e9:.1f} GB are more than the volume's {volume.size_gb} GB"
        raise UsageError(what, "nobody checks its free space: enlarge it first")
    uploads = Uploads(app.root / ".podkit/uploads.json")
    progress = Progress(app, total)
    moved = []
    for key, file in files.items():
        proof = bucket.put(file, key, uploads, progress)
        moved.append(Moved(key, file.stat().st_size, proof))
    app.say(f"{len(moved)} files, {total / 1e9:.2f} GB, are on volume {volume.id} and compared")
    return _list(moved)


@command("get", json=True)
@click.argument("path")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    help="Folder on this machine; else the one you are in.",
)
@click.option("--replace", is_flag=True, help="Replace files that are on this machine.")
@VOLUME
@DATA_CENTER
def volume_get(
    app: App,
    path: str,
    out: Path,
    replace: bool,
    **options: str | None,
) -> Result:
    """Get a file, or a folder with all below it, from a network volume, without renting a pod.

    Run it again after a break: it goes on where it was. A file of the same name on this machine is
    left as it is and named, unless you give --replace.

    \b
    Examples:
      ./podkit.sh volume get podkit/boots.jsonl
      ./podkit.sh volume get texts --out texts
    """
    _, bucket = _open(app, options)
    key = checked_path(path)
    one = bucket.find(key) if key else None
    found = [one] if one else list(_below(bucket, f"{key}/" if key else ""))
    if not found:
        raise Missing(f"there is no {path!r} on the volume", "./podkit.sh volume ls shows what is")
    above = PurePosixPath(key).parent if one else PurePosixPath(key)
    files = {}
    for stored in found:
        file = out / PurePosixPath(checked_path(stored.key)).relative_to(above)
        if file.exists() and not replace:
            app.say(f"{file} is there, and is left as it is; --replace replaces it")
        else:
            files[file] = stored
    progress = Progress(app, sum(stored.size for stored in files.values()))
    moved = []
    for file, stored in files.items():
        moved.append(Moved(str(file), stored.size, bucket.get(stored, file, progress)))
    unproven = [one.path for one in moved if one.checked == "size"]
    if unproven:
        what = f"of {len(unproven)} files only the size was compared"
        app.say(f"{what}: the provider has no checksum of them yet")
    return _list(moved)


@command("ls", json=True)
@click.argument("path", default="")
@VOLUME
@DATA_CENTER
def volume_ls(app: App, path: str, **options: str | None) -> Result:
    """List a folder of a network volume.

    The first listing of a volume with many files may take minutes: the provider computes
    checksums then.

    \b
    Examples:
      ./podkit.sh volume ls
      ./podkit.sh volume ls hf_cache
    """
    _, bucket = _open(app, options)
    key = checked_path(path)
    files, folders = bucket.folder(f"{key}/" if key else "")
    lines = list(folders)
    listed = []
    for one in files:
        if not one.key.endswith("/"):
            lines.append(f"{one.key}  {one.size:,}")
            listed.append({"path": one.key, "size": one.size})
    return Plain("\n".join(lines), {"folders": folders, "files": listed})


def checked_path(path: str) -> str:
    """A path below the top of the volume. Raises UsageError for one that leads out of it."""
    plain = path.removeprefix("/workspace").strip("/")
    parts = plain.split("/") if plain else []
    if any(part in ("", ".", "..") or not part.isprintable() for part in parts):
        raise UsageError(f"{path!r} is no path on a volume", "such as pdfs/invoices")
    return plain


def _open(app: App, options: dict[str, str | None]) -> tuple[NetworkVolume, Bucket]:
    """The volume, and its S3 door. Raises UsageError without keys to it."""
    from podkit.pods.survey import find_volume
    from podkit.s3 import Bucket

    settings, client = app.connect(**options)
    if app.sandbox:
        what = "the sandbox's volume is a folder on this machine: .podkit/sandbox/volumes"
        raise UsageError("the sandbox has no S3 door", what)
    if not settings.volume_s3:
        what = "RUNPOD_S3_ACCESS_KEY and RUNPOD_S3_SECRET_KEY are not set"
        raise UsageError(what, KEYS_HINT)
    volume = find_volume(client, settings)
    return volume, Bucket(settings.volume_s3, volume.id)


def _files_to_put(sources: Sequence[Path], target: str) -> dict[str, Path]:
    """The files by their keys. Raises UsageError for two that would lie in one place."""
    files: dict[str, Path] = {}
    for key, file in _keys(sources, target):
        other = files.setdefault(key, file)
        if other != file:
            raise UsageError(
                f"{other} and {file} both go to {key!r}",
                "put each into a folder of its own with --to",
            )
    return files


def _keys(sources: Sequence[Path], target: str) -> Iterator[tuple[str, Path]]:
    """Keys and files; a folder's own name is part of the keys, links are not followed."""
    for source in sources:
        above = source.resolve().parent
        files = [source.resolve()]
        if source.is_dir():
            files = sorted(source.resolve().rglob("*"))
        for file in files:
            if file.is_file() and not file.is_symlink():
                name = file.relative_to(above).as_posix()
                yield f"{target}/{name}" if target else name, file


def _below(bucket: Bucket, prefix: str) -> Iterator[Stored]:
    files, folders = bucket.folder(prefix)
    for one in files:
        if not one.key.endswith("/"):
            yield one
    for folder in folders:
        yield from _below(bucket, folder)


def _list(moved: Sequence[Moved]) -> Plain:
    lines = [f"{one.path}  {one.size:,}  {one.checked}" for one in moved]
    return Plain("\n".join(lines), {"files": [asdict(one) for one in moved]})
