"""Fetches a checkpoint from an S3 bucket into a folder: a program, in an environment of its own.

    python fetch_s3.py s3://bucket/folder ORG--NAME@REVISION TARGET

Every file's SHA-256 is compared with the manifest's while it comes. What is there already and right
is kept; the manifest is written last. It must never print a key. Exit status: 3 if the bucket has
no manifest of it, 4 if a file there is not the manifest's, 5 if it cannot be read.
"""

import hashlib
import os
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import obstore
from boot.manifest import NAME, File, Manifest, read_manifest, sha256_of
from obstore.exceptions import BaseError
from obstore.store import S3Store

CHUNK = 16 * 2**20
AT_ONCE = 8
ATTEMPTS = 5
"""Of each chunk, each with those of the library: a body that breaks off is asked for again."""
NOT_THERE = 3
WRONG = 4
UNREADABLE = 5
RETRIES: Any = {"max_retries": 3, "retry_timeout": timedelta(seconds=60)}


class WrongFile(Exception):
    """A file of the bucket is not the one that the manifest names."""


def main(arguments: list[str], environ: Mapping[str, str]) -> int:
    bucket, name, target = arguments
    store = open_store(bucket, environ)
    prefix = f"{urlsplit(bucket).path.strip('/')}/{name}".lstrip("/")
    folder = Path(target)
    try:
        manifest = checked(bytes(obstore.get(store, f"{prefix}/{NAME}").bytes()), name)
        folder.mkdir(parents=True, exist_ok=True)
        for file in manifest.files:
            fetch(store, f"{prefix}/{file.path}", file, folder / file.path)
        (folder / NAME).write_text(manifest.text())
    except FileNotFoundError as error:
        if f"{prefix}/{NAME}" in str(error) and "NoSuchBucket" not in str(error):
            print(f"the bucket has no {name}")
            return NOT_THERE
        return _say("something that the manifest names is not in the bucket", error)
    except (WrongFile, ValueError) as error:
        print(error)
        return WRONG
    except (BaseError, OSError) as error:
        return _say("the bucket, or the volume, fails", error)
    return 0


def _say(what: str, error: Exception) -> int:
    """One line, with what the library says first: no request, and so no key."""
    first = str(error).partition("\n\n")[0]
    print(f"{what}: {' '.join(first.split())[:400]}")
    return UNREADABLE


def open_store(bucket: str, environ: Mapping[str, str]) -> S3Store:
    """The bucket, with the keys that the pod was given; none for a public one."""
    url = environ.get("PODKIT_S3_URL", "")
    options: dict[str, Any] = {"region": environ.get("PODKIT_S3_REGION") or "us-east-1"}
    if url:
        options["endpoint"] = url
    if environ.get("PODKIT_S3_ACCESS_KEY"):
        options["access_key_id"] = environ["PODKIT_S3_ACCESS_KEY"]
        options["secret_access_key"] = environ.get("PODKIT_S3_SECRET_KEY", "")
    else:
        options["skip_signature"] = True
    if environ.get("PODKIT_S3_SESSION_TOKEN"):
        options["session_token"] = environ["PODKIT_S3_SESSION_TOKEN"]
    return S3Store(
        urlsplit(bucket).netloc,
        virtual_hosted_style_request=False,
        retry_config=RETRIES,
        client_options={"allow_http": url.startswith("http:"), "timeout": "120s"},
        **options,
    )


def checked(text: bytes, name: str) -> Manifest:
    """The manifest, if it is of this very model. Raises ValueError."""
    manifest = read_manifest(text)
    if f"{manifest.repo.replace('/', '--')}@{manifest.revision}" != name:
        raise ValueError(f"the manifest is of {manifest.repo}@{manifest.revision}, not of {name}")
    return manifest


def fetch(store: S3Store, key: str, file: File, target: Path) -> None:
    """One file, unless it is there and right. It goes on where it was; its name comes when its
    hash is proven. Raises WrongFile.
    """
    if target.is_file() and sha256_of(target) == file.sha256:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.part")
    digest = hashlib.sha256()
    with part.open("a+b") as written:
        if written.tell() > file.size:
            written.truncate(0)
        written.seek(0)
        while block := written.read(CHUNK):
            digest.update(block)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            starts = range(written.tell(), file.size, CHUNK)
            for first in range(0, len(starts), AT_ONCE):
                some = starts[first : first + AT_ONCE]
                for block in pool.map(lambda at: read(store, key, at, file.size), some):
                    digest.update(block)
                    written.write(block)
    if digest.hexdigest() != file.sha256:
        part.unlink()
        raise WrongFile(f"{file.path} in the bucket is not the file of the manifest")
    part.replace(target)


def read(store: S3Store, key: str, start: int, size: int) -> bytes:
    """A chunk of a file. Raises WrongFile for one that is too short."""
    length = min(CHUNK, size - start)
    for attempt in range(1, ATTEMPTS + 1):
        try:
            block = bytes(obstore.get_range(store, key, start=start, length=length))
            break
        except FileNotFoundError:
            raise
        except (BaseError, OSError):
            if attempt == ATTEMPTS:
                raise
            time.sleep(2**attempt)
    if len(block) != length:
        raise WrongFile(f"{key} is shorter than the manifest says")
    return block


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
