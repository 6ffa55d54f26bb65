"""The one request to the provider's REST API v2, how often it is sent, and when it ends.

Reads, deletes and actions are repeated. A create is never repeated here: after an unclear answer
only who looks for the thing by its name knows what may follow. The key is sent in a header, to the
API's own address alone, and is in no message.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

import requests

from podkit import __version__
from podkit.errors import ApiError, BadAnswer
from podkit.runpod.answers import connection_error, decode_json, decode_shape, may_pass, refusal
from podkit.runpod.clock import ApiClock
from podkit.secret import Secret
from podkit.urls import is_loopback

USER_AGENT = f"podkit/{__version__} python/{platform.python_version()}"
CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 60.0
"""How long a whole answer may take."""
CREATE_SECONDS = 180.0
"""A create is placed on a host before it is answered; giving up early makes it unclear."""
TRIES = 5
RETRY_SECONDS = 90.0
MAX_PAGES = 100
Shown = TypeVar("Shown")
Backoff = Callable[[int], float]


def growing_backoff(random: Callable[[], float]) -> Backoff:
    """The seconds to wait after the 1st, 2nd ... try: 1, 2, 4, 8, then 16, each up to half less.

    `random` gives 0..1, so that many clients do not come back at once.
    """

    def seconds(tries: int) -> float:
        return min(2.0 ** (tries - 1), 16.0) * (0.5 + random() / 2)

    return seconds


def unheard(_line: str) -> None:
    """For a caller who tells nobody of the clock."""


class Http:
    """Sends requests and understands answers. Every failure is an ApiError.

    `clock` counts seconds since 1970, `sleep` waits seconds, `backoff` gives the seconds between
    two tries, `say` tells the user a line.
    """

    def __init__(
        self,
        session: requests.Session,
        api_url: str,
        key: Secret,
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
        backoff: Backoff,
        say: Callable[[str], None] = unheard,
    ) -> None:
        self.clock = clock
        self.sleep = sleep
        self._session = session
        self._url = api_url
        self._key = key
        self._backoff = backoff
        self._api_clock = ApiClock(clock, say)
        self._proxies: dict[str, str] = {}
        if is_loopback(urlsplit(api_url).hostname or ""):
            self._proxies = {"http": "", "https": ""}

    def now(self) -> datetime:
        """The moment by the API's own clock, as far as that is believed."""
        return self._api_clock.now()

    def earliest_now(self) -> datetime:
        """The moment from which a pod's lifetime is counted: the earlier of both clocks.

        Raises UsageError if this machine's clock is far behind the API's.
        """
        return self._api_clock.earliest_now()

    def request(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        params: Mapping[str, str] | None = None,
        seconds: float = ANSWER_SECONDS,
    ) -> Any:
        """The decoded JSON of one answer, None without a body. Sent once.

        It has an end `seconds` after it was sent, whatever has arrived by then.
        """
        response = self.send(method, path, json=json, params=params, seconds=seconds)
        if not 200 <= response.status_code < 300:
            raise refusal(method, path, response)
        data = decode_json(method, path, response)
        self._api_clock.hear(response.headers.get("Date", ""))
        return data

    def repeat(self, attempt: Callable[[], Shown]) -> Shown:
        """What `attempt` returns, tried again after what may pass: at most 5 times in 90 s."""
        started = self.clock()
        tries = 0
        while True:
            try:
                return attempt()
            except ApiError as error:
                tries += 1
                left = started + RETRY_SECONDS - self.clock()
                if tries == TRIES or left <= 0 or not may_pass(error):
                    raise
                wait = error.retry_after
                if wait is None:
                    wait = self._backoff(tries)
                self.sleep(min(wait, left))

    def read(self, path: str, decode: Callable[[Any], Shown]) -> Shown:
        """What `decode` makes of the answer to a GET, repeated."""
        return self.repeat(lambda: decode_shape(decode, self.request("GET", path)))

    def read_list(
        self,
        path: str,
        key: str,
        decode: Callable[[Any], Shown],
        **query: str,
    ) -> list[Shown]:
        """What `decode` makes of the items of all pages, which are under `key`."""
        found: list[Shown] = []
        for _ in range(MAX_PAGES):
            items, cursor = self.repeat(lambda: self._page(path, key, decode, query))
            found += items
            if not cursor:
                return found
            query["cursor"] = cursor
        raise BadAnswer(f"GET {path}: more than {MAX_PAGES} pages")

    def _page(
        self,
        path: str,
        key: str,
        decode: Callable[[Any], Shown],
        query: Mapping[str, str],
    ) -> tuple[list[Shown], str]:
        """The items of one page, and the cursor of the next, empty after the last."""
        answer = self.request("GET", path, params=query)
        items = answer.get(key) if isinstance(answer, dict) else None
        if not isinstance(items, list):
            raise BadAnswer(f"the API's answer has no list `{key}`")
        shown = [decode_shape(decode, item) for item in items]
        pagination = answer.get("pagination")  # older answers have none
        if isinstance(pagination, dict) and pagination.get("hasNextPage"):
            return shown, str(pagination.get("nextCursor") or "")
        return shown, ""

    def send(
        self,
        method: str,
        path: str,
        *,
        seconds: float,
        headers: Mapping[str, str] | None = None,
        **options: Any,
    ) -> requests.Response:
        """One answer of any status; `options` are those of requests."""
        sent = {"User-Agent": USER_AGENT, "Accept": "application/json", **(headers or {})}
        try:
            return self._session.request(
                method,
                self._url + path,
                headers=sent,
                auth=self._sign,
                timeout=(CONNECT_SECONDS, seconds),
                allow_redirects=False,
                proxies=self._proxies,
                **options,
            )
        except requests.RequestException as error:
            raise connection_error(method, path, error, seconds) from None

    def _sign(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """The request with the key. Given as `auth`, so that a ~/.netrc cannot replace it."""
        request.headers["Authorization"] = f"Bearer {self._key.reveal()}"
        return request


def path_of(folder: str, thing_id: str) -> str:
    """The path of one thing; an id from a person cannot leave its place in it."""
    return f"/{folder}/{quote(thing_id, safe='')}"
