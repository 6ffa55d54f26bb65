"""The bytes of an audio file: out of the job itself, or from a URL.

A URL is a client's word, and the worker stands in the provider's network: only https on port 443 to
public addresses is fetched. The address that was checked is the one that is connected to, for
redirects too, and no proxy is used.
"""

from __future__ import annotations

import base64
import binascii
import http.client
import ipaddress
import socket
import ssl
import time
from collections.abc import Callable
from urllib.parse import SplitResult, urljoin, urlsplit

from worker_core.refusals import BAD_INPUT, TOO_LONG, Refusal

BAD_URL = "bad-url"
MOST_BYTES = 200_000_000
MOST_SECONDS = 120.0
MOST_REDIRECTS = 3
_CHUNK = 1 << 16

Resolve = Callable[[str], list[str]]
Connect = Callable[[str, str, float], http.client.HTTPConnection]


class _PinnedConnection(http.client.HTTPSConnection):
    """TLS for `host`, spoken to `address`: the name is not looked up a second time."""

    def __init__(self, host: str, address: str, timeout: float) -> None:
        super().__init__(host, timeout=timeout)
        self._address = address
        self._tls = ssl.create_default_context()

    def connect(self) -> None:
        plain = socket.create_connection((self._address, 443), self.timeout)
        self.sock = self._tls.wrap_socket(plain, server_hostname=self.host)


def resolve(host: str) -> list[str]:
    """The addresses of `host`. Raises OSError."""
    found = socket.getaddrinfo(host, 443, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


def from_base64(text: str) -> bytes:
    """The bytes of base64. Raises Refusal."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refusal(BAD_INPUT, "audio_base64 is no base64") from error


def from_url(
    url: str,
    resolve: Resolve = resolve,
    connect: Connect = _PinnedConnection,
    clock: Callable[[], float] = time.monotonic,
    most_bytes: int = MOST_BYTES,
) -> bytes:
    """The body behind `url`, in at most MOST_SECONDS. Raises Refusal, whose message never holds
    the URL.
    """
    deadline = clock() + MOST_SECONDS
    for _ in range(MOST_REDIRECTS + 1):
        parts = _checked(url)
        address = _public_address(str(parts.hostname), resolve)
        connection = connect(str(parts.hostname), address, max(deadline - clock(), 1.0))
        try:
            answer = _ask(connection, parts)
            if answer.status in (301, 302, 303, 307, 308):
                url = urljoin(url, answer.headers.get("Location", ""))
                continue
            if answer.status != 200:
                raise Refusal(BAD_URL, f"audio_url answers with status {answer.status}")
            return _read(answer, deadline, clock, most_bytes)
        except (OSError, http.client.HTTPException) as error:
            raise Refusal(BAD_URL, f"audio_url: {type(error).__name__}") from error
        finally:
            connection.close()
    raise Refusal(BAD_URL, f"audio_url redirects more than {MOST_REDIRECTS} times")


def _checked(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        is_fine = parts.scheme == "https" and parts.hostname and parts.port in (None, 443)
    except ValueError:
        is_fine = False
    if not is_fine or parts.username or parts.password:
        raise Refusal(BAD_URL, "audio_url must be an https URL, on port 443, without a login")
    return parts


def _public_address(host: str, resolve: Resolve) -> str:
    """An address of `host`. Refused if any of them is not public: which one is used must not be
    a matter of luck.
    """
    try:
        addresses = resolve(host)
    except (OSError, UnicodeError) as error:
        raise Refusal(BAD_URL, "audio_url: the host has no address") from error
    if not addresses or not all(_is_public(address) for address in addresses):
        raise Refusal(BAD_URL, "audio_url: the host is not on the public internet")
    return addresses[0]


def _is_public(text: str) -> bool:
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        is_tunnel = address.teredo is not None or address in _NAT64
        if is_tunnel or (inner is not None and not _is_public(str(inner))):
            return False
    return address.is_global and not address.is_multicast


_NAT64 = ipaddress.ip_network("64:ff9b::/96")


def _ask(connection: http.client.HTTPConnection, parts: SplitResult) -> http.client.HTTPResponse:
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    connection.request("GET", target, headers={"User-Agent": "podkit-transcription"})
    return connection.getresponse()


def _read(
    answer: http.client.HTTPResponse,
    deadline: float,
    clock: Callable[[], float],
    most_bytes: int,
) -> bytes:
    body = bytearray()
    while chunk := answer.read1(_CHUNK):
        body += chunk
        if len(body) > most_bytes:
            raise Refusal(TOO_LONG, f"the audio file has more than {most_bytes} bytes")
        if clock() > deadline:
            raise Refusal(BAD_URL, f"audio_url was not read in {MOST_SECONDS:.0f} s")
    return bytes(body)
