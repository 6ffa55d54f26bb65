"""The one way in which podkit asks a pod's own URLs: its key in a header, its name as User-Agent,
no redirect.

Cloudflare, which stands before the provider's proxy, refuses the User-Agent of some libraries with
403 (seen live, 2026-10). The key must reach no other address, so no redirect is followed, and no
~/.netrc entry takes its place."""

from __future__ import annotations

import requests

from podkit.runpod.http import USER_AGENT
from podkit.secret import Secret

Session = requests.Session
"""What pods are asked through."""
NO_KEY = Secret("")


def post(
    session: requests.Session,
    url: str,
    body: object,
    key: Secret,
    timeout: tuple[float, float],
    *,
    stream: bool = False,
) -> requests.Response:
    """The answer to JSON that is sent to a pod's own URL with its key, if it has one. Raises
    RequestException.

    `timeout` is the seconds to connect, and between two pieces of the answer.
    """
    return session.post(
        url,
        json=body,
        headers=_headers(key),
        auth=_leave_unchanged,
        timeout=timeout,
        stream=stream,
        allow_redirects=False,
    )


def get(session: requests.Session, url: str, timeout: tuple[float, float]) -> requests.Response:
    """The answer of a pod's own URL to somebody without a key. Raises RequestException."""
    return session.get(
        url,
        headers=_headers(NO_KEY),
        auth=_leave_unchanged,
        timeout=timeout,
        allow_redirects=False,
    )


def _headers(key: Secret) -> dict[str, str]:
    headers = {"User-Agent": USER_AGENT}
    if key:
        headers["Authorization"] = f"Bearer {key.reveal()}"
    return headers


def _leave_unchanged(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Given as `auth`: without it, requests puts a ~/.netrc entry in place of the key."""
    return request
