"""Which addresses a key may be sent to: https anywhere, http on this machine alone."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

from podkit.errors import UsageError

PLACES = re.compile(r"\{(pod_id|port|public_port)\}")
"""What podkit fills into a URL by which pods are reached."""


def is_loopback(host: str) -> bool:
    """Whether `host` can only be this machine: localhost, 127.0.0.0/8 or ::1."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_url(name: str, url: str, example: str) -> str:
    """`url` without a slash at its end. Raises UsageError naming the setting if a key may not go
    there.
    """
    bare = PLACES.sub("1", url)
    try:
        parts = urlsplit(bare)
        known_scheme = parts.scheme in ("http", "https")
        valid = known_scheme and bool(parts.hostname) and parts.port != 0 and "{" not in bare
    except ValueError:
        valid = False
    if not valid:
        hint = f"remove it from .env, or use one like {example}"
        raise UsageError(f"{name} is {url!r}, which is not a URL", hint)
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        what = f"{name} is {url!r}: over http the key could be read on the way"
        raise UsageError(what, "use https:// (http only for 127.0.0.1)")
    return url.rstrip("/")
