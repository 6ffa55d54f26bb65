"""The only door to the provider's REST API v2: one `request()`, and the calls podkit makes through it.

Reads are retried, DELETE and actions are repeated safely. POST /pods is never repeated here: after an ambiguous
answer only the launcher, which looks for the pod by its name, knows what may follow. The key is sent in a header,
to the API's own address alone, and is in no message.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, date, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

import requests
import tenacity
import urllib3

from podkit import __version__
from podkit.errors import (
    BY_STATUS,
    ApiError,
    BadAnswer,
    EdgeRefused,
    RateLimited,
    ServerFault,
    Unreachable,
)
from podkit.runpod.types import Charge, GpuType, NetworkVolume, Pod
from podkit.secret import Secret
from podkit.settings import is_loopback

USER_AGENT = f"podkit/{__version__} python/{platform.python_version()}"
CONNECT_SECONDS = 10.0
READ_SECONDS = 30.0
CREATE_SECONDS = 120.0
"""A create is placed on a host before it is answered; giving up early makes it ambiguous."""
TRIES = 5
RETRY_SECONDS = 90.0
MAX_PAGES = 100
Shown = TypeVar("Shown")


class RunpodClient:
    """The calls of REST v2 that podkit uses. All raise ApiError's subclasses.

    `clock` and `sleep` count seconds; `random` gives 0..1 for the jitter between retries.
    """

    def __init__(
        self,
        session: requests.Session,
        api_url: str,
        key: Secret,
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
        random: Callable[[], float],
    ) -> None:
        self._session = session
        self._url = api_url
        self._key = key
        self.clock = clock
        self.sleep = sleep
        self._random = random
        self._skew = 0.0
        self._proxies = (
            {"http": "", "https": ""} if is_loopback(urlsplit(api_url).hostname or "") else {}
        )

    def now(self) -> datetime:
        """The moment by the API's own clock (its last Date header), or this machine's before any answer."""
        return datetime.fromtimestamp(self.clock() + self._skew, UTC)

    def list_pods(self) -> list[Pod]:
        return self._list("/pods", "pods", Pod.from_api)

    def get_pod(self, pod_id: str) -> Pod:
        return _decoded(Pod.from_api, self._repeat("GET", _pod_path(pod_id)))

    def create_pod(self, body: Mapping[str, Any]) -> Pod:
        """Send one create, once. An ApiError with `ambiguous` means that the pod may exist all the same."""
        answer = self.request("POST", "/pods", json=body, read_seconds=CREATE_SECONDS)
        try:
            return _decoded(Pod.from_api, answer)
        except BadAnswer as error:
            error.ambiguous = True
            raise

    def terminate_pod(self, pod_id: str) -> None:
        """Ask for the pod to be deleted. Raises NotFound for one that is gone, or too new to be known."""
        self._repeat("DELETE", _pod_path(pod_id))

    def stop_pod(self, pod_id: str) -> None:
        """Ask for the pod to be stopped, keeping its disk."""
        self._repeat("POST", _pod_path(pod_id) + "/action", json={"action": "stop"})

    def list_volumes(self) -> list[NetworkVolume]:
        return self._list("/network-volumes", "networkVolumes", NetworkVolume.from_api)

    def create_volume(self, name: str, size_gb: int, data_center: str) -> NetworkVolume:
        """Make a network volume, which is billed per month from then on. Sent once, never repeated."""
        body = {"name": name, "size": size_gb, "dataCenter": data_center}
        return _decoded(NetworkVolume.from_api, self.request("POST", "/network-volumes", json=body))

    def list_charges(self, since: date) -> list[Charge]:
        """What each pod and network volume was billed for each day (UTC) from `since` up to today.

        Also those that are deleted by now; nothing for a day on which one was not there (API document of 2026-08-20).
        """
        window = {"startTime": f"{since}T00:00:00Z", "endTime": f"{self.now():%FT%TZ}"}
        query = {**window, "bucketSize": "day"}
        of_pods = self._list("/billing/pods", "records", Charge.from_api, **query)
        return of_pods + self._list("/billing/network-volumes", "records", Charge.from_api, **query)

    def list_gpu_types(self, min_cuda: str) -> list[GpuType]:
        """The catalogue for pods of one GPU on Secure Cloud, with stock for hosts of at least that CUDA version."""
        query = {"include": "AVAILABILITY", "product": "POD", "count": "1", "cloud": "SECURE"}
        return self._list(
            "/catalog/gpus", "gpus", GpuType.from_api, minCudaVersion=min_cuda, **query
        )

    def list_data_centers(self) -> list[str]:
        """The ids of all data centers."""
        return self._list("/catalog/datacenters", "dataCenters", lambda center: str(center["id"]))

    def pod_log(
        self, pod_id: str, source: str, tail: int, last_event_id: str = "", *, brief: bool = False
    ) -> Iterator[tuple[str, str]]:
        """(event id, line) from the pod's log stream, `source` container or system, until the stream is cut.

        Event ids are opaque. It ends quietly once nothing has come for 30 s, or for 2 s if it is to be `brief`.
        """
        path = _pod_path(pod_id) + "/logs"
        headers = {
            "Accept": "text/event-stream",
            **({"Last-Event-ID": last_event_id} if last_event_id else {}),
        }
        query = {"source": source, "tail": str(tail)}
        seconds = 2.0 if brief else READ_SECONDS
        with self._send(
            "GET", path, params=query, headers=headers, stream=True, read_seconds=seconds
        ) as response:
            if response.status_code != 200:
                raise failure("GET", path, response)
            event_id = ""
            with suppress(requests.RequestException, urllib3.exceptions.HTTPError):
                for raw in response.iter_lines(
                    chunk_size=1
                ):  # more would wait for the next line to fill it
                    field, _, value = raw.decode("utf-8", "replace").partition(":")
                    if field == "id":
                        event_id = value.strip()
                    elif field == "data":
                        yield event_id, _log_line(value)

    def request(self, method: str, path: str, **options: Any) -> Any:
        """The decoded JSON of one answer, None without a body. Sent once; every failure is an ApiError."""
        response = self._send(method, path, **options)
        if not 200 <= response.status_code < 300:
            raise failure(method, path, response)
        if response.status_code == 204 or not response.content:
            return None
        try:
            return response.json()
        except ValueError:
            what = f"{method} {path}: the answer ({response.status_code}) is not JSON"
            raise BadAnswer(what, status=response.status_code, ambiguous=method != "GET") from None

    def _send(
        self,
        method: str,
        path: str,
        *,
        read_seconds: float = READ_SECONDS,
        headers: Mapping[str, str] | None = None,
        **options: Any,
    ) -> requests.Response:
        """One answer of any status; `options` are those of requests."""
        options |= {
            "timeout": (CONNECT_SECONDS, read_seconds),
            "allow_redirects": False,
            "proxies": self._proxies,
        }
        sent = {"User-Agent": USER_AGENT, "Accept": "application/json", **(headers or {})}
        try:
            response = self._session.request(
                method, self._url + path, headers=sent, auth=self._signed, **options
            )
        except requests.RequestException as error:
            why, arrived = _cause(error)
            raise Unreachable(
                f"{method} {path}: {why}", ambiguous=arrived and method != "GET"
            ) from None
        with suppress(ValueError):  # what is no date says nothing
            self._skew = (
                parsedate_to_datetime(response.headers.get("Date", "")).timestamp() - self.clock()
            )
        return response

    def _signed(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """The request with the key. Given as `auth`, so that a ~/.netrc cannot replace it."""
        request.headers["Authorization"] = f"Bearer {self._key.reveal()}"
        return request

    def _list(
        self, path: str, key: str, decode: Callable[[Any], Shown], **query: str
    ) -> list[Shown]:
        """What `decode` makes of the items of all pages."""
        found: list[Shown] = []
        for _ in range(MAX_PAGES):
            answer = self._repeat("GET", path, params=query)
            items = answer.get(key) if isinstance(answer, dict) else None
            if not isinstance(items, list):
                raise BadAnswer(f"the API's answer has no list `{key}`")
            found += [_decoded(decode, item) for item in items]
            pagination = answer.get("pagination")  # older answers have none
            if not isinstance(pagination, dict) or not (
                pagination.get("hasNextPage") and pagination.get("nextCursor")
            ):
                return found
            query["cursor"] = str(pagination["nextCursor"])
        raise BadAnswer(f"GET {path}: more than {MAX_PAGES} pages")

    def _repeat(self, method: str, path: str, **options: Any) -> Any:
        """request(), tried again on 429, 5xx and connection faults: at most 5 tries in 90 s."""
        started = self.clock()

        def wait(state: tenacity.RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome else None
            asked = error.retry_after if isinstance(error, ApiError) else None
            backoff = min(2.0 ** (state.attempt_number - 1), 16.0) * (0.5 + self._random() / 2)
            left = started + RETRY_SECONDS - self.clock()
            return max(min(backoff if asked is None else asked, left), 0.0)

        return tenacity.Retrying(
            retry=tenacity.retry_if_exception(_may_pass),
            wait=wait,
            stop=lambda state: (
                state.attempt_number >= TRIES or self.clock() - started >= RETRY_SECONDS
            ),
            sleep=self.sleep,
            reraise=True,
        )(self.request, method, path, **options)


def _pod_path(pod_id: str) -> str:
    return f"/pods/{quote(pod_id, safe='')}"


def failure(method: str, path: str, response: requests.Response) -> ApiError:
    """The exception for an answer that is not a success; an HTML page is the edge's, not the API's."""
    status = response.status_code
    kind = BY_STATUS.get(status) or (ServerFault if status >= 500 else BadAnswer)
    detail = ""
    if "html" in response.headers.get("Content-Type", "").lower():
        kind = RateLimited if status == 429 else EdgeRefused
        message = f"{method} {path}: an HTML page with status {status} instead of the API"
    else:
        detail, *errors = _problem(response)
        said = (
            "; ".join(part for part in (detail, *errors) if part)
            or response.reason
            or "no reason given"
        )
        message = f"{method} {path}: {status}: {said}"
    ambiguous = method != "GET" and (status >= 500 or kind is BadAnswer)
    asked = response.headers.get("Retry-After", "")
    retry_after = float(asked) if asked.isdecimal() else None
    return kind(message, status=status, detail=detail, ambiguous=ambiguous, retry_after=retry_after)


def _problem(response: requests.Response) -> list[str]:
    """The provider's own words in a problem+json answer, one line each: its detail, which may be empty, and errors."""
    said: list[Any] = [""]
    with suppress(
        ValueError, AttributeError, TypeError, requests.RequestException
    ):  # another shape says nothing
        problem = response.json()
        said = [problem.get("detail") or problem.get("title") or ""]
        said += problem.get("errors")
    return [" ".join(str(text).split()) for text in said]


def _may_pass(error: BaseException) -> bool:
    """Whether the same request may succeed if it is sent again."""
    server_fault = isinstance(error, ApiError) and (error.status or 0) >= 500
    return server_fault or isinstance(error, RateLimited | Unreachable)


def _cause(error: requests.RequestException) -> tuple[str, bool]:
    """What broke, and whether the request may have reached anyone: not if no trusted connection was ever made."""
    reason = getattr(error.args[0], "reason", None) if error.args else None
    untrusted = isinstance(
        error, requests.exceptions.SSLError
    ) and "CERTIFICATE_VERIFY_FAILED" in str(error)
    causes = (
        (
            isinstance(error, requests.ConnectTimeout),
            f"no connection within {CONNECT_SECONDS:.0f} s",
            False,
        ),
        (isinstance(reason, urllib3.exceptions.NewConnectionError), "no connection", False),
        (untrusted, "the TLS certificate was not accepted", False),
        (isinstance(error, requests.Timeout), "no answer in time", True),
        (
            isinstance(error, requests.exceptions.ProxyError),
            "the HTTP proxy of this network refused",
            True,
        ),
        (True, "the connection broke", True),
    )
    return next((why, arrived) for applies, why, arrived in causes if applies)


def _decoded(decode: Callable[[Any], Shown], data: Any) -> Shown:
    try:
        return decode(data)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise BadAnswer(
            f"the API's answer has an unexpected shape ({type(error).__name__}: {error})"
        ) from None


def _log_line(data: str) -> str:
    try:
        return str(json.loads(data)["line"])
    except (ValueError, KeyError, TypeError):
        return data.strip()
