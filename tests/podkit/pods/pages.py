"""The public URLs of the sample pod as they answer at each second of a clock, with Open WebUI's
limit on sign-ins."""

from __future__ import annotations

from typing import Any

import requests_mock as mocking

from podkit.pods.access import access
from tests.podkit.samples import PASSWORD, Clock, pod

PROXY = "https://{pod_id}-{port}.proxy.runpod.net"
WHERE = access(pod(), PROXY)
CHAT = f"{WHERE.api_url}/chat/completions"
HEALTH = f"{WHERE.webui_url}/health"
CONFIG = f"{WHERE.webui_url}/api/config"
SIGN_IN = f"{WHERE.webui_url}/api/v1/auths/signin"
HTML = "<html>502</html>"
SIGN_INS_ALLOWED = 15
WINDOW_SECONDS = 180.0


class PublicUrls:
    """The API answers from second `api_at` on, the chat page from `page_at`; `sign_ins` are the
    moments of all tried.

    As Open WebUI 0.12.4 does, the page takes 15 sign-ins of one e-mail in 3 minutes, and counts
    those it refuses."""

    def __init__(self, api: mocking.Mocker, clock: Clock, api_at: float, page_at: float) -> None:
        self._clock = clock
        self._api_at = clock() + api_at
        self._page_at = clock() + page_at
        self.sign_ins: list[float] = []
        self.completions = 0
        api.post(CHAT, text=self._completion)
        for url in (HEALTH, CONFIG):
            api.get(url, text=self._page)
        api.post(SIGN_IN, text=self._sign_in)

    def _completion(self, _: Any, answer: Any) -> str:
        if self._clock() < self._api_at:
            answer.status_code = 502
            return HTML
        self.completions += 1
        return '{"choices": [{}]}'

    def _page(self, _: Any, answer: Any) -> str:
        if self._clock() < self._page_at:
            answer.status_code = 502
            return HTML
        return '{"status": true}'

    def _sign_in(self, sent: Any, answer: Any) -> str:
        if self._clock() < self._page_at:
            answer.status_code = 502
            return HTML
        self.try_password(sent.json()["password"])
        if self._limited():
            answer.status_code = 429
            return '{"detail": "API rate limit exceeded"}'
        if sent.json()["password"] != PASSWORD:
            answer.status_code = 400
            return '{"detail": "wrong"}'
        return '{"token": "jwt"}'

    def try_password(self, _: str) -> None:
        self.sign_ins.append(self._clock())

    def _limited(self) -> bool:
        recent = [at for at in self.sign_ins if at > self._clock() - WINDOW_SECONDS]
        return len(recent) > SIGN_INS_ALLOWED
