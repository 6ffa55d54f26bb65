"""A checkpoint in a bucket of the user's, from where pods take it: put there, its manifest last,
looked for, and compared.

A folder that is not the pinned revision on the Hub is never published under its name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from podkit.errors import Missing, PodkitError, S3Failed
from podkit.models.manifest import NAME, File, Manifest, make_manifest, read_manifest

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoSibling

    from podkit.s3 import Bucket, Moved
    from podkit.uploads import Uploads


@dataclass(frozen=True)
class Shelf:
    """The folder of a bucket where models lie, each below `<org>--<name>@<revision>/`."""

    bucket: Bucket
    folder: str

    def key(self, checkpoint: str, path: str) -> str:
        """Where a file of `repo@revision` lies."""
        name = f"{checkpoint.replace('/', '--')}/{path}"
        return f"{self.folder}/{name}" if self.folder else name

    def manifest(self, checkpoint: str) -> Manifest | None:
        """What lies there of a checkpoint; None if it was never published whole.

        Raises S3Failed for one that cannot be read.
        """
        key = self.key(checkpoint, NAME)
        if not self.bucket.find(key):
            return None
        try:
            return read_manifest(self.bucket.read(key))
        except ValueError as error:
            raise S3Failed(f"{key}: {error}", "publish the model again") from None

    def list_models(self) -> Iterator[tuple[str, Manifest | None]]:
        """The folders that lie there, each with its manifest if that can be read."""
        top = f"{self.folder}/" if self.folder else ""
        for folder in self.bucket.folder(top)[1]:
            name = folder.removeprefix(top).rstrip("/")
            try:
                yield name, self.manifest(name)
            except S3Failed:
                yield name, None


def bucket_and_folder(place: str) -> tuple[str, str]:
    """The two parts of `s3://bucket/folder`."""
    parts = urlsplit(place)
    return parts.netloc, parts.path.strip("/")


def manifest_of_revision(api: HfApi, checkpoint: str, folder: Path) -> Manifest:
    """The manifest of a folder whose every file is that of `repo@revision` on the Hub: large ones
    by their SHA-256, small ones by git's hash. Raises PodkitError naming those that are not.
    """
    repo, _, revision = checkpoint.partition("@")
    manifest = make_manifest(folder, repo, revision)
    found = {file.path: file for file in manifest.files}
    try:
        listed = api.model_info(repo, revision=revision, files_metadata=True).siblings or []
    except Exception as error:  # the library lets those of its HTTP client through
        what = f"{checkpoint} could not be looked up ({type(error).__name__})"
        raise PodkitError(what, "check the network connection and HF_TOKEN") from None
    wrong = []
    for one in listed:
        name = one.rfilename
        is_hidden = any(part.startswith(".") for part in name.split("/"))
        if not is_hidden and not _is_the_same(one, found.pop(name, None), folder / name):
            wrong.append(name)
    wrong += sorted(found)
    if wrong:
        what = f"{folder} is not {checkpoint}: {', '.join(wrong[:5])}"
        raise PodkitError(what, "fetch it again, or leave out --from to have podkit fetch it")
    return manifest


def _is_the_same(of_hub: RepoSibling, mine: File | None, path: Path) -> bool:
    """Whether a file of the folder is the Hub's."""
    if mine is None:
        return False
    if of_hub.lfs:
        return mine.sha256 == of_hub.lfs.sha256
    content = path.read_bytes()
    blob = b"blob %d\0" % len(content) + content
    return hashlib.sha1(blob, usedforsecurity=False).hexdigest() == of_hub.blob_id


def publish(shelf: Shelf, manifest: Manifest, folder: Path, uploads: Uploads, moved: Moved) -> bool:
    """Puts a checkpoint there, its manifest last; False if it lies there already. Files that an
    earlier attempt brought are not sent again. Raises S3Failed.
    """
    checkpoint = f"{manifest.repo}@{manifest.revision}"
    if shelf.manifest(checkpoint) == manifest:
        return False
    for file in manifest.files:
        key = shelf.key(checkpoint, file.path)
        shelf.bucket.put_once(folder / file.path, key, uploads, moved)
    shelf.bucket.write(shelf.key(checkpoint, NAME), manifest.text().encode())
    return True


def check(
    shelf: Shelf, checkpoint: str, *, reads_all: bool, moved: Callable[[int], None]
) -> tuple[Manifest, list[str]]:
    """A published checkpoint's manifest, and what is wrong there: files that are missing or of
    another size; with `reads_all` also those of another SHA-256. Raises Missing.
    """
    manifest = shelf.manifest(checkpoint)
    if manifest is None:
        raise Missing(f"{checkpoint} is not published there", "./podkit.sh model publish MODEL")
    wrong = []
    for file in manifest.files:
        key = shelf.key(checkpoint, file.path)
        stored = shelf.bucket.find(key)
        if stored is None:
            wrong.append(f"{file.path} is missing")
        elif stored.size != file.size:
            wrong.append(f"{file.path} has {stored.size} of {file.size} bytes")
        elif reads_all and shelf.bucket.sha256(key, moved) != file.sha256:
            wrong.append(f"{file.path} is another file")
    return manifest, wrong
