"""The one HTTP request of the pod's own programs.

It must never go through a proxy nor follow a redirect: either would carry a key to somebody else.
"""

import json
import time
import urllib.error
import urllib.request
from http.client import HTTPException
from typing import Any

USER_AGENT = "podkit-pod/1"
"""The provider's edge refuses Python's own User-Agent with 403 (October 2026)."""
LARGEST_ANSWER = 10_000_000
"""Bytes; vLLM's metrics, the largest that is asked for, have under 100,000."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """Makes urllib take a redirect for an error with its own status."""


def request(
    url: str,
    body: Any = None,
    key: str = "",
    timeout: float = 30,
    method: str | None = None,
) -> tuple[int, str]:
    """Status and text of a GET, or of a POST of `body` as JSON; (0, "") without a whole answer.

    `timeout` is in seconds: for the first byte, and again for the whole body.
    """
    headers = {"Content-Type": "application/json", "User-Agent": USER_AGENT}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    data = json.dumps(body).encode() if body else None
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect)
    try:
        prepared = urllib.request.Request(url, data, headers, method=method)  # noqa: S310 - our settings' URLs
        with opener.open(prepared, timeout=timeout) as answer:
            return answer.status, _read(answer, timeout)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, _read_refusal(error, timeout)
    except (OSError, HTTPException, ValueError):
        return 0, ""


def _read(answer: Any, seconds: float) -> str:
    """The body. Raises TimeoutError if it takes longer, though it never stops coming."""
    until = time.monotonic() + seconds
    whole = bytearray()
    while chunk := answer.read1(65_536):
        whole += chunk
        if time.monotonic() > until or len(whole) > LARGEST_ANSWER:
            raise TimeoutError
    return whole.decode(errors="replace")


def _read_refusal(error: urllib.error.HTTPError, seconds: float) -> str:
    """Its text as far as it can be had: the status alone says enough."""
    try:
        return _read(error.fp, seconds)
    except (OSError, HTTPException, ValueError, AttributeError):
        return ""
