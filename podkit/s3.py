"""The one module that talks to S3: the provider's door to a network volume, and buckets of models.

boto3, because an upload that broke off goes on with the parts that are missing. No listing decides
anything: the provider's first one may fail or repeat itself, so files are asked for by their keys.
An ETag that is no checksum proves nothing here, and what cannot be proven is read back.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from podkit.errors import S3Failed
from podkit.secret import Secret

if TYPE_CHECKING:
    from podkit.uploads import Uploads

PART_BYTES = 32 * 2**20
"""Of an upload; the provider takes at most 500 MB in a part, and servers 10,000 parts of a file."""
READ_BYTES = 2**20
ATTEMPTS = 10
"""Of each request: the provider answers 502 now and then (its documentation, 2026-08)."""
LISTING_PAUSE = 15.0
"""Seconds until a listing that repeated itself is asked for again: the provider computes checksums
at the first one of a volume with over 10,000 files or 10 GB (2026-08)."""
TIMEOUT_SECONDS = 300
"""Joining the parts of a large file takes long."""
Moved = Callable[[int], None]
"""Told of each block of bytes that was moved."""


@dataclass(frozen=True)
class S3Access:
    """Where a server is and the keys to it; `session_token` goes with keys that end."""

    url: str
    region: str
    access_key: Secret
    secret_key: Secret
    session_token: Secret

    def __bool__(self) -> bool:
        return bool(self.access_key and self.secret_key)


@dataclass(frozen=True)
class Stored:
    """A file on a server: its key, bytes, and ETag without quotes."""

    key: str
    size: int
    etag: str


class Bucket:
    """One bucket. Every method raises S3Failed."""

    def __init__(
        self,
        access: S3Access,
        name: str,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.name = name
        self._client = _client(access)
        self._sleep = sleep

    def find(self, key: str) -> Stored | None:
        """The file with this very key, None if there is none."""
        from botocore.exceptions import ClientError

        with explain_failures(key):
            try:
                found = self._client.head_object(Bucket=self.name, Key=key)
            except ClientError as error:
                if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") == 404:
                    return None
                raise
        return Stored(key, int(found["ContentLength"]), str(found["ETag"]).strip('"'))

    def folder(self, prefix: str) -> tuple[list[Stored], list[str]]:
        """The files whose keys begin with `prefix`, up to the next /, and the folders there."""
        for _ in range(ATTEMPTS):
            with explain_failures(prefix or "the bucket"):
                listed = self._list(prefix)
            if listed:
                return listed
            self._sleep(LISTING_PAUSE)
        what = f"the listing of {prefix or 'the bucket'} repeats itself"
        raise S3Failed(what, "the provider is still computing checksums: try again in some minutes")

    def read(self, key: str) -> bytes:
        """A small file."""
        with explain_failures(key):
            found = self._client.get_object(Bucket=self.name, Key=key)
            return bytes(found["Body"].read())

    def write(self, key: str, content: bytes) -> None:
        """A small file, replaced in one step."""
        with explain_failures(key):
            self._client.put_object(Bucket=self.name, Key=key, Body=content)

    def put(self, file: Path, key: str, uploads: Uploads, moved: Moved) -> str:
        """Sends a file, going on where an earlier upload of it broke off. Returns how it was proven
        to be there: "md5", or "read back".
        """
        size = file.stat().st_size
        with explain_failures(key):
            if size <= PART_BYTES:
                content = file.read_bytes()
                self._client.put_object(Bucket=self.name, Key=key, Body=content)
                moved(len(content))
                expected = hashlib.md5(content, usedforsecurity=False).hexdigest()
            else:
                expected = self._put_parts(file, size, key, uploads, moved)
        return self._prove(file, key, expected)

    def put_once(self, file: Path, key: str, uploads: Uploads, moved: Moved) -> None:
        """put(), unless the same file is there by its size and an ETag that is its MD5."""
        found = self.find(key)
        if found and found.size == file.stat().st_size and found.etag == _etag_of(file):
            moved(found.size)
            return
        self.put(file, key, uploads, moved)

    def sha256(self, key: str, moved: Moved) -> str:
        """The SHA-256 of what is there: all of it is read."""
        digest = hashlib.sha256()
        with explain_failures(key):
            body = self._client.get_object(Bucket=self.name, Key=key)["Body"]
            for block in body.iter_chunks(READ_BYTES):
                digest.update(block)
                moved(len(block))
        return digest.hexdigest()

    def get(self, stored: Stored, file: Path, moved: Moved, sha256: str = "") -> str:
        """Fetches a file, going on where an earlier fetch of it broke off. It gets its name when it
        is whole. Returns how that was proven: "sha256" if one is given, "md5", "read back" where
        the ETag should be an MD5 and is not, or "size" alone, of what went up in other parts.
        """
        mark = hashlib.sha256(f"{stored.etag} {stored.size}".encode()).hexdigest()[:12]
        part = file.with_name(f".{file.name}.{mark}.part")
        file.parent.mkdir(parents=True, exist_ok=True)
        part.touch()
        for attempt in range(ATTEMPTS):
            with explain_failures(stored.key, again=attempt < ATTEMPTS - 1):
                self._get_rest(stored, part, moved)
            if part.stat().st_size == stored.size:
                break
            self._sleep(min(2.0**attempt, 30.0))
        proof = _proof(part, stored, sha256)
        if proof == "size" and "-" not in stored.etag:
            if self.sha256(stored.key, lambda _: None) != sha256_of(part):
                part.unlink()
                raise S3Failed(f"{stored.key}: it came differently twice", "get it again")
            proof = "read back"
        part.replace(file)
        return proof

    def _get_rest(self, stored: Stored, part: Path, moved: Moved) -> None:
        at = part.stat().st_size
        if at >= stored.size:
            return
        wanted = {"Bucket": self.name, "Key": stored.key, "Range": f"bytes={at}-"}
        with part.open("ab") as target:
            for block in self._client.get_object(**wanted)["Body"].iter_chunks(READ_BYTES):
                target.write(block)
                moved(len(block))

    def _list(self, prefix: str) -> tuple[list[Stored], list[str]] | None:
        """The whole listing; None if a page of it came again."""
        files: list[Stored] = []
        folders: list[str] = []
        wanted: dict[str, Any] = {"Bucket": self.name, "Prefix": prefix, "Delimiter": "/"}
        seen = set()
        while True:
            page = self._client.list_objects_v2(**wanted)
            for one in page.get("Contents", ()):
                files.append(Stored(one["Key"], int(one["Size"]), str(one["ETag"]).strip('"')))
            folders += [one["Prefix"] for one in page.get("CommonPrefixes", ())]
            token = page.get("NextContinuationToken")
            if not (page.get("IsTruncated") and token):
                return files, folders
            if token in seen:
                return None
            seen.add(token)
            wanted["ContinuationToken"] = token

    def _put_parts(self, file: Path, size: int, key: str, uploads: Uploads, moved: Moved) -> str:
        """Sends what is missing of a file's parts. Returns the ETag of a server that makes it of
        their MD5s.
        """
        from concurrent.futures import ThreadPoolExecutor

        upload = uploads.open(self.name, key, file)
        if not upload.id or not self._knows(key, upload.id):
            upload.begin(
                self._client.create_multipart_upload(Bucket=self.name, Key=key)["UploadId"]
            )

        def send(number: int) -> tuple[str, bytes]:
            with file.open("rb") as source:
                source.seek((number - 1) * PART_BYTES)
                content = source.read(PART_BYTES)
            digest = hashlib.md5(content, usedforsecurity=False)
            etag = upload.parts.get(number, "")
            if not etag:
                wanted = {"Bucket": self.name, "Key": key, "UploadId": upload.id}
                sent = self._client.upload_part(**wanted, PartNumber=number, Body=content)
                etag = str(sent["ETag"])
                upload.add(number, etag)
            moved(len(content))
            return etag, digest.digest()

        count = -(-size // PART_BYTES)
        with ThreadPoolExecutor(4) as pool:
            sent = list(pool.map(send, range(1, count + 1)))
        parts = [{"PartNumber": at, "ETag": etag} for at, (etag, _) in enumerate(sent, 1)]
        self._join(key, upload.id, parts, size)
        upload.end()
        whole = hashlib.md5(b"".join(digest for _, digest in sent), usedforsecurity=False)
        return f"{whole.hexdigest()}-{count}"

    def _knows(self, key: str, upload_id: str) -> bool:
        """Whether the server still has the parts of an upload that broke off."""
        from botocore.exceptions import ClientError

        try:
            self._client.list_parts(Bucket=self.name, Key=key, UploadId=upload_id, MaxParts=1)
        except ClientError:
            return False
        return True

    def _join(self, key: str, upload_id: str, parts: list[dict[str, Any]], size: int) -> None:
        """Makes a file of its parts. An answer that does not come in time says nothing: the file
        may be there.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            wanted = {"Bucket": self.name, "Key": key, "UploadId": upload_id}
            self._client.complete_multipart_upload(**wanted, MultipartUpload={"Parts": parts})
        except (BotoCoreError, ClientError):
            found = self.find(key)
            if not found or found.size != size:
                raise

    def _prove(self, file: Path, key: str, expected: str) -> str:
        found = self.find(key)
        size = file.stat().st_size
        if not found or found.size != size:
            there = f"{found.size} bytes" if found else "nothing"
            raise S3Failed(f"{key}: {size} bytes were sent, {there} is there", "put it again")
        if found.etag == expected:
            return "md5"
        if self.sha256(key, lambda _: None) != sha256_of(file):
            raise S3Failed(f"{key}: what is there is not what was sent", "put it again")
        return "read back"


def _etag_of(file: Path) -> str:
    """The ETag that a server makes of MD5s, for a file that was put as it is here."""
    digests = []
    with file.open("rb") as source:
        while block := source.read(PART_BYTES):
            digests.append(hashlib.md5(block, usedforsecurity=False).digest())
    if len(digests) <= 1:
        return b"".join(digests).hex() or hashlib.md5(usedforsecurity=False).hexdigest()
    whole = hashlib.md5(b"".join(digests), usedforsecurity=False)
    return f"{whole.hexdigest()}-{len(digests)}"


def sha256_of(file: Path) -> str:
    """The SHA-256 of a file, as hex digits."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


@contextmanager
def explain_failures(what: str, *, again: bool = False) -> Iterator[None]:
    """Turns what the library raises into S3Failed; with `again` a broken connection is let pass."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", "unknown"))
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", "")
        raise S3Failed(f"{what}: the S3 server says {code} (HTTP {status})", _hint(code)) from None
    except (BotoCoreError, OSError) as error:
        if again and not isinstance(error, FileNotFoundError | PermissionError):
            return
        name = type(error).__name__
        hint = "check the network connection, then run the same command: it goes on where it was"
        raise S3Failed(f"{what}: {name}", hint) from None


def _hint(code: str) -> str:
    if code in ("NoSuchBucket", "NoSuchKey", "404"):
        return "check the names: a bucket of the provider's is the id of a network volume"
    if code in ("RequestTimeTooSkewed",):
        return "set this machine's clock"
    return "check the S3 keys in .env: they are others than the account's API key"


def _proof(part: Path, stored: Stored, sha256: str) -> str:
    size = part.stat().st_size
    if size != stored.size:
        part.unlink()
        raise S3Failed(f"{stored.key}: {size} of {stored.size} bytes came", "get it again")
    if sha256:
        if sha256_of(part) != sha256:
            part.unlink()
            raise S3Failed(
                f"{stored.key}: its SHA-256 is not the one it should have", "get it again"
            )
        return "sha256"
    if "-" in stored.etag:
        digest = _etag_of(part)  # of parts as put() makes them
    else:
        with part.open("rb") as opened:
            digest = hashlib.file_digest(opened, "md5").hexdigest()
    return "md5" if digest == stored.etag else "size"


def _client(access: S3Access) -> Any:
    """A client that knows nothing but `access`, whatever the machine's own configuration says."""
    import boto3
    from botocore.config import Config

    config = Config(
        region_name=access.region,
        connect_timeout=20,
        read_timeout=TIMEOUT_SECONDS,
        retries={"max_attempts": ATTEMPTS, "mode": "standard"},
        s3={"addressing_style": "path"},
        # Else CRC32 trailers, which many servers refuse (boto3 from 1.36 on).
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        ignore_configured_endpoint_urls=True,
    )
    return boto3.session.Session().client(
        "s3",
        endpoint_url=access.url,
        aws_access_key_id=access.access_key.reveal(),
        aws_secret_access_key=access.secret_key.reveal(),
        aws_session_token=access.session_token.reveal() or None,
        config=config,
    )
