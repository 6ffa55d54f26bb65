"""Whether a pod serves, asked through the same public URLs that people use, and as seldom as that
can be known.

Open WebUI 0.12.4 allows 15 sign-ins per e-mail in 3 minutes, and counts good ones, bad ones and
those it refuses for this very reason. So nobody signs in to learn whether the page is up: it is
looked at without a login until the API has given its completion, and then signed in to once. A
stranger who tries passwords can use the limit up; that must never count against the pod. A proxy's
error page is "not yet"; a refused key or login is our own fault and said so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import requests

from podkit.pods.access import Access
from podkit.pods.pod_http import NO_KEY, get, post

SIGN_IN_EVERY_SECONDS = 15.0
"""12 sign-ins in the 3 minutes in which Open WebUI 0.12.4 allows 15 (its routers/auths.py)."""
PROBE_TIMEOUT = (5.0, 30.0)
GLANCE_TIMEOUT = (2.0, 5.0)
LONGEST_RETRY_SECONDS = 180.0
RATE_LIMITED = 429


@dataclass(frozen=True)
class Probe:
    """One look at an endpoint.

    `answered`: the pod itself did, not the proxy before it. `fault` is set when waiting longer
    cannot help. `remark` is what to say of an endpoint that is ready. `retry_after` is the seconds
    for which it wants not to be asked again."""

    ready: bool
    fault: str = ""
    answered: bool = False
    remark: str = ""
    retry_after: float = 0.0


NOT_YET = Probe(False)


@dataclass(frozen=True)
class _Answer:
    """An HTTP status, 0 for none, and the JSON object that came with it, {} for anything else."""

    status: int
    said: dict[str, Any] = field(default_factory=dict)
    retry_after: float = 0.0


def probe_api(session: requests.Session, where: Access) -> Probe:
    """Ready once the API gives a real completion for the key."""
    body = {
        "model": where.model,
        "max_tokens": 1,
        "messages": [{"role": "user", "content": "Say OK."}],
    }
    url = f"{where.api_url}/chat/completions"
    answer = _answer_to(lambda: post(session, url, body, where.key, PROBE_TIMEOUT))
    if answer.status == 200 and answer.said.get("choices"):
        return Probe(True, answered=True)
    if answer.status == 401:
        return Probe(False, "the API refuses the key that the pod was given", answered=True)
    if answer.status == 404 and answer.said:
        return Probe(False, f"the API does not know the model {where.model!r}", answered=True)
    return Probe(False, answered=bool(answer.said), retry_after=answer.retry_after)


def probe_page(session: requests.Session, where: Access) -> Probe:
    """Ready once the chat page is up and has its first account. Signs in to nothing."""
    health_url = f"{where.webui_url}/health"
    health = _answer_to(lambda: get(session, health_url, PROBE_TIMEOUT))
    if health.status != 200 or not health.said:
        return Probe(False, answered=bool(health.said), retry_after=health.retry_after)
    config_url = f"{where.webui_url}/api/config"
    config = _answer_to(lambda: get(session, config_url, PROBE_TIMEOUT))
    if config.said.get("onboarding") is True:
        return Probe(False, "the chat page would make its first visitor the admin", answered=True)
    ready = config.status == 200 and bool(config.said)
    return Probe(ready, answered=True, retry_after=config.retry_after)


def probe_sign_in(session: requests.Session, where: Access) -> Probe:
    """Ready once the chat page takes the login, or says that too many tried: then the page is not
    to blame.

    Every call counts towards the page's limit: SIGN_IN_EVERY_SECONDS must pass between two.
    """
    body = {"email": where.email, "password": where.password.reveal()}
    url = f"{where.webui_url}/api/v1/auths/signin"
    answer = _answer_to(lambda: post(session, url, body, NO_KEY, PROBE_TIMEOUT))
    if answer.status == 200 and answer.said.get("token"):
        return Probe(True, answered=True)
    if answer.status == RATE_LIMITED:
        remark = (
            "the chat page takes no sign-in at the moment, because too many were tried;"
            " that passes about 3 minutes after the last of them"
        )
        return Probe(True, answered=True, remark=remark)
    if answer.status in (400, 401, 403) and answer.said:
        fault = "the chat page refuses the login that the pod was given"
        return Probe(False, fault, answered=True)
    return Probe(False, answered=bool(answer.said))


def is_up(session: requests.Session, where: Access, *, needs_page: bool) -> bool:
    """Whether the model server, and the chat page if it is needed, say that they are healthy; asks
    neither to work."""
    if not (where.api_url and where.webui_url):
        return False
    api_health = f"{where.api_url.removesuffix('/v1')}/health"
    if _answer_to(lambda: get(session, api_health, GLANCE_TIMEOUT)).status != 200:
        return False
    return not needs_page or probe_page(session, where).ready


class Probes:
    """The state of one pod's two public URLs: the API is asked until its first completion, then
    never again."""

    def __init__(self, session: requests.Session, clock: Callable[[], float]) -> None:
        self._session = session
        self._clock = clock
        self._api = NOT_YET
        self._page = NOT_YET
        self._signed_in = NOT_YET
        self._api_from = 0.0
        self._page_from = 0.0
        self._sign_in_from = 0.0

    def look(self, where: Access) -> tuple[Probe, Probe]:
        """The API and the chat page as they are now."""
        now = self._clock()
        if not self._api.ready and now >= self._api_from:
            self._api = probe_api(self._session, where)
            self._api_from = now + self._api.retry_after
        if not self._page.ready and now >= self._page_from:
            self._page = probe_page(self._session, where)
            self._page_from = now + self._page.retry_after
        if not (self._api.ready and self._page.ready):
            return self._api, self._page
        if not self._signed_in.ready and now >= self._sign_in_from:
            self._signed_in = probe_sign_in(self._session, where)
            self._sign_in_from = now + SIGN_IN_EVERY_SECONDS
        return self._api, self._signed_in


def _answer_to(ask: Callable[[], requests.Response]) -> _Answer:
    """What a request is answered with, as far as it makes sense."""
    try:
        response = ask()
    except requests.RequestException:
        return _Answer(0)
    retry_after = 0.0
    asked = response.headers.get("Retry-After", "")
    if response.status_code == RATE_LIMITED and asked.isdecimal():
        retry_after = min(float(asked), LONGEST_RETRY_SECONDS)
    try:
        said = response.json()
    except ValueError:
        said = {}
    if not isinstance(said, dict):
        said = {}
    return _Answer(response.status_code, said, retry_after)
