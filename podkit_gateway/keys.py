"""API keys as text: `pk_live_ab12cd34_<43 characters of secret><4 of checksum>`. Pure.

A key is 256 random bits, so a fast hash protects it: only its SHA-256 is ever stored. The checksum
tells a typing mistake from an unknown key without a look into the database.
"""

from __future__ import annotations

import base64
import hashlib
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass

ID_LENGTH = 8
SECRET_LENGTH = 43
CHECK_LENGTH = 4
SHAPE = re.compile(
    rf"(?P<prefix>[A-Za-z0-9]+)_(?P<env>[A-Za-z0-9]+)_(?P<id>[a-z2-7]{{{ID_LENGTH}}})"
    rf"_[A-Za-z0-9_-]{{{SECRET_LENGTH}}}(?P<check>[A-Za-z0-9_-]{{{CHECK_LENGTH}}})"
)


@dataclass(frozen=True)
class NewKey:
    """A key at the moment of its making: the only time that its text exists here."""

    id: str
    text: str
    digest: str


def make_key(prefix: str, env: str, random_bytes: Callable[[int], bytes]) -> NewKey:
    """A new key; `random_bytes` is os.urandom, but in tests."""
    key_id = base64.b32encode(random_bytes(5)).decode("ascii").lower()
    secret = base64.urlsafe_b64encode(random_bytes(32)).decode("ascii").rstrip("=")
    rest = f"{prefix}_{env}_{key_id}_{secret}"
    text = rest + checksum(rest)
    return NewKey(key_id, text, key_digest(text))


def checksum(rest: str) -> str:
    """Four characters of the CRC-32 of everything before them."""
    crc = zlib.crc32(rest.encode("ascii")).to_bytes(4, "big")
    return base64.urlsafe_b64encode(crc).decode("ascii")[:CHECK_LENGTH]


def key_digest(text: str) -> str:
    """SHA-256 of the whole key, as 64 hexadecimal digits."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def is_well_formed(text: str) -> bool:
    """Whether `text` can be a key at all: its shape and its checksum are right."""
    match = SHAPE.fullmatch(text)
    return match is not None and checksum(text[:-CHECK_LENGTH]) == match["check"]
