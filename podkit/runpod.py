"""The only door to the provider's REST API v2: one `request()`, and the calls podkit makes through it.

Reads are retried, DELETE and actions are repeated safely. POST /pods is never repeated here: after an ambiguous
answer only the launcher, which looks for the pod by its name, knows what may follow. The key is sent in a header,
to the API's own address alone, and is in no message.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

import requests
import tenacity
import urllib3
from requests.auth import AuthBase

from podkit import __version__
from podkit.errors import (
    ApiError,
    BadAnswer,
    BadRequest,
    Conflict,
    EdgeRefused,
    Forbidden,
    Invalid,
    NotFound,
    PaymentRequired,
    RateLimited,
    ServerFault,
    Unauthorized,
    Unreachable,
)
from podkit.models import GpuType, NetworkVolume, Pod
from podkit.settings import Secret, is_loopback

USER_AGENT = f"podkit/{__version__} python/{platform.python_version()}"
CONNECT_SECONDS = 10.0
READ_SECONDS = 30.0
CREATE_SECONDS = 120.0
"""A create is placed on a host before it is answered; giving up early makes it ambiguous."""
TRIES = 5
RETRY_SECONDS = 90.0
MAX_PAGES = 100

BY_STATUS: dict[int, type[ApiError]] = {
    400: BadRequest,
    401: Unauthorized,
    402: PaymentRequired,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    413: Invalid,
    422: Invalid,
}
Shown = TypeVar("Shown", Pod, GpuType, NetworkVolume)


class BearerAuth(AuthBase):
    """Sends the key. As an auth object, so that a ~/.netrc cannot replace it."""

    def __init__(self, key: Secret) -> None:
        self._key = key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._key.reveal()}"
        return request


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
        self._auth = BearerAuth(key)
        self._clock = clock
        self._sleep = sleep
        self._random = random
        self._skew = 0.0
        self._proxies = {"http": "", "https": ""} if is_loopback(urlsplit(api_url).hostname or "") else {}

    def now(self) -> datetime:
        """The moment by the API's own clock (its last Date header), or this machine's before any answer."""
        return datetime.fromtimestamp(self._clock() + self._skew, UTC)

    def list_pods(self) -> list[Pod]:
        return self._list("/pods", "pods", Pod.from_api)

    def get_pod(self, pod_id: str) -> Pod:
        return _decoded(Pod.from_api, self._read(_pod_path(pod_id)))

    def create_pod(self, body: Mapping[str, Any]) -> Pod:
        """Send one create, once. An ApiError with `ambiguous` means that the pod may exist all the same."""
        answer = self.request("POST", "/pods", body=body, read_seconds=CREATE_SECONDS)
        try:
            return _decoded(Pod.from_api, answer)
        except BadAnswer as error:
            error.ambiguous = True
            raise

    def terminate_pod(self, pod_id: str) -> None:
        """Ask for the pod to be deleted. Raises NotFound for one that is gone, or too new to be known."""
        self._repeat(lambda: self.request("DELETE", _pod_path(pod_id)))

    def stop_pod(self, pod_id: str) -> None:
        """Ask for the pod to be stopped, keeping its disk."""
        path = _pod_path(pod_id) + "/action"
        self._repeat(lambda: self.request("POST", path, body={"action": "stop"}))

    def list_volumes(self) -> list[NetworkVolume]:
        return self._list("/network-volumes", "networkVolumes", NetworkVolume.from_api)

    def create_volume(self, name: str, size_gb: int, data_center: str) -> NetworkVolume:
        """Make a network volume, which is billed per month from then on. Sent once, never repeated."""
        body = {"name": name, "size": size_gb, "dataCenter": data_center}
        return _decoded(NetworkVolume.from_api, self.request("POST", "/network-volumes", body=body))

    def list_gpu_types(self, min_cuda: str) -> list[GpuType]:
        """The catalogue for pods of one GPU on Secure Cloud, with stock for hosts of at least that CUDA version."""
        query = {"include": "AVAILABILITY", "product": "POD", "count": "1", "cloud": "SECURE"}
        query["minCudaVersion"] = min_cuda
        return self._list("/catalog/gpus", "gpus", GpuType.from_api, query)

    def list_data_centers(self) -> list[str]:
        """The ids of all data centers."""
        answer = self._read("/catalog/datacenters")
        return [str(center.get("id")) for center in _items(answer, "dataCenters") if isinstance(center, dict)]

    def pod_log(
        self, pod_id: str, source: str, tail: int, last_event_id: str = "", *, brief: bool = False
    ) -> Iterator[tuple[str, str]]:
        """(event id, line) from the pod's log stream, `source` container or system, until the stream is cut.

        Event ids are opaque. It ends quietly once nothing has come for 30 s, or for 2 s if it is to be `brief`.
        """
        headers = {"Accept": "text/event-stream", **({"Last-Event-ID": last_event_id} if last_event_id else {})}
        query = {"source": source, "tail": str(tail)}
        path = _pod_path(pod_id) + "/logs"
        response = self._send(
            "GET", path, query=query, headers=headers, stream=True, read_seconds=2.0 if brief else READ_SECONDS
        )
        with response:
            if response.status_code != 200:
                raise failure("GET", path, response)
            event_id = ""
            try:
                for raw in response.iter_lines(chunk_size=None):
                    field, _, value = raw.decode("utf-8", "replace").partition(":")
                    if field == "id":
                        event_id = value.strip()
                    elif field == "data":
                        yield event_id, _log_line(value)
            except (requests.RequestException, urllib3.exceptions.HTTPError):
                return

    def request(self, method: str, path: str, **options: Any) -> Any:
        """The decoded JSON of one answer, None for 204. Sent once; every failure is an ApiError."""
        response = self._send(method, path, **options)
        if not 200 <= response.status_code < 300:
            raise failure(method, path, response)
        if response.status_code == 204 or (method == "DELETE" and not response.content):
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
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        read_seconds: float = READ_SECONDS,
        headers: Mapping[str, str] | None = None,
        stream: bool = False,
    ) -> requests.Response:
        try:
            response = self._session.request(
                method,
                self._url + path,
                params=query,
                json=body,
                headers={"User-Agent": USER_AGENT, "Accept": "application/json", **(headers or {})},
                auth=self._auth,
                timeout=(CONNECT_SECONDS, read_seconds),
                allow_redirects=False,
                stream=stream,
                proxies=self._proxies,
            )
        except requests.RequestException as error:
            ambiguous = method != "GET" and not _never_sent(error)
            raise Unreachable(f"{method} {path}: {_cause(error)}", ambiguous=ambiguous) from None
        self._note_clock(response.headers.get("Date"))
        return response

    def _note_clock(self, date: str | None) -> None:
        try:
            self._skew = parsedate_to_datetime(date or "").timestamp() - self._clock()
        except ValueError:
            return

    def _read(self, path: str, query: Mapping[str, str] | None = None) -> Any:
        return self._repeat(lambda: self.request("GET", path, query=query))

    def _list(
        self, path: str, key: str, decode: Callable[[Any], Shown], query: Mapping[str, str] | None = None
    ) -> list[Shown]:
        found: list[Shown] = []
        page = dict(query or {})
        for _ in range(MAX_PAGES):
            answer = self._read(path, page)
            found += [_decoded(decode, item) for item in _items(answer, key)]
            pagination = answer.get("pagination")  # older answers have none
            if not isinstance(pagination, dict) or not (pagination.get("hasNextPage") and pagination.get("nextCursor")):
                return found
            page["cursor"] = str(pagination["nextCursor"])
        raise BadAnswer(f"GET {path}: more than {MAX_PAGES} pages")

    def _repeat(self, call: Callable[[], Any]) -> Any:
        """The answer of `call`, tried again on 429, 5xx and connection faults: at most 5 tries in 90 s."""
        started = self._clock()

        def wait(state: tenacity.RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome else None
            asked = error.retry_after if isinstance(error, ApiError) else None
            backoff = min(2.0 ** (state.attempt_number - 1), 16.0) * (0.5 + self._random() / 2)
            left = started + RETRY_SECONDS - self._clock()
            return max(min(backoff if asked is None else asked, left), 0.0)

        return tenacity.Retrying(
            retry=tenacity.retry_if_exception(_worth_repeating),
            wait=wait,
            stop=lambda state: state.attempt_number >= TRIES or self._clock() - started >= RETRY_SECONDS,
            sleep=self._sleep,
            reraise=True,
        )(call)


def _pod_path(pod_id: str) -> str:
    return f"/pods/{quote(pod_id, safe='')}"


def failure(method: str, path: str, response: requests.Response) -> ApiError:
    """The exception for an answer that is not a success; an HTML page is the edge's, not the API's."""
    status = response.status_code
    ambiguous = method != "GET" and status >= 500
    if "html" in response.headers.get("Content-Type", "").lower():
        what = f"{method} {path}: an HTML page with status {status} instead of the API"
        return EdgeRefused(what, status=status, ambiguous=ambiguous)
    try:
        problem = response.json()
    except ValueError:
        problem = {}
    problem = problem if isinstance(problem, dict) else {}
    detail = _in_one_line(problem.get("detail") or problem.get("title") or "")
    errors = problem.get("errors")
    errors = [_in_one_line(error) for error in errors] if isinstance(errors, list) else []
    said = "; ".join([part for part in (detail, *errors) if part]) or response.reason or "no reason given"
    message = f"{method} {path}: {status}: {said}"
    if status == 429:
        asked = _seconds(response.headers.get("Retry-After"))
        return RateLimited(message, status=status, detail=detail, retry_after=asked)
    if status in BY_STATUS:
        return BY_STATUS[status](message, status=status, detail=detail, errors=errors)
    if status >= 500:
        return ServerFault(message, status=status, detail=detail, ambiguous=ambiguous)
    return BadAnswer(message, status=status, detail=detail, ambiguous=method != "GET")


def _in_one_line(text: Any) -> str:
    return " ".join(str(text).split())


def _worth_repeating(error: BaseException) -> bool:
    edge_trouble = isinstance(error, EdgeRefused) and (error.status or 0) >= 500
    return edge_trouble or isinstance(error, RateLimited | ServerFault | Unreachable)


def _never_sent(error: requests.RequestException) -> bool:
    """Whether the request cannot have reached anyone: no connection, or no trusted one, was ever made."""
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return True
    reason = getattr(error.args[0], "reason", None) if error.args else None
    return isinstance(reason, urllib3.exceptions.NewConnectionError) or _distrusted(error)


def _distrusted(error: requests.RequestException) -> bool:
    return isinstance(error, requests.exceptions.SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(error)


def _cause(error: requests.RequestException) -> str:
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return f"no connection within {CONNECT_SECONDS:.0f} s"
    if isinstance(error, requests.exceptions.Timeout):
        return "no answer in time"
    if _distrusted(error):
        return "the TLS certificate was not accepted"
    if isinstance(error, requests.exceptions.ProxyError):
        return "the HTTP proxy of this network refused"
    return "no connection" if _never_sent(error) else "the connection broke"


def _decoded(decode: Callable[[Any], Shown], data: Any) -> Shown:
    try:
        return decode(data)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise BadAnswer(f"the API's answer has an unexpected shape ({type(error).__name__}: {error})") from None


def _items(answer: Any, key: str) -> list[Any]:
    items = answer.get(key) if isinstance(answer, dict) else None
    if not isinstance(items, list):
        raise BadAnswer(f"the API's answer has no list `{key}`")
    return items


def _seconds(text: str | None) -> float | None:
    try:
        return max(0.0, float(text or ""))
    except ValueError:
        return None


def _log_line(data: str) -> str:
    try:
        return str(json.loads(data)["line"])
    except (ValueError, KeyError, TypeError):
        return data.strip()
